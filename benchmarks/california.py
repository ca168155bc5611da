"""California housing: a regression with missing values and a column of text, three seeds.

    python benchmarks/california.py housing.csv

Each seed holds out a random 20 % of the districts. Medians for missing values, means and deviations come from the
training rows alone; the text column becomes one column for each of its values. The status is 1 if the bar is missed.
"""

import argparse
import sys
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

import thalweg as tw
from bars import Bar, Decay, exit_status, try_seeds

TARGET, TEXT = "median_house_value", "ocean_proximity"
HELD_OUT = 0.2
EPOCHS = 60


def prepare(table: pd.DataFrame, train: NDArray[np.int64]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return standardised inputs and target of all rows, by the statistics of the training rows."""
    numbers = table.drop(columns=TEXT)
    numbers = numbers.fillna(numbers.iloc[train].median())
    numbers = (numbers - numbers.iloc[train].mean()) / numbers.iloc[train].std()
    x = np.hstack([numbers.drop(columns=TARGET), pd.get_dummies(table[TEXT])])
    return x.astype(np.float32), numbers[TARGET].to_numpy(np.float32)


def held_out_r2(table: pd.DataFrame, seed: int) -> float:
    """Train on 80 % of the rows; return R2 on the others. It is the same for a target standardised or not."""
    order = np.random.default_rng(seed).permutation(len(table))
    held = round(HELD_OUT * len(table))
    test, train = order[:held], order[held:]
    x, y = prepare(table, train)
    layers = [tw.Dense(256, activation="relu"), tw.Dense(128, activation="relu"), tw.Dense(1)]
    model = tw.Sequential(layers, input_size=x.shape[1], seed=seed)
    optimizer = tw.Adam(lr=3e-3)
    model.fit(
        x[train],
        y[train],
        loss="mse",
        optimizer=optimizer,
        batch_size=128,
        epochs=EPOCHS,
        callbacks=[Decay(0.93)],
        verbose=0,
    )
    return model.evaluate(x[test], y[test])["r2"]


def main() -> int:
    """Train with three seeds."""
    parser = argparse.ArgumentParser(description="Train on the California housing data.")
    parser.add_argument("file", type=Path, help="the CSV file")
    options = parser.parse_args()
    try:
        table = pd.read_csv(options.file)
    except (OSError, ValueError) as error:
        parser.error(str(error))
    if missing := {TARGET, TEXT} - set(table.columns):
        parser.error(f"{options.file} has no column {', '.join(sorted(missing))}")
    title = f"{len(table):,} districts: 256-128-1, relu, Adam(lr=3e-3), lr x 0.93 an epoch, batch 128, {EPOCHS} epochs"
    return exit_status([try_seeds(title, Bar("R2", 0.78, False, ".4f"), lambda seed: held_out_r2(table, seed))])


if __name__ == "__main__":
    sys.exit(main())
