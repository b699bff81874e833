"""Pixels that nobody would believe: finite or flagged, never silently absurd."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from s1jax.mogpr import posterior
from s1jax.quality import IMPLAUSIBLE, NO_DATA, REGION_SCALE
from tests.worlds import mogpr as worlds
from tests.worlds.mogpr import DAYS, outputs, series_of

DAY = np.sort(np.r_[DAYS[:16], DAYS[[3, 3, 9]], DAYS[-1] + 900.0])
"""Three dates twice or thrice, and a gap of years."""
ASKED = np.r_[DAY, DAY[0] - 5000.0, DAY[4] + 0.25, DAY[-1] + 20000.0]
KINDS = (
    "plain constant absurd_constant single few empty fill inf nan huge tiny spike edges any".split()
)


def _column(kind, seed, number, ndvi):
    """Values of one channel on DAY and where they are valid."""
    rng = np.random.default_rng(seed)
    size = DAY.size
    value = rng.normal(0.4, 0.2, size) if ndvi else rng.normal(-13.0, 2.0, size)
    valid = rng.random(size) < 0.6
    some = rng.random(size) < 0.3
    low, high = (-1.5, 1.5) if ndvi else (-80.0, 40.0)
    far = rng.choice([low, high])
    if kind == "constant":
        value[:] = value[0]
    elif kind == "absurd_constant":
        value[:] = 0.98 * far
    elif kind == "single":
        valid = np.arange(size) == rng.integers(size)
    elif kind == "few":
        valid = np.arange(size) % 5 == 0
    elif kind == "empty":
        valid[:] = False
    elif kind in ("fill", "inf", "nan"):
        value[some] = {"fill": -9999.0, "inf": np.inf * far, "nan": np.nan}[kind]
    elif kind == "huge":
        value += 1e6
    elif kind == "tiny":
        value = value[0] + rng.choice([1e-6, 1e-3, 0.0099, 0.0101]) * rng.normal(size=size)
    elif kind == "spike":
        value[rng.integers(size)] = far
    elif kind == "edges":
        value = np.where(some, low, high)
    elif kind == "any":
        value[some] = number
    return value.astype(np.float32), valid


def _series(pixels):
    """Of a kind, a seed and a number for each channel of each pixel."""
    columns = [[_column(*c, ndvi=k == 2) for k, c in enumerate(pixel)] for pixel in pixels]
    value, valid = (
        np.stack([np.stack([c[leaf] for c in pixel], -1) for pixel in columns]) for leaf in (0, 1)
    )
    return series_of(DAY, value, valid)


@st.composite
def _pixels(draw):
    """200 pixels whose three channels are each of some kind."""
    kind = st.sampled_from(KINDS)
    kinds = draw(st.lists(st.tuples(kind, kind, kind), min_size=200, max_size=200))
    numbers = draw(st.lists(st.floats(width=32), min_size=20, max_size=20))
    seed = draw(st.integers(0, 10**6))
    return _series(
        [(kind, [seed, pixel, k], numbers[pixel % 20]) for k, kind in enumerate(three)]
        for pixel, three in enumerate(kinds)
    )


def _check(params, series):
    value, valid = outputs(series)
    found = posterior(params, series, ASKED)
    assert np.isfinite(found.mean).all()
    assert np.abs(found.mean).max() <= 1.0
    assert np.isfinite(found.std).all()
    assert found.std.min() > 0.0
    assert np.isfinite(found.noise).all()
    assert found.noise.min() > 0.0
    with np.errstate(invalid="ignore"):
        can = (value >= [-80, -80, -1.5]) & (value <= [40, 40, 1.5])
    bad = (valid & ~can).any((1, 2))
    assert ((found.quality & IMPLAUSIBLE) > 0)[bad].all()
    seen = (valid & can)[..., 2]
    few = seen.sum(1) < 5
    lacking = (found.quality & (REGION_SCALE | NO_DATA)) > 0
    assert lacking[few].all()
    assert ((found.quality & NO_DATA) > 0)[~(valid & can).any((1, 2))].all()
    # never silently absurd: between what was seen of the pixel and what the region is, to which it
    # returns far from all observations, and three standard deviations around
    ndvi, common = value[..., 2], float(params.region_mean[-1])
    low = np.where(seen, ndvi, common).min(1, initial=common)[:, None]
    high = np.where(seen, ndvi, common).max(1, initial=common)[:, None]
    silent = found.quality == 0
    over = np.maximum(low - found.mean, found.mean - high)[silent] / found.std[silent]
    assert over.max(initial=0.0) <= 3.0
    # far from all days the pixel is not told by anything: its prior
    assert (found.std[:, -1] >= 0.99 * found.std.max(1)).all()
    return found


@pytest.mark.slow
@settings(max_examples=2, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(series=_pixels())
def test_finite_or_flagged_never_silently_absurd(series):
    params = worlds.fitted()
    for one in (params, replace(params, prior=None)):
        for own in (False, True):
            _check(replace(one, scale_by_pixel=own), series)


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_beside_good_channels(kind):
    # each kind in one channel, so that none is hidden by another
    pixels = [
        [(kind if k == where else "plain", seed, 1e30) for k in range(3)]
        for where in range(3)
        for seed in range(10)
    ]
    found = _check(replace(worlds.fitted(), prior=None), _series(pixels))
    marked = ((found.quality & IMPLAUSIBLE) > 0).reshape(3, 10)
    if kind in ("plain", "tiny", "constant", "single", "few", "empty"):
        assert not marked.any()
    elif kind in ("fill", "inf", "nan", "huge", "any"):
        assert marked.all()
    elif kind in ("absurd_constant", "spike", "edges"):
        assert marked[:2].mean() > 0.4  # a spike may be where nothing was seen
    else:
        pytest.fail(f"untold kind {kind}")
    if kind == "plain":
        np.testing.assert_array_equal(found.quality, 0)
