"""The space of the search: there and back, and nothing insane from any row."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from s1jax import gp
from s1jax.gp.fit import NOISE, bounds, from_unconstrained, to_unconstrained

LATENTS, OUTPUTS = 2, 3
COUNT = LATENTS + 2 * LATENTS * OUTPUTS + OUTPUTS


def _hyper(dtype, lengthscale=(9.0, 300.0), kappa=0.2, noise=(0.05, 0.4, 2.0)):
    mixing = np.linspace(-1.5, 2.0, LATENTS * OUTPUTS).reshape(LATENTS, OUTPUTS)
    leaves = lengthscale, mixing, np.full_like(mixing, kappa), noise
    return gp.Hyper(*(jnp.asarray(leaf, dtype) for leaf in leaves))


def test_there_and_back(x64):
    dtype = np.dtype(np.float64 if x64 else np.float32)
    hyper = _hyper(dtype)
    row = to_unconstrained(hyper)
    assert row.dtype == dtype
    assert row.shape == (COUNT,) == bounds(LATENTS, OUTPUTS, dtype).shape[:1]
    back = from_unconstrained(row, LATENTS, OUTPUTS)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5), back, hyper)
    box = bounds(LATENTS, OUTPUTS, dtype)
    assert np.all((box[:, 0] < row) & (row < box[:, 1]))


def test_row_has_the_equations(float64):
    hyper = _hyper(np.float64)
    row = to_unconstrained(hyper)
    np.testing.assert_allclose(row[:2], np.log(hyper.lengthscale - 6.0))
    np.testing.assert_array_equal(row[2:8], hyper.mixing.reshape(-1))
    np.testing.assert_allclose(row[8:14], np.log(0.2))
    np.testing.assert_allclose(row[14:], np.log(hyper.noise - 1e-4))


def test_what_lies_below_a_bound_starts_above_it(x64):
    dtype = np.dtype(np.float64 if x64 else np.float32)
    row = to_unconstrained(
        _hyper(dtype, lengthscale=(1.0, 6.0), kappa=0.0, noise=(0.0, 1e-9, NOISE[dtype]))
    )
    box = bounds(LATENTS, OUTPUTS, dtype)
    assert np.all(row >= box[:, 0].astype(dtype))
    back = from_unconstrained(row, LATENTS, OUTPUTS)
    np.testing.assert_allclose(back.lengthscale, 6.1, rtol=1e-5)
    np.testing.assert_allclose(back.kappa, np.exp(-12.0), rtol=1e-4)
    np.testing.assert_allclose(back.noise, 1.1 * NOISE[dtype], rtol=1e-5)
    # every parameter still tells in which way to go
    total = jax.grad(
        lambda x: sum(jnp.sum(leaf) for leaf in from_unconstrained(x, LATENTS, OUTPUTS))
    )
    assert np.all(total(row) > 0)


@settings(max_examples=30, deadline=None)
@given(row=st.lists(st.floats(-1e6, 1e6, width=32), min_size=COUNT, max_size=COUNT))
def test_every_row_gives_sane_hyperparameters(row):
    hyper = from_unconstrained(jnp.asarray(row, jnp.float32), LATENTS, OUTPUTS)
    assert np.all((hyper.lengthscale >= 6) & (hyper.lengthscale <= 2000.01))
    assert np.all(np.abs(hyper.mixing) <= 6)
    assert np.all((hyper.kappa >= np.exp(-12.01)) & (hyper.kappa <= np.exp(3.01)))
    assert np.all((hyper.noise >= 1e-2) & (hyper.noise <= 20.02))
    # what was cut off is a place to start from
    again = from_unconstrained(to_unconstrained(hyper), LATENTS, OUTPUTS)
    np.testing.assert_allclose(again.lengthscale, np.maximum(hyper.lengthscale, 6.1), rtol=1e-3)


@pytest.mark.parametrize("side", [0, 1])
def test_bounds_are_those_of_the_hyperparameters(side):
    row = bounds(LATENTS, OUTPUTS, np.dtype(np.float32))[:, side]
    hyper = from_unconstrained(jnp.asarray(row, jnp.float32), LATENTS, OUTPUTS)
    expected = ((6.1, -6.0, np.exp(-12), 0.0101), (2000.0, 6.0, np.exp(3), 20.01))[side]
    for leaf, value in zip(hyper, expected, strict=True):
        np.testing.assert_allclose(leaf, value, rtol=1e-5)
