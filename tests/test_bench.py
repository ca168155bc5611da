"""The benchmark suite: options, figures and tables from made-up turns, and races on tiny works."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from argparse import ArgumentParser
from dataclasses import asdict, replace
from importlib.util import find_spec
from math import inf, nan
from pathlib import Path

import numpy as np
import pytest

import thalweg as tw
from thalweg import cli
from thalweg.bench import child, figures, options, probe, registry, report, twin, works
from thalweg.bench.contestants.thalweg_ import Thalweg
from thalweg.bench.figures import Result, Turn
from thalweg.bench.player import Player
from thalweg.bench.probe import Limit, Probe, State
from thalweg.bench.race import Race, limited_to
from thalweg.bench.works import Work

TINY = Work(1, (6, 8, 3), 8, "sgd", 64, 1e-2)
WORKS = (TINY, replace(TINY, number=2, batch=64, optimizer="adam"), Work(3, (5, 7, 7, 1), 1, "adam", 32, 1e-3, "mse"))
NEAR, FAR = State(100.0, 50.0), State(100.0, 300.0)
LIMIT = Limit(100.0, "FMA chains")
ANSWER = {"epochs": 9, "seconds": 1.0, "others": 0.0, "loss_after_one": 2.0, "loss_at_end": 1.0, "resumes": True}


def make_turn(number, name, speed, state=NEAR, after=None, **answer):
    """Make up a turn."""
    return Turn(number, name, speed, state, after or state, ANSWER | answer)


def make_result(*turns, ends=None):
    """Make up a work's turns, where the twin's loss is 2 and thalweg's after ten epochs is 1."""
    return Result(TINY, list(turns), 2.0, {10: 1.0} if ends is None else ends)


def settle(*arguments):
    """Return the settings that options give."""
    parser = ArgumentParser()
    options.add(parser)
    return options.settle(parser.parse_args([str(argument) for argument in arguments]))


@pytest.fixture
def tiny_works(monkeypatch):
    """Put tiny works in the place of the real ones."""
    monkeypatch.setattr(works, "WORKS", WORKS)


def bench(*arguments):
    """Exit status of ``thalweg bench`` with two very short rounds of thalweg alone."""
    short = ["--contestants", "thalweg", "--rounds", 2, "--seconds", 0.01]
    return cli.main([str(argument) for argument in ("bench", *short, *arguments)])


# ---- options --------------------------------------------------------------------------------------------------------


def test_default_works_sweep_the_batch_size():
    chosen = settle()
    assert sorted(work.batch for work in chosen.works) == [1, 8, 32, 128, 1024, 10_000]
    assert {work.network for work in chosen.works} == {"784-128-10"} and sum(work.full for work in chosen.works) == 1
    assert chosen.contestants == list(registry.NAMES)
    assert (chosen.rounds, chosen.seconds, chosen.threads) == (5, 1.0, tw.info()["cores"])


def test_quick_is_the_three_update_methods_unless_works_are_named():
    quick = settle("--quick")
    assert [work.batch for work in quick.works] == [1, 32, 10_000] and (quick.rounds, quick.seconds) == (2, 0.1)
    left_out = {"torch-compiled", "jax-step"}
    assert not left_out & {*quick.contestants} and {"thalweg", "torch", "jax"} <= {*quick.contestants}
    named = settle("--quick", "--works", 9, "--contestants", "torch-compiled", "--rounds", 7)
    assert ([work.number for work in named.works], named.contestants) == ([9], ["torch-compiled"])
    assert (named.rounds, named.seconds) == (7, 0.1)


def test_works_are_chosen_by_number_and_name():
    assert [work.number for work in works.choose(["3", "mse"])] == [3, 9]
    assert works.choose(["all"]) == list(works.WORKS)
    with pytest.raises(ValueError, match=r"no work is '32'; there are: 1 \(784-128-10, 1, SGD\); 2"):
        works.choose(["32"])


def test_works_in_float64_have_the_numbers_of_float32():
    assert [work.dtype for work in settle("--works", 2, 5).works] == ["float32"] * 2
    for single, double in zip(works.WORKS, settle("--works", "all", "--dtype", "float64").works, strict=True):
        assert double.name == f"{single.name}, float64"
        for make in (works.make_data, works.first_weights):
            for a, b in zip(make(single), make(double), strict=True):
                assert b.dtype == (np.int64 if a.dtype == np.int64 else np.float64)
                np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("work", works.WORKS, ids=lambda work: work.name)
def test_works_have_no_tail_and_go_through_json(work):
    assert work.rows % work.batch == 0
    assert Work.from_json(work.to_json()) == work


