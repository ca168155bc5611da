"""The race of record: ``thalweg bench`` on all works, with its options.

python benchmarks/race.py --works 3 9 --contestants thalweg jax --json race.json
"""

import sys

from thalweg.cli import main

if __name__ == "__main__":
    sys.exit(main(["bench", "--works", "all", *sys.argv[1:]]))
