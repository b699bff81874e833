"""The attention U-Net, its blocks and gates, and the discriminator, against NumPy."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.signal import correlate

from s1jax.networks.architectures import (
    AttentionUNet,
    Block,
    Discriminator,
    Gate,
    doubled,
    halved,
)

KEY = jax.random.key(0)
X = np.random.default_rng(0).normal(size=(7, 2, 8, 8, 3))


def _noisy(tree):
    """Weights none of which is zero."""
    rng = np.random.default_rng(1)
    return jax.tree.map(lambda leaf: jnp.asarray(0.4 * rng.normal(size=leaf.shape)), tree)


def _fresh(net, *x):
    """A function of arrays with random weights, compiled, and the weights."""
    params = _noisy(jax.eval_shape(net.init, KEY, *x)["params"])
    return jax.jit(lambda *x: net.apply({"params": params}, *x)), params


def _dense(layer, x):
    y = x @ np.asarray(layer["kernel"])
    return y + np.asarray(layer["bias"]) if "bias" in layer else y


@pytest.mark.parametrize("dilation", [0, 1, 3])
def test_block_is_a_convolution_in_time_and_one_in_space(float64, dilation):
    told, params = _fresh(Block(4, dilation), jnp.asarray(X))
    u = X
    if dilation:
        zero = np.zeros((dilation, *X.shape[1:]))
        before, after = np.concatenate([zero, X])[:7], np.concatenate([X, zero])[dilation:]
        u = np.concatenate([before, X, after], -1)
    u = np.maximum(_dense(params["in_time"], u), 0)
    # rows (column, channel in) x columns (row, channel out) of the product: a kernel of 3 x 3
    kernel = np.asarray(params["in_space"]["kernel"]).reshape(3, 4, 3, 4).transpose(2, 0, 1, 3)
    v = np.zeros((*X.shape[:-1], 4))
    for t, b, out in np.ndindex(7, 2, 4):
        padded = np.pad(u[t, b], ((1, 1), (1, 1), (0, 0)))
        v[t, b, :, :, out] = correlate(padded, kernel[..., out], "valid", "direct")[..., 0]
    expected = u + np.maximum(v + np.asarray(params["bias"]), 0)
    np.testing.assert_allclose(told(jnp.asarray(X)), expected, rtol=1e-9, atol=1e-12)


def test_gate_is_its_equation(float64):
    g = np.random.default_rng(2).normal(size=(7, 2, 4, 4, 5))
    told, params = _fresh(Gate(6), jnp.asarray(X), jnp.asarray(g))
    coarse = np.kron(_dense(params["of_g"], g), np.ones((1, 1, 2, 2, 1)))
    psi = _dense(params["psi"], np.maximum(_dense(params["of_x"], X) + coarse, 0))
    np.testing.assert_allclose(told(jnp.asarray(X), jnp.asarray(g)), X / (1 + np.exp(-psi)))


def test_halves_are_means_and_doubles_their_inverse(float64):
    x = jnp.asarray(X)
    np.testing.assert_allclose(halved(x)[3, 1, 2, 1], X[3, 1, 4:6, 2:4].mean((0, 1)))
    chex.assert_trees_all_close(halved(doubled(x)), x)


@pytest.mark.parametrize(("dilations", "reach"), [((1, 1, 0), 2), ((0, 0), 0), ((1, 2), 3)])
def test_a_date_sees_so_many_dates_and_no_more(float64, dilations, reach):
    told, _ = _fresh(AttentionUNet(3, dilations), jnp.asarray(X))
    whole = np.asarray(told(jnp.asarray(X)))
    assert whole.shape == (7, 2, 8, 8, 3)
    moved = X.copy()
    moved[0] += 1.0
    change = np.abs(np.asarray(told(jnp.asarray(moved))) - whole).max((1, 2, 3, 4))
    assert (change[: reach + 1] > 1e-9).all()
    assert (change[reach + 1 :] == 0).all()


def test_pixels_see_their_patch_and_no_other(float64):
    told, _ = _fresh(AttentionUNet(3, (1, 1, 0)), jnp.asarray(X))
    whole = np.asarray(told(jnp.asarray(X)))
    moved = X.copy()
    moved[:, 0, 0, 0] += 1.0
    change = np.abs(np.asarray(told(jnp.asarray(moved))) - whole).max((0, 4))
    assert (change[1] == 0).all()
    assert (change[0] > 1e-12).all()


def test_discriminator_scores_squares_of_four(float64):
    told, _ = _fresh(Discriminator(4), jnp.asarray(X))
    score = np.asarray(told(jnp.asarray(X)))
    chex.assert_shape(score, (7, 2, 2, 2))
    chex.assert_tree_all_finite(score)
    moved = X.copy()
    moved[:, 0, 7, 7] += 3.0
    far = np.asarray(told(jnp.asarray(moved)))
    assert far[3, 0, 1, 1] != score[3, 0, 1, 1]
    assert far[3, 0, 0, 0] == score[3, 0, 0, 0]
    assert (far[:, 1] == score[:, 1]).all()


def test_a_side_that_cannot_be_halved_is_refused():
    with pytest.raises(ValueError, match="patch: got 6 x 8 pixels, expected multiples of 4"):
        jax.eval_shape(AttentionUNet(3, (1, 1, 0)).init, KEY, jnp.zeros((3, 1, 6, 8, 2)))