@pytest.mark.parametrize(("rows", "classes"), [(40, 20), (20, 20), (8, 20)])
def test_every_class_has_a_row_as_far_as_rows_go(rows, classes):
    _, y = works.make_data(Work(1, (3, classes), rows, "sgd", rows, 0.1))
    assert len(np.unique(y)) == min(rows, classes) and y.max() < classes


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        ("--works 99", "no work is '99'"),
        ("--contestants tensorflow", "--contestants: invalid choice: 'tensorflow'"),
        ("--rounds 0", "--rounds: expected a positive integer, got '0'"),
        ("--seconds 0", "--seconds: expected a number above 0, got '0'"),
        ("--threads 100000", "--threads is 100000, but there are"),
        ("--json nowhere/r.json", "--json: the folder nowhere does not exist"),
        ("--plot .", "--plot: . is a folder"),
        ("--plot nowhere/p.png", "--plot: the folder nowhere does not exist"),
        ("--plots p.png", "unrecognized arguments: --plots p.png"),
    ],
)
def test_wrong_options_are_told_in_one_line(tmp_path, monkeypatch, capsys, arguments, match):
    monkeypatch.chdir(tmp_path)
    assert cli.main(["bench", *arguments.split()]) == 2
    captured = capsys.readouterr()
    assert captured.out == "" and captured.err.count("\n") == 1
    assert re.search(match, captured.err), captured.err


# ---- figures and tables from made-up turns --------------------------------------------------------------------------


def test_ratios_are_taken_round_by_round():
    result = make_result(
        *(make_turn(i, "thalweg", speed) for i, speed in enumerate([100, 300, 200])),
        *(make_turn(i, "jax", speed) for i, speed in enumerate([50, 100, 50])),
    )
    ours, peer = figures.tabulate(result, result.turns)
    assert (ours.samples_per_s, ours.spread, ours.rounds, ours.ratio) == (200, (100, 300), 3, 1.0)
    assert (peer.samples_per_s, peer.ratio, peer.ratio_spread) == (50, 3.0, (2.0, 4.0))  # 2, 3 and 4, not 200 / 50
    assert figures.strongest([ours, peer]) is peer


def test_a_table_says_what_was_measured():
    flops = TINY.flops_per_sample
    assert flops == 4 * 6 * 8 + 6 * 8 * 3
    result = make_result(make_turn(0, "thalweg", 50e9 / flops), make_turn(0, "jax", 25e9 / flops))
    lines = report.describe(result, LIMIT).splitlines()
    assert lines[1] == "1. 6-8-3, 8, SGD: 336 flops a sample, 64 rows"
    assert lines[2] == "   near, both cores on one L3; limit 100 GFLOP/s (FMA chains)"
    head, ours, peer = (re.split(r"  +", line.strip()) for line in lines[3:])
    assert head == ["samples/s", "spread", "rounds", "GFLOP/s", "of limit", "thalweg is", "loss off", "at the end"]
    assert ours == ["thalweg", "148,809,524", "148,809,524-148,809,524", "1", "50.0", "50%", "0e+00"]
    assert peer[-5:] == ["25.0", "25%", "2.00x [2.00-2.00]", "0e+00", "0e+00"]
    assert len({len(line) for line in (lines[3], lines[5])}) == 1  # columns stand under each other
    summary = report.summarize([result], LIMIT, ["thalweg", "jax", "torch"])
    assert "| 6-8-3, 8, SGD | 148,809,524 | 50.0 | 50% | 2.00 |  | jax 2.00 |" in summary
    double = replace(result, work=replace(result.work, dtype="float64"))
    assert "limit 50 GFLOP/s" in report.describe(double, LIMIT)
    assert "| 6-8-3, 8, SGD, float64 | 148,809,524 | 50.0 | 100% |" in report.summarize(
        [double], LIMIT, ["thalweg", "jax"]
    )


def test_states_of_the_machine_are_kept_apart():
    turns = [make_turn(0, "thalweg", 10), make_turn(1, "thalweg", 4, FAR), make_turn(2, "thalweg", 12)]
    kept = figures.counting(turns, 100.0)
    assert {state: [turn.round for turn in chosen] for state, chosen in kept.items()} == {"near": [0, 2], "far": [1]}
    text = report.describe(make_result(*turns), LIMIT)
    assert "near, both cores on one L3;" in text and "far, cores far apart;" in text and "do not count" not in text
    assert figures.fullest(make_result(*turns), 100.0) == [turns[0], turns[2]]
    alone = replace(NEAR, barrier_ns=None)
    assert [*figures.counting([make_turn(0, "thalweg", 1, alone)], 100.0)] == ["one core"]


