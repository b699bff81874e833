"""Series: parts of it and several as one, against NumPy on every field."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from s1jax.types import Orbits, Series, concatenate

PIXELS, DATES, LOOKS, CHANNELS = 7, 9, 3, 4
ORBITS = Orbits(("ascending", "descending"))


def _series(seed=0, pixels=PIXELS, *, bare=False):
    rng = np.random.default_rng(seed)

    def _values(*shape):
        return rng.normal(size=shape).astype(np.float32)

    optional = {
        "position": _values(pixels, 2),
        "span": np.arange(1, DATES + 1, dtype=np.float32),
        "weight": _values(pixels, DATES),
        "orbits": ORBITS,
    }
    return Series(
        np.cumsum(np.arange(1, DATES + 1, dtype=np.float32)),
        _values(pixels, DATES, LOOKS, CHANNELS),
        rng.random((pixels, DATES, CHANNELS)) < 0.7,
        _values(pixels, DATES),
        rng.random((pixels, DATES)) < 0.5,
        **{} if bare else optional,
    )


PARTS = [slice(2, 5), np.array([4, 0, 0]), np.arange(PIXELS) % 2 == 1, [3]]


@pytest.mark.parametrize("pixels", PARTS)
@pytest.mark.parametrize("dates", [slice(None), slice(1, None, 3), np.array([6, 2])])
def test_take_is_numpy_on_every_field(pixels, dates):
    series = _series()
    part = series.take(pixels, dates)
    for name in ("day", "span"):
        np.testing.assert_array_equal(getattr(part, name), getattr(series, name)[dates])
    for name in ("radar", "radar_valid", "ndvi", "ndvi_valid", "weight"):
        np.testing.assert_array_equal(getattr(part, name), getattr(series, name)[pixels][:, dates])
    np.testing.assert_array_equal(part.position, series.position[pixels])
    assert part.orbits == ORBITS
    bare = _series(bare=True).take(pixels, dates)
    assert bare[5:] == (None,) * 4
    np.testing.assert_array_equal(bare.radar, part.radar)


def test_one_pixel_has_no_pixel_axis():
    series = _series()
    one = series.take(3, slice(2, 4))
    assert (one.radar.shape, one.ndvi.shape) == ((2, LOOKS, CHANNELS), (2,))
    np.testing.assert_array_equal(one.radar, series.radar[3, 2:4])
    np.testing.assert_array_equal(one.position, series.position[3])


def test_parts_of_a_part_are_parts():
    series = _series()
    once = series.take(np.array([1, 3, 5])[1:], np.arange(DATES)[2:][::2])
    twice = series.take(np.array([1, 3, 5]), slice(2, None)).take(slice(1, None), slice(0, None, 2))
    jax.tree.map(np.testing.assert_array_equal, once, twice)


def test_orbits_are_static_under_jit():
    @jax.jit
    def _first(series):
        assert series.orbits.direction == ORBITS.direction
        return series.take(slice(0, 1))

    made = _first(jax.tree.map(jnp.asarray, _series()))
    assert made.orbits == ORBITS
    np.testing.assert_array_equal(made.radar, _series().radar[:1])


def test_concatenated_parts_are_the_whole():
    series = _series()
    parts = [series.take(slice(0, 2)), series.take(slice(2, 3)), series.take(slice(3, None))]
    jax.tree.map(np.testing.assert_array_equal, concatenate(parts), series)
    bare = _series(bare=True)
    whole = concatenate([bare.take(slice(0, 4)), bare.take(slice(4, None))])
    assert whole[5:] == (None,) * 4
    np.testing.assert_array_equal(whole.ndvi, bare.ndvi)
    assert isinstance(concatenate([jax.tree.map(jnp.asarray, bare)]).radar, np.ndarray)


def test_parts_that_are_no_one_series():
    series = _series()
    with pytest.raises(ValueError, match="parts: got none, expected one series or more"):
        concatenate([])
    with pytest.raises(ValueError, match="parts: got series on different days"):
        concatenate([series, series._replace(day=series.day + 1)])
    with pytest.raises(ValueError, match="parts: got series on different days"):
        concatenate([series, series.take(slice(None), slice(1, None))])
