"""The results in words: a table for each work and state of the machine, and a summary in Markdown."""

from thalweg.bench import figures, registry
from thalweg.bench.figures import Result, Row, Turn
from thalweg.bench.probe import Limit
from thalweg.console import columns

_CORES = {"near": ", both cores on one L3", "far": ", cores far apart"}
_HEAD = ["", "samples/s", "spread", "rounds", "GFLOP/s", "of limit", "thalweg is", "loss off", "at the end"]


def describe_contestants(facts: dict[str, dict[str, dict[str, object]]]) -> str:
    """Return a line for each contestant: its version, and whether this is its default or its strongest setting."""
    lines = [
        [name, str(next(iter(about.values()))["version"]), registry.setting(name)] for name, about in facts.items()
    ]
    return columns([["contestant", "version", "setting"], *lines], left=3)


def describe(result: Result, limit: Limit) -> str:
    """Return a table for each state in which turns count."""
    work, turns = result.work, result.turns
    kept = figures.counting(turns, limit.gflops)
    lines = [f"\n{work.number}. {work.name}: {work.flops_per_sample:,} flops a sample, {work.rows:,} rows"]
    lines += [_describe_state(result, state, chosen, limit.of(work)) for state, chosen in kept.items()]
    dropped = len(turns) - sum(map(len, kept.values()))
    if dropped:
        lines.append(
            f"   {dropped} of {len(turns)} turns do not count: the machine was busy, slower, or changed its state"
        )
    if {turn.contestant for turn in turns} - {turn.contestant for chosen in kept.values() for turn in chosen}:
        lines.append("   some contestants have no turn that counts; all turns, for orientation:")
        lines.append(_describe_state(result, "unsteady", turns, limit.of(work)))
    return "\n".join(lines)


def _describe_state(result: Result, state: str, turns: list[Turn], limit: Limit) -> str:
    rows = [_line(result, row, limit) for row in figures.tabulate(result, turns)]
    return f"   {state}{_CORES.get(state, '')}; {limit}\n{columns([_HEAD, *rows], indent='   ')}"


def _line(result: Result, row: Row, limit: Limit) -> list[str]:
    speed = figures.gflops(result.work, row.samples_per_s)
    against = ""
    if row.contestant != "thalweg" and row.ratio is not None:
        against = f"{row.ratio:.2f}x [{row.ratio_spread[0]:.2f}-{row.ratio_spread[1]:.2f}]"
    return [
        row.contestant,
        f"{row.samples_per_s:,.0f}",
        f"{row.spread[0]:,.0f}-{row.spread[1]:,.0f}",
        str(row.rounds),
        f"{speed:.1f}",
        f"{speed / limit.gflops:.0%}",
        against,
        f"{row.first_off:.0e}",
        ("" if row.end_off is None else f"{row.end_off:.0e}") + ("" if row.agrees else "  DIFFERS"),
    ]


def summarize(results: list[Result], limit: Limit, names: list[str]) -> str:
    """Return one Markdown table for each state: a line a work, thalweg's ratio to each peer."""
    peers = [name for name in names if name != "thalweg"]
    parts = []
    for state in figures.STATES:
        lines = [line for result in results if (line := _summary_line(result, limit, state, peers))]
        if lines:
            parts += [f"\n{state}: thalweg's samples/s, and how many times each peer's that is\n",
                      f"| work | thalweg | GFLOP/s | % of limit | {' | '.join([*peers, 'strongest'])} |",
                      "|---" * (len(peers) + 5) + "|", *lines]  # fmt: skip
    return "\n".join(parts)


def _summary_line(result: Result, limit: Limit, state: str, peers: list[str]) -> str:
    chosen = figures.counting(result.turns, limit.gflops).get(state, [])
    rows = {row.contestant: row for row in figures.tabulate(result, chosen)}
    if "thalweg" not in rows:
        return ""
    ours = rows["thalweg"].samples_per_s
    speed = figures.gflops(result.work, ours)
    share = f"{speed / limit.of(result.work).gflops:.0%}"
    best = figures.strongest(list(rows.values()))
    cells = [*(_ratio(rows.get(peer)) for peer in peers), f"{best.contestant} {_ratio(best)}" if best else ""]
    return f"| {result.work.name} | {ours:,.0f} | {speed:.1f} | {share} | {' | '.join(cells)} |"


def _ratio(row: Row | None) -> str:
    if row is None or row.ratio is None:
        return ""
    return f"{row.ratio:.2f}" + ("" if row.agrees else " (loss differs)")
