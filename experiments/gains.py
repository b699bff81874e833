"""How much R2 a network adds to boosting, to MOGPR and to the published kind of network."""

from collections.abc import Sequence

from experiments import scoring
from experiments.scoring import Outcome

MINE = ("cnp", "ensemble")
"""Networks whose gains are told."""
OVER = ("boosting", "mogpr", "mogpr_pixel", "birnn")
"""Over these."""


def gains(outcomes: dict[tuple[str, str, str], list[Outcome]]) -> list[list[str]]:
    """Lines of a table, the head first: R2 of each network less that of each other method, and the
    95 % interval of the clusters that both were tested on; a dash where either has no score.

    Args:
      outcomes: (method, task, against) -> sums, one a seed.
    """
    known = {method for method, _, _ in outcomes}
    pairs = [(a, b) for a in MINE for b in OVER if a in known and b in known]
    lines = [["task", "against", *(f"`{a}` − `{b}`" for a, b in pairs)]]
    keys = {(task, against) for _, task, against in outcomes}
    # truth before labels, as everywhere
    for task, against in sorted(keys, key=lambda key: (key[1] == "labels", key[0])):
        cells = []
        for pair in pairs:
            sums = [outcomes.get((method, task, against)) for method in pair]
            cells.append("–" if None in sums else _cell(*sums, task))
        lines.append([task, against, *cells])
    return lines if pairs else []


def _cell(mine: Sequence[Outcome], other: Sequence[Outcome], task: str) -> str:
    gain, interval = scoring.difference(mine, other, task, score="r2")
    return "{:+.2f} [{:+.2f}, {:+.2f}]".format(gain, *interval)
