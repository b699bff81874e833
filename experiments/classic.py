"""The `classic` section of the report: the founding document's grade, ranges and improvement.

They are what people know and ask for. What is wrong with them is said beside them.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from experiments.page import Picture, Section, Table, picture
from s1jax import plots

REPORTED_R2 = 0.272
"""R2 the document reports, of a 3-feature net on its own training rows."""

GRADES = ((0.7, "EXCELLENT", "> 0.7"), (0.5, "GOOD", "0.5 - 0.7"), (0.3, "FAIR", "0.3 - 0.5"))
"""R2 to be exceeded, name, and the words of the document; POOR below."""


class Case(NamedTuple):
    """A method's estimates in a task, with what they are held against."""

    method: str
    task: str
    against: str
    """truth or labels"""
    truth: np.ndarray
    """True NDVI or label (pixel, time), 1; anything where not valid."""
    estimate: np.ndarray
    """Estimated NDVI (pixel, time), 1."""
    valid: np.ndarray
    """Which of them are scored."""


def grade(r2: float) -> str:
    """The document's grade line: EXCELLENT > 0.7, GOOD > 0.5, FAIR > 0.3, else POOR."""
    for bound, name, words in GRADES:
        if r2 > bound:
            return f"{name}: R2 = {r2:.4f} ({words})"
    return f"POOR: R2 = {r2:.4f} (< 0.3)"


def improvement(r2: float) -> tuple[float, float]:
    """R2 minus the reported .272, and the same in per cent of .272."""
    return r2 - REPORTED_R2, (r2 - REPORTED_R2) / REPORTED_R2 * 100


def section(cases: Sequence[Case], r2: Sequence[float]) -> Section:
    """Six panels, grade line, improvement and scores by NDVI range of each case, marked ill-posed.

    Args:
      cases: what to show, in order.
      r2: of each case, as metrics.json has it.
    """
    parts: list[str | Table | Picture] = [
        "As in the document this project grew out of. Two of its figures are ill-posed. R2 inside "
        "a range of the true NDVI: the selection removes the truth's variance, so R2 is low or "
        "negative for any method; read MAE instead. The improvement over 0.272: that figure was "
        "scored on the net's own training rows and on other data, so the difference says "
        "nothing about the method alone."
    ]
    for case, score in zip(cases, r2, strict=True):
        name = f"{case.method}, {case.task}, against {case.against}"
        absolute, percent = improvement(score)
        word = "true NDVI" if case.against == "truth" else "NDVI label"
        figure = plots.classic_panels(case.truth, case.estimate, case.valid, title=name, name=word)
        parts += [
            f"{name}. {grade(score)}. Ill-posed comparison with the reported {REPORTED_R2}: "
            f"{absolute:+.4f} ({percent:+.1f} %).",
            picture(f"classic-{case.method}-{case.task}-{case.against}", figure, name),
            _ranges(case),
        ]
    return Section("Classic", parts)


def _ranges(case: Case) -> Table:
    """Scores by the six named ranges; a dash where there are fewer than 100 samples."""
    scores = plots.scores_by_range(case.truth, case.estimate, case.valid)
    body = []
    for low, high, name in plots.NDVI_RANGES:
        line = [f"{name} [{low:g}, {high:g}{']' if high == 1 else ')'}"]
        if name in scores:
            score = scores[name]
            line += [f"{score['mae']:.3f}", f"{score['bias']:+.3f}", f"{score['r2']:.3f}"]
            line += [f"{score['n']:,.0f}"]
        else:
            line += ["–"] * 4
        body.append(line)
    header = ["NDVI range", "MAE", "bias", "R2 (ill-posed)", "samples"]
    return Table(header, body, caption="By range; – : fewer than 100 samples")
