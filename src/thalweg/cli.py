"""The command line: ``thalweg train``, ``predict``, ``bench`` and ``info``.

Whatever is wrong with a file, a column, a shape or an option is told in one line, with exit status 2.
"""

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import thalweg
from thalweg import comparison, preparation
from thalweg.arrays import Array
from thalweg.bench import options as bench_options
from thalweg.bench import registry
from thalweg.comparison import Method, Outcome
from thalweg.console import Parser, check_place, columns, number_within, option, positive
from thalweg.preparation import Prepared
from thalweg.targets import LOSSES

EXAMPLES = """examples:
  thalweg train
  thalweg train --data houses.csv --target price --hidden 128,64 --save houses.npz
  thalweg predict houses.npz new.csv
  thalweg bench --quick"""

USER_ERRORS = (ValueError, TypeError, OSError, ArithmeticError, ImportError, MemoryError)


# ---- options ----------------------------------------------------------------------------------------------------------


def _batch_size(text: str) -> int | str:
    return text if text == "full" else int(number_within(1, 2**31)(text))


def _hidden(text: str) -> list[int]:
    return [] if text in ("", "none") else [number_within(1, 2**31)(size) for size in text.split(",")]


def _make_parser() -> argparse.ArgumentParser:
    parser = Parser(
        prog="thalweg",
        description="Train dense neural networks on CPUs.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"thalweg {thalweg.__version__}")
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    _add_train(commands)
    _add_predict(commands)
    _add_bench(commands)
    info = commands.add_parser("info", help="show what thalweg runs on", description="Show what thalweg runs on.")
    info.set_defaults(run=_info)
    return parser


def _add_train(commands: Any) -> None:
    train = commands.add_parser(
        "train",
        help="train a model",
        description="Train a network of dense layers by batch gradient descent, stochastically and in mini-batches, and "
        "compare. Without --data it learns handwritten digits that come with thalweg.",
        allow_abbrev=False,
    )
    add = train.add_argument
    add("--data", type=Path, metavar="PATH", help="folder of MNIST IDX files, CSV file, or npz file with X and y")
    add("--target", metavar="COLUMN", help="what to predict: a column of the CSV file")
    add("--hidden", type=option(_hidden, "sizes such as 128,64 or none"), default=[64], metavar="SIZES",
        help="units of the hidden layers, such as 128,64, or none (default: 64)")  # fmt: skip
    add("--batch-size", type=option(_batch_size, "a positive integer or full"), metavar="ROWS",
        help="rows a step, or full: train by this method only (default: full, 1 and 32, one after another)")  # fmt: skip
    add("--optimizer", choices=comparison.OPTIMIZERS, help="default: momentum for a full batch, otherwise sgd")
    add("--lr", type=option(positive, "a number above 0"), metavar="RATE",
        help="learning rate (default: one that suits optimizer and batch size)")  # fmt: skip
    add("--epochs", type=option(number_within(1, 2**31), "a positive integer"), metavar="N",
        help="times to go through the data (default: one that suits the batch size)")  # fmt: skip
    add("--loss", choices=LOSSES, help="default: cross_entropy for classes, mse for numbers")
    add("--test-fraction", type=option(number_within(0, 1, float), "a number from 0 to below 1"), metavar="SHARE",
        help="share of rows held out to test with (default: 0.2)")  # fmt: skip
    add("--seed", type=option(number_within(0, 2**64), "an integer from 0 to 2**64 - 1"), default=0, metavar="N",
        help="of weights and order of rows (default: 0)")  # fmt: skip
    add("--save", type=Path, metavar="MODEL", help="write the model, of several the best, to this file")
    train.set_defaults(run=_train)


def _add_predict(commands: Any) -> None:
    predict = commands.add_parser(
        "predict",
        help="predict with a trained model",
        description="Print one prediction a line: a class, or numbers.",
        allow_abbrev=False,
    )
    predict.add_argument("model", type=Path, metavar="MODEL", help="file that thalweg train --save has written")
    predict.add_argument("file", type=Path, metavar="FILE", help="CSV, npz with X, npy or IDX images, as trained on")
    predict.add_argument("--proba", action="store_true", help="print the probabilities of all classes instead")
    predict.set_defaults(run=_predict)


def _add_bench(commands: Any) -> None:
    bench = commands.add_parser(
        "bench",
        help="measure training on this machine",
        description="Measure samples a second of batch, stochastic and mini-batch training on this machine: thalweg and "
        f"every peer that is installed ({registry.EXTRA}), each in a process of its own, in turn. With all peers "
        "this takes some ten minutes. Exit status 1: losses do not agree.",
        allow_abbrev=False,
    )
    bench_options.add(bench)
    bench.set_defaults(run=_bench)


# ---- commands ---------------------------------------------------------------------------------------------------------


def _train(options: argparse.Namespace) -> None:
    check_place(options.save, "--save")
    data = preparation.prepare(
        preparation.open_source(options.data, options.target), options.loss, options.test_fraction
    )
    model = comparison.make_model(data, options.hidden, options.seed)
    sizes = "-".join(map(str, [model.input_size, *options.hidden, data.target.outputs]))
    activation = ", relu" if options.hidden else ""
    parameters = sum(parameter.size for parameter in model.parameters)
    lines = [*data.lines, f"model   {sizes}{activation}, {parameters:,} parameters", f"loss    {data.target.loss}"]
    print(*lines, sep="\n", flush=True)
    outcomes = [comparison.train(data, method, options.hidden, options.seed) for method in _methods(options, data)]
    _print_table(outcomes, data.target.metric)
    if options.save is not None:
        chosen = comparison.best(outcomes)
        chosen.model.save(options.save)
        print(f"\nsaved {options.save} ({chosen.method.name})")


def _methods(options: argparse.Namespace, data: Prepared) -> list[Method]:
    batch_sizes = comparison.BATCH_SIZES if options.batch_size is None else (options.batch_size,)
    wanted = options.optimizer, options.lr, options.epochs, data.target.loss
    return [Method.choose(batch_size, *wanted) for batch_size in batch_sizes]


def _print_table(outcomes: Sequence[Outcome], metric: str) -> None:
    """Print one line a method; the last column is seconds to the loss that all reached."""
    print()
    several = len(outcomes) > 1
    goal = comparison.common_loss(outcomes)
    head = ["method", "steps", "training loss", f"test {'R2' if metric == 'r2' else metric}", "seconds", "samples/s"]
    rows = [[*head, f"seconds to loss {goal:.4g}"] if several else head]
    for outcome in outcomes:
        seconds = outcome.seconds[-1]
        score = "-" if outcome.score is None else f"{outcome.score:.4f}"
        speed = f"{outcome.samples / seconds:,.0f}"
        row = [str(outcome.method), f"{outcome.steps:,}", f"{outcome.losses[-1]:.4g}", score, f"{seconds:.4f}", speed]
        rows.append([*row, f"{outcome.seconds_to(goal):.4f}"] if several else row)
    print(columns(rows))


def _predict(options: argparse.Namespace) -> None:
    model = thalweg.load(options.model)
    x = preparation.read_inputs(model, options.file)
    target = preparation.target_of(model)
    if options.proba:
        _print_probabilities(target.classes, model.predict_proba(x))
    else:
        print(*target.decode(model.predict(x)), sep="\n")


def _print_probabilities(classes: list[str], probabilities: Array) -> None:
    """Print a line with the classes, and then one for each row."""
    if len(classes) == 2 and probabilities.shape[1] == 1:
        classes = classes[1:]
    if classes:
        print(*classes, sep=",")
    for row in probabilities.tolist():
        print(*(f"{probability:.6g}" for probability in row), sep=",")


def _bench(options: argparse.Namespace) -> int:
    from thalweg.bench import command

    return command.run(options)


def _info(options: argparse.Namespace) -> None:
    for name, value in thalweg.info().items():
        if isinstance(value, dict):
            value = ", ".join(f"{key} {size}" for key, size in value.items())
        elif isinstance(value, list):
            value = ", ".join(map(str, value))
        elif isinstance(value, bool):
            value = "yes" if value else "no"
        print(f"{name:<9}{value}")


# ---- the way in and out -----------------------------------------------------------------------------------------------


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; the arguments are by default those of the process. Returns its exit status."""
    try:
        options = _make_parser().parse_args(arguments)
        status: int | None = options.run(options)
        sys.stdout.flush()
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:  # whoever read our output has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # for the flush as Python ends
        return 141
    except USER_ERRORS as error:
        print(f"thalweg: {_in_one_line(error)}", file=sys.stderr)
        return 2
    return status or 0


def _in_one_line(error: BaseException) -> str:
    if isinstance(error, OSError) and error.filename is not None:
        return f"{error.filename}: {error.strerror}"
    if isinstance(error, MemoryError):
        return "there is not enough memory"
    return " ".join(str(error).split()) or type(error).__name__
