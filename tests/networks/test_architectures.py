"""Architectures against NumPy."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from s1jax.networks.architectures import GRU, MLP, TCN, Window, dropout, kept

KEY = jax.random.key(0)
X = np.random.default_rng(0).normal(size=(9, 3, 5))


def _noisy(tree):
    """Weights none of which is zero."""
    leaves, shape = jax.tree.flatten(tree)
    keys = jax.random.split(jax.random.key(1), len(leaves))
    drawn = [0.3 * jax.random.normal(k, leaf.shape, leaf.dtype) for k, leaf in zip(keys, leaves)]  # noqa: B905
    return jax.tree.unflatten(shape, drawn)


def _by_hand(params, x, dilations):
    """The equation of `TCN`, date by date."""
    layers = iter([params[f"Dense_{k}"] for k in range(len(params))])

    def _dense(x):
        layer = next(layers)
        y = x @ np.asarray(layer["kernel"], float)
        return y + np.asarray(layer["bias"], float) if "bias" in layer else y

    h = _dense(x)
    for d in dilations:
        u = np.maximum(h, 0)
        around = np.zeros((*u.shape[:2], 3 * u.shape[2]))
        width = u.shape[2]
        for t in range(len(u)):
            for place, other in enumerate((t - d, t, t + d)):
                if 0 <= other < len(u):
                    around[t, :, place * width : (place + 1) * width] = u[other]
        v = _dense(around)
        v = v + _dense(u.mean(0, keepdims=True))
        h = h + _dense(np.maximum(v, 0))
    return _dense(np.maximum(h, 0))


@pytest.mark.slow
def test_tcn_is_its_equation(float64):
    dilations = (1, 2, 16)
    net = TCN(outputs=2, width=4, dilations=dilations)
    params = _noisy(net.init(KEY, jnp.asarray(X))["params"])
    np.testing.assert_allclose(
        net.apply({"params": params}, jnp.asarray(X)), _by_hand(params, X, dilations), rtol=1e-9
    )


def test_new_blocks_change_nothing(float64):
    net = TCN(outputs=2, width=4, dilations=(1, 2))
    params = net.init(KEY, jnp.asarray(X))["params"]
    bare = TCN(outputs=2, width=4, dilations=())
    ends = {"Dense_0": params["Dense_0"], "Dense_1": params[f"Dense_{len(params) - 1}"]}
    chex.assert_trees_all_close(
        net.apply({"params": params}, jnp.asarray(X)),
        bare.apply({"params": ends}, jnp.asarray(X)),
        atol=1e-12,
    )


@pytest.mark.slow
@pytest.mark.parametrize("net", [TCN(2, 4, (1, 2, 4)), GRU(2, 4, 1)], ids=["tcn", "gru"])
def test_every_date_hears_every_date_and_no_other_pixel(net, float64):
    params = _noisy(net.init(KEY, jnp.asarray(X))["params"])
    told = net.apply({"params": params}, jnp.asarray(X))
    assert told.shape == (9, 3, 2)
    assert told.dtype == jnp.float64
    moved = net.apply(
        {"params": params}, jnp.asarray(np.where(np.arange(9)[:, None, None] == 4, X + 1, X))
    )
    assert (np.abs(np.asarray(moved - told)).max((1, 2)) > 1e-9).all()
    other = X.copy()
    other[:, 1] += 1
    found = net.apply({"params": params}, jnp.asarray(other))
    np.testing.assert_allclose(found[:, [0, 2]], told[:, [0, 2]], rtol=1e-12)


def test_window_sees_so_many_dates_and_no_more(float64):
    net = Window(outputs=2, hidden=(4,), window=2)
    params = _noisy(net.init(KEY, jnp.asarray(X))["params"])
    assert params["Dense_0"]["kernel"].shape == (25, 4)
    told = net.apply({"params": params}, jnp.asarray(X))
    padded = np.pad(X, ((2, 2), (0, 0), (0, 0)))
    (w0, b0), (w1, b1) = (
        (np.asarray(params[k]["kernel"]), np.asarray(params[k]["bias"]))
        for k in ("Dense_0", "Dense_1")
    )
    h = np.maximum(np.concatenate([padded[k : k + 9] for k in range(5)], -1) @ w0 + b0, 0)
    expected = h @ w1 + b1
    np.testing.assert_allclose(told, expected, rtol=1e-9)


@pytest.mark.slow
def test_bfloat16_is_near():
    x = jnp.asarray(X, jnp.float32)
    net = TCN(outputs=2, width=16, dilations=(1, 2))
    params = net.init(KEY, x)["params"]
    exact = net.apply({"params": params}, x)
    rough = TCN(outputs=2, width=16, dilations=(1, 2), dtype="bfloat16").apply(
        {"params": params}, x
    )
    assert rough.dtype == jnp.float32
    np.testing.assert_allclose(rough, exact, atol=0.05)
    assert (rough != exact).any()


@pytest.mark.parametrize("rate", [0.0, 0.1, 0.2, 0.9])
def test_dropout_drops_its_share_and_keeps_the_mean(rate):
    x = jnp.ones((301, 1003))
    y = np.asarray(dropout(KEY, rate, x))
    share = kept(rate) / 256
    assert abs(share - (1 - rate)) <= 0.5 / 256
    np.testing.assert_allclose(np.unique(y), [0, 1 / share] if rate else [1], rtol=1e-6)
    error = np.sqrt(share * (1 - share) / y.size)
    assert abs((y > 0).mean() - share) <= 4 * error
    # units that share a word are dropped apart: no more alike than others
    if 0 < rate < 0.9:
        z = (y > 0).reshape(-1)[: 4 * (y.size // 4)].reshape(-1, 4).astype(float)
        assert np.abs(np.corrcoef(z.T) - np.eye(4)).max() < 0.02


def test_dropout_refuses_a_share_of_all():
    for rate in (1.0, 1.5, -0.1):
        with pytest.raises(ValueError, match="dropout: got"):
            dropout(KEY, rate, jnp.ones(4))


def test_dropout_only_in_training():
    net = MLP((8, 8), dropout=(0.5, 0.5))
    x = jnp.asarray(X[0], jnp.float32)
    tree = net.init(KEY, x, training=False)
    quiet = net.apply(tree, x, training=False)
    chex.assert_trees_all_equal(quiet, net.apply(tree, x, training=False))
    keys = [{"dropout": jax.random.key(k)} for k in (0, 0, 1)]
    first, again, other = (net.apply(tree, x, training=True, rngs=rngs) for rngs in keys)
    chex.assert_trees_all_equal(first, again)
    assert (np.asarray(first) != np.asarray(other)).any()