@pytest.mark.parametrize(
    "turn",
    [
        make_turn(0, "thalweg", 10, NEAR, FAR),
        make_turn(0, "thalweg", 10, others=0.2),
        make_turn(0, "thalweg", 10, replace(NEAR, fma_gflops=90.0)),
        make_turn(0, "thalweg", 10, NEAR, replace(NEAR, fma_gflops=94.0)),
    ],
    ids=["state changed", "not alone", "slower before", "slower after"],
)
def test_turns_on_a_disturbed_machine_do_not_count(turn):
    assert figures.counting([turn], 100.0) == {}
    text = report.describe(make_result(turn), LIMIT)
    assert "1 of 1 turns do not count" in text and "for orientation" in text
    assert report.summarize([make_result(turn)], LIMIT, ["thalweg"]) == ""


@pytest.mark.parametrize(
    "answer",
    [
        {"loss_after_one": 2.01},
        {"loss_after_one": nan},
        {"loss_at_end": 1.03},
        {"loss_at_end": 0.97},
        {"loss_at_end": inf},
    ],
    ids=str,
)
def test_losses_that_differ_are_told(answer):
    good, bad = make_turn(0, "thalweg", 10), make_turn(0, "jax", 10, **answer)
    result = make_result(good, bad)
    assert result.agrees(good) and not result.agrees(bad)
    lines = report.describe(result, LIMIT).splitlines()
    assert lines[-1].endswith("DIFFERS") and not lines[-2].endswith("DIFFERS")
    assert "(loss differs)" in report.summarize([result], LIMIT, ["thalweg", "jax"])


def test_losses_within_roundings_agree_and_what_cannot_be_compared_is_left_out():
    turn = make_turn(0, "jax", 10, loss_after_one=2.001, loss_at_end=0.995)
    assert make_result(turn).agrees(turn) and make_result(turn).end_off(turn) == pytest.approx(0.0025)
    for result, other in [
        (make_result(turn, ends={}), turn),
        (make_result(), make_turn(0, "scikit-learn", 10, loss_at_end=7.0, resumes=False)),
        (make_result(), make_turn(0, "thalweg", 10)),
    ]:
        assert result.end_off(other) is None and result.agrees(other)
    turns = [turn, make_turn(1, "torch", 1, epochs=2), make_turn(1, "thalweg", 1, epochs=5)]
    assert figures.epochs_to_compare(turns) == [3, 10]


# ---- contestants, players and the machine ---------------------------------------------------------------------------


@pytest.mark.parametrize("work", [*WORKS, replace(WORKS[2], optimizer="sgd")], ids=lambda work: work.name)
def test_the_twin_agrees_with_thalweg_and_not_with_another_learning_rate(work):
    answer = child.play(Thalweg(work), work, 0.001)
    reference = twin.loss_after_one_epoch(work)
    assert answer["loss_after_one"] == pytest.approx(reference, rel=1e-5)
    assert answer["loss_after_one"] != pytest.approx(
        twin.loss_after_one_epoch(replace(work, lr=1.3 * work.lr)), rel=figures.TOLERANCE
    )
    assert answer["epochs"] >= 1 and answer["seconds"] >= 0.001


def test_weights_of_another_dtype_are_told():
    work = replace(TINY, dtype="float64")
    with pytest.raises(TypeError, match="weights are of float32, not of float64"):
        child.play(Thalweg(TINY), work, 0.001)


def test_in_float64_the_twin_agrees_to_the_last_digits():
    work = replace(WORKS[0], dtype="float64")
    assert child.play(Thalweg(work), work, 0.001)["loss_after_one"] == pytest.approx(
        twin.loss_after_one_epoch(work), rel=1e-12
    )


@pytest.mark.parametrize("work", WORKS, ids=lambda work: work.name)
def test_losses_at_the_end_are_those_of_an_uninterrupted_training(work):
    answer = child.play(Thalweg(work), work, 0.001)
    epochs = answer["epochs"] + 1
    assert child.losses(Thalweg(work), work, [1, epochs])["losses"] == [answer["loss_after_one"], answer["loss_at_end"]]


class Silence:
    """A bar that counts."""

    turns = 0

    def set_description_str(self, desc):
        """Show nothing."""

    def update(self):
        """Count."""
        self.turns += 1


def make_race(names, told, rounds=1):
    """Make a race of very short turns on one core."""
    return Race(names, rounds, 0.01, Probe(1), told.append, Silence())


