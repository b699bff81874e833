"""Scores from sums that aggregate exactly over tiles, groups and bootstrap draws.

Sums go over up to 1e8 values, where float32 keeps no digit of a mean; they run on the host in NumPy
float64, and the spread of the truth is kept about its own mean so that nothing cancels.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Array, Bool, Float, Int
from scipy.special import ndtr, ndtri

_Array = Array | np.ndarray
HALF_BAND = ndtri(0.95)
"""Half the central 90 % band of a standard Gaussian, 1.645 standard deviations."""


class Statistics(NamedTuple):
    """Sums over the scored values of a set, or of many sets when there is a leading axis."""

    n: Float[np.ndarray, "*set"]  # number of scored values
    centre: Float[np.ndarray, "*set"]  # mean of the truth; 0 where n = 0
    spread: Float[np.ndarray, "*set"]  # sum of (truth - centre)^2
    error: Float[np.ndarray, "*set"]  # sum of mean - truth
    absolute: Float[np.ndarray, "*set"]  # sum of |mean - truth|
    square: Float[np.ndarray, "*set"]  # sum of (mean - truth)^2
    crps: Float[np.ndarray, "*set"]  # sum of the continuous ranked probability score
    covered: Float[np.ndarray, "*set"]  # number of truths inside the central 90 % band


def crps(
    mean: Float[_Array, "*n"], std: Float[_Array, "*n"], truth: Float[_Array, "*n"]
) -> Float[np.ndarray, "*n"]:
    """CRPS of a Gaussian, std (z (2 Phi(z) - 1) + 2 phi(z) - 1 / sqrt(pi)).

    Continuous ranked probability score, in the unit of the truth, the smaller the better;
    z = (truth - mean) / std; |mean - truth| as std -> 0.

    Source: T. Gneiting, A. Raftery, Strictly proper scoring rules, prediction, and estimation,
    J. Am. Stat. Assoc. 102, 2007.
    """
    mean, std, truth = (np.asarray(array, np.float64) for array in (mean, std, truth))
    z = (truth - mean) / std
    density = np.exp(-0.5 * z**2) / np.sqrt(2.0 * np.pi)
    return std * (z * (2.0 * ndtr(z) - 1.0) + 2.0 * density - 1.0 / np.sqrt(np.pi))


def statistics(
    mean: Float[_Array, "*n"],
    std: Float[_Array, "*n"],
    truth: Float[_Array, "*n"],
    valid: Bool[_Array, "*n"],
) -> Statistics:
    """Sums over the values where `valid`; see `statistics_by_group`."""
    one = statistics_by_group(np.zeros(np.shape(valid), np.int64), 1, mean, std, truth, valid)
    return Statistics(*(array[0] for array in one))


def statistics_by_group(
    group: Int[_Array, "*n"],
    groups: int,
    mean: Float[_Array, "*n"],
    std: Float[_Array, "*n"],
    truth: Float[_Array, "*n"],
    valid: Bool[_Array, "*n"],
) -> Statistics:
    """Sums over the values where `valid`, one set for each group, on a leading axis.

    Args:
      group: integer label of each value, in [0, groups): a cluster, a stratum.
      groups: number of groups, so that tiles that miss a group can be merged.
      mean: estimate.
      std: of what `truth` is: of the latent NDVI where `truth` is the truth, with the noise of
        an observation where it is a label. The caller decides.
      truth: what was to be estimated.
      valid: True where to score; elsewhere anything may stand, NaN too.

    Raises:
      ValueError: a std that is not positive, or a label outside [0, groups), where `valid`.
    """
    valid = np.asarray(valid)
    label = np.asarray(group)[valid]
    mean, std, truth = (np.asarray(array)[valid].astype(np.float64) for array in (mean, std, truth))
    if not np.all(std > 0.0):
        raise ValueError(f"std: got {std.min()}, expected > 0 wherever a value is scored")
    if label.size and not (label.min() >= 0 and label.max() < groups):
        raise ValueError(f"group: got {label.min()}..{label.max()}, expected 0..{groups - 1}")

    def _sums(values):
        return np.bincount(label, values, groups)

    n = np.bincount(label, minlength=groups).astype(np.float64)
    centre = _sums(truth) / np.maximum(n, 1.0)
    error = mean - truth
    return Statistics(
        n=n,
        centre=centre,
        spread=_sums((truth - centre[label]) ** 2),
        error=_sums(error),
        absolute=_sums(np.abs(error)),
        square=_sums(error**2),
        crps=_sums(crps(mean, std, truth)),
        covered=_sums((np.abs(error) <= HALF_BAND * std).astype(np.float64)),
    )


def merge(*sets: Statistics) -> Statistics:
    """Sums over sets without a leading axis together."""
    return aggregate(Statistics(*(np.stack(arrays) for arrays in zip(*sets, strict=True))))


def aggregate(
    sets: Statistics, weight: Float[np.ndarray, "draw group"] | None = None
) -> Statistics:
    """Sums over the groups (leading axis) together, each counted `weight` times.

    A row of weights is a bootstrap draw, and the result has a leading draw axis. None counts each
    group once, and the result has no leading axis.
    """
    if weight is None:
        return Statistics(*(array[0] for array in aggregate(sets, np.ones((1, sets.n.size)))))
    # about the mean of all groups, near that of every draw, the difference below keeps its digits
    origin = np.sum(sets.n * sets.centre) / max(np.sum(sets.n), 1.0)
    from_origin = sets.centre - origin
    n = weight @ sets.n
    shift = (weight @ (sets.n * from_origin)) / np.maximum(n, 1.0)
    spread = weight @ (sets.spread + sets.n * from_origin**2) - n * shift**2
    summed = Statistics(*(weight @ array for array in sets))
    return summed._replace(centre=origin + shift, spread=spread)


def scores(sets: Statistics) -> dict[str, np.ndarray | np.floating]:
    """Scores by name: r2 = 1 - square / spread, rmse, mae, bias, crps, coverage90, n.

    bias is the mean of estimate - truth, coverage90 the share of truths inside the 90 % band.
    NaN where a set holds no value, and r2 also where its truth does not vary.
    """
    return {
        "r2": 1.0 - _ratio(sets.square, sets.spread),
        "rmse": np.sqrt(_ratio(sets.square, sets.n)),
        "mae": _ratio(sets.absolute, sets.n),
        "bias": _ratio(sets.error, sets.n),
        "crps": _ratio(sets.crps, sets.n),
        "coverage90": _ratio(sets.covered, sets.n),
        "n": np.asarray(sets.n),
    }


def skill(sets: Statistics, reference: Statistics) -> np.ndarray | np.floating:
    """Skill over a reference scored on the same values, 1 - MSE / MSE_reference."""
    return 1.0 - _ratio(_ratio(sets.square, sets.n), _ratio(reference.square, reference.n))


def _ratio(sums, n):
    sums, n = np.asarray(sums, np.float64), np.asarray(n, np.float64)
    return np.divide(sums, n, out=np.full(n.shape, np.nan), where=n > 0.0)