def test_a_contestant_that_cannot_be_built_is_named_and_left_out():
    told = []
    race = make_race(["nobody", "thalweg"], told, rounds=2)
    result = race.run(TINY)
    assert [turn.contestant for turn in result.turns] == ["thalweg"] * 2 and race.bar.turns == 4
    assert told == ["   nobody cannot take part in 6-8-3, 8, SGD: KeyError: 'nobody'"]
    assert race.facts["thalweg"][TINY.name]["version"] == tw.__version__


def test_a_player_is_stopped_while_it_is_not_its_turn_and_gone_at_the_end(tmp_path):
    def state():
        return stat.read_text().rpartition(")")[2].split()[0]

    with (tmp_path / "errors").open("w+") as errors, Player("thalweg", TINY, errors) as player:
        stat = Path(f"/proc/{player.pid}/stat")
        player.load()
        assert player.build()["version"] == tw.__version__
        for _ in range(2):
            deadline = time.monotonic() + 10
            while state() != "T" and time.monotonic() < deadline:
                time.sleep(0.01)
            assert state() == "T"
            assert player.play(0.001)["epochs"] >= 1
    assert not stat.exists()


@pytest.mark.parametrize("name", [name for name in registry.NAMES if name not in ("thalweg", "torch-compiled")])
def test_peers_train_as_thalweg_does(name):
    if registry.missing(name):
        pytest.skip(f"{name} is not installed")
    told = []
    for work in (TINY, WORKS[2], *(replace(work, dtype="float64") for work in (TINY, WORKS[1]))):
        result = make_race(["thalweg", name], told).run(work)
        ours, peer = result.turns
        assert result.agrees(ours) and result.agrees(peer)
        exact = work.dtype == "float64" and work.optimizer == "sgd"  # scikit-learn's Adam corrects its eps too
        assert result.first_off(peer) < (1e-12 if exact else 1e-5)
        compared = name != "scikit-learn" or work.optimizer == "sgd"
        assert (result.end_off(peer) is not None) == compared
    assert told == []


def test_cores_are_given_back():
    before = os.sched_getaffinity(0)
    with pytest.raises(ZeroDivisionError), limited_to(1):
        assert len(os.sched_getaffinity(0)) == 1
        raise ZeroDivisionError
    assert os.sched_getaffinity(0) == before


def test_without_a_compiler_the_limit_is_that_of_the_own_product(monkeypatch):
    monkeypatch.setattr(probe, "compile_source", lambda source: None)
    machine = Probe(1)
    assert "no C compiler" in str(Limit(machine.measure_fma(), machine.source))
    assert machine.measure_fma() > 0.1 and machine.measure_barrier() is None


# ---- the command ----------------------------------------------------------------------------------------------------


def test_bench_prints_tables_and_writes_everything_down(tiny_works, tmp_path, capsys):
    path = tmp_path / "r.json"
    cores = os.sched_getaffinity(0)
    assert bench("--works", "all", "--json", path) == 0
    assert os.sched_getaffinity(0) == cores
    captured = capsys.readouterr()
    for work in WORKS:
        assert f"{work.number}. {work.name}: " in captured.out
    assert "round 2: thalweg" in captured.err and "6/6" in captured.err  # progress
    assert re.search(rf"^thalweg +{re.escape(tw.__version__)} +default: Trainer.fit$", captured.out, re.MULTILINE)
    data = json.loads(path.read_text())
    assert [work["name"] for work in data["works"]] == [work.name for work in WORKS]
    assert [turn["round"] for turn in data["works"][0]["turns"]] == [0, 1]
    assert data["machine"]["fma_gflops"] > 0 and data["settings"]["rounds"] == 2
    assert data["contestants"]["thalweg"][TINY.name]["isa"] == tw.info()["isa"]
    assert data["works"][0]["layers"] == list(asdict(TINY)["layers"])


def test_exit_status_is_1_where_losses_differ(tiny_works, monkeypatch, capsys):
    loss = twin.loss_after_one_epoch(TINY)
    monkeypatch.setattr(twin, "loss_after_one_epoch", lambda work: 1.01 * loss)
    assert bench("--works", 1) == 1
    assert "DIFFERS" in capsys.readouterr().out


def test_missing_peers_are_named_with_the_extra(tiny_works, monkeypatch, capsys):
    absent = ("torch", "jax")
    monkeypatch.setattr(registry, "find_spec", lambda name: None if name in absent else find_spec(name))
    assert bench("--works", 1, "--contestants", "thalweg", "jax", "torch", "torch-tuned") == 0
    line = capsys.readouterr().out.splitlines()[0]
    assert line.startswith("skipped: jax, torch, torch-tuned, for lack of jax")
    assert line.endswith("torch: pip install 'thalweg[bench]'")
    assert bench("--works", 1, "--contestants", "torch") == 2
    assert "skipped: torch, for lack of torch: pip install 'thalweg[bench]'" in capsys.readouterr().err


def test_plot_draws_throughput_and_losses(tiny_works, tmp_path):
    pytest.importorskip("matplotlib")
    path = tmp_path / "p.png"
    assert bench("--works", "all", "--plot", path) == 0
    assert path.read_bytes().startswith(b"\x89PNG") and path.stat().st_size > 10_000


def test_the_picture_shows_lines_limit_and_units():
    pytest.importorskip("matplotlib")
    from thalweg.bench import picture
    from thalweg.comparison import Outcome

    wide = replace(TINY, number=2, batch=64, optimizer="adam")
    results = [
        replace(make_result(make_turn(0, "thalweg", speed), make_turn(0, "jax", speed / 2)), work=work)
        for work, speed in ((wide, 4e6), (TINY, 1e6))
    ]
    method = picture.Method.choose(1)
    figure = picture.draw(results, LIMIT, [Outcome(method, None, 2, [2.0, 1.0], [0.1, 0.2], 3, None)])
    speeds, losses = figure.axes
    lines = {line.get_label(): line for line in speeds.lines}
    assert lines["thalweg"].get_xydata().tolist() == [[8, 1e6], [64, 4e6]]
    assert lines["jax"].get_ydata().tolist() == [5e5, 2e6]
    limit = next(line for line in speeds.lines if line.get_linestyle() == "--")
    assert limit.get_ydata()[0] == pytest.approx(100e9 / TINY.flops_per_sample)
    assert [text.get_text() for text in speeds.texts] == ["limit, 100 GFLOP/s"]
    assert [text.get_text() for text in speeds.get_xticklabels()] == ["8\nSGD", "all 64\nAdam"]
    assert (speeds.get_xscale(), speeds.get_yscale(), losses.get_xscale()) == ("log", "log", "log")
    assert speeds.get_ylabel() == "samples/s" and "seconds" in losses.get_xlabel()
    assert losses.lines[0].get_xydata().tolist() == [[0.1, 2.0], [0.2, 1.0]]


def test_a_picture_that_cannot_be_drawn_is_told_before_anything_runs(tmp_path, monkeypatch, capsys):
    pytest.importorskip("matplotlib")
    assert bench("--plot", tmp_path / "p.bmp") == 2
    assert "should end in one of" in capsys.readouterr().err
    monkeypatch.delitem(sys.modules, "thalweg.canvas", raising=False)
    monkeypatch.delattr(tw, "canvas", raising=False)
    monkeypatch.setitem(sys.modules, "matplotlib.axes", None)
    assert bench("--plot", tmp_path / "p.png") == 2
    captured = capsys.readouterr()
    assert captured.out == "" and captured.err == "thalweg: pictures need matplotlib: pip install 'thalweg[plot]'\n"


def test_module_runs_with_thalweg_alone(tmp_path):
    (tmp_path / "numpy.py").write_text("raise RuntimeError('not this one')")  # what lies about is nobody's library
    arguments = ["-m", "thalweg", "bench", "--quick", "--works", "11", "--contestants", "thalweg"]
    done = subprocess.run([sys.executable, "-P", *arguments], check=False, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "11. 64-32-10, 16, Adam: " in done.stdout and "DIFFERS" not in done.stdout


def test_interrupt_ends_all_processes_with_130(tmp_path):
    arguments = [sys.executable, "-P", "-m", "thalweg", "bench", "--works", "11", "--contestants", "thalweg"]
    pipes = {"stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE}
    with subprocess.Popen([*arguments, "--seconds", "1000"], cwd=tmp_path, **pipes) as process:
        shown = b""
        while b"round 1" not in shown:
            shown += (piece := process.stderr.read1())
            assert piece, shown
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        process.send_signal(signal.SIGINT)
        process.stderr.read()
        assert process.wait(60) == 130
    assert len(children) == 1 and not Path(f"/proc/{children[0]}").exists()


@pytest.mark.parametrize(
    ("module", "absent"),
    [
        ("thalweg", ["thalweg.bench", "thalweg.console"]),
        ("thalweg.cli", ["thalweg.bench.race", "thalweg.bench.command"]),
    ],
)
def test_what_trains_does_not_import_the_suite(module, absent):
    code = f"import sys, {module}; print([name for name in {absent} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout == "[]\n"
