"""The bench's peers do the work they say: same model, same numbers, on the same pixels."""

import logging
from importlib.util import find_spec
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.speed import peers as bench
from s1jax import gp
from s1jax.batching import one_thread
from s1jax.gp import Observations
from tests.worlds.gp_oracle import draw

pytestmark = pytest.mark.slow

DAY = 19668.0 + 12.0 * np.arange(24)
AT = 19668.0 + np.array([-20.0, 0.0, 5.0, 100.0, 276.0, 300.0])
SCALE = np.array([2.0, 1.5, 0.2])
CENTRE = np.array([-12.0, -18.0, 0.5])
ICM = gp.Hyper(
    np.array([45.0]), np.array([[0.8, -0.6, 0.7]]), np.full((1, 3), 0.2), np.full(3, 0.2)
)
LCM = gp.Hyper(
    np.array([20.0, 60.0, 120.0]),
    np.array([[0.5, 0.3, 0.6], [-0.4, 0.5, 0.2], [0.1, -0.3, 0.6]]),
    np.full((3, 3), 0.1),
    np.array([0.3, 0.2, 0.1]),
)


def _needs(library):
    return pytest.mark.skipif(
        find_spec(library) is None, reason=f"{library} is not installed (extra `bench`)"
    )


def _series(pixels, *, day=DAY, seed=0):
    """Latent NDVI and the series, in physical units, drawn from the model with gaps."""
    rng = np.random.default_rng(seed)
    latent, noisy = draw(rng, ICM, day, pixels)
    valid = rng.random(noisy.shape) < [0.9, 0.9, 0.6]
    value = np.where(valid, CENTRE + SCALE * noisy, -9999.0)
    return CENTRE[-1] + SCALE[-1] * latent[..., -1], Observations(day, value, valid)


def _peer(name, mode, latents, given=(ICM, LCM)):
    found = [p for p in bench.available(given).peers if p.name == name]
    (one,) = (p for p in found if (p.mode, p.latents) == (mode, latents))
    return one


def _ours(hyper, series, days):
    """Mean and std of an observation by the dense solver in float64, z-scored by hand."""
    mean, std = [], []
    for value, valid in zip(series.value, series.valid, strict=True):
        seen = np.where(valid, value, np.nan)
        m, s = np.nanmean(seen, axis=0), np.nanstd(seen, axis=0)
        z = Observations(*map(jnp.asarray, (series.day, (seen - m) / s, valid)))
        of = jax.tree.map(jnp.asarray, hyper)
        f, f_std = gp.condition(of, z, jnp.asarray(days), output=None, solver="dense")
        mean.append(m[-1] + s[-1] * f[-1])
        std.append(s[-1] * np.sqrt(np.square(f_std[-1]) + hyper.noise[-1]))
    return np.array(mean), np.array(std)


def test_missing_libraries_are_named(monkeypatch, caplog):
    monkeypatch.setattr(bench, "find_spec", lambda name: None)
    with caplog.at_level(logging.WARNING, "s1jax"):
        found = bench.available()
    assert [peer.name for peer in found.peers] == ["scikit-learn"]  # a dependency of the package
    assert [line.split()[0] for line in found.missing] == ["GPy", "gpytorch"]
    assert [record.message for record in caplog.records] == found.missing


def test_what_is_installed_is_available():
    found = bench.available((ICM, LCM))
    assert len({p.name.split()[0] for p in found.peers}) + len(found.missing) == 3
    rows = [(p.name, p.mode, p.latents) for p in found.peers]
    assert ("scikit-learn", "pixel", 1) in rows  # a dependency of the package itself
    assert len(set(rows)) == len(rows)
    modes = [("shipped", 3), ("good-start", 3), ("good-start", 1), ("region", 1), ("region", 3)]
    assert [row[1:] for row in rows if row[0] == "GPy"] in ([], modes)
    assert [row[1:] for row in rows if row[0] == "GPyTorch"] in ([], modes[1:])
    assert all(p.version and p.work and p.dtype.startswith("float") for p in found.peers)


def test_hyperparameters_of_other_outputs_are_refused():
    with pytest.raises(ValueError, match=r"noise: got shape \(3,\), expected \(2,\)"):
        bench.available([ICM], outputs=2)


def test_zscore_by_hand():
    value = np.array([[[1.0, 7.0], [3.0, -9999.0], [np.nan, 9.0]]])
    valid = np.array([[[True, True], [True, False], [False, True]]])
    z, mean, std = bench.zscore(value, valid)
    np.testing.assert_array_equal(z, [[[-1, -1], [1, 0], [0, 1]]])
    np.testing.assert_array_equal(mean, [[2, 8]])
    np.testing.assert_array_equal(std, [[1, 1]])


def test_solvable_by_hand():
    fine = np.array([[1.0], [2.0], [0.0]])
    infinite, constant = np.array([[1.0], [2.0], [np.inf]]), np.array([[0.3], [0.3], [7.0]])
    value = np.stack([fine, fine, infinite, infinite, constant, fine])
    seen = [[1, 1, 1], [1, 0, 0], [1, 1, 1], [1, 1, 0], [1, 1, 0], [0, 0, 0]]
    able = bench.solvable(value, np.array(seen, bool)[..., None])
    np.testing.assert_array_equal(able, [True, False, False, True, False, False])
    both = np.concatenate([value, np.repeat(value[:1], 6, axis=0)], axis=-1)
    every = np.stack([np.array(seen, bool), np.ones((6, 3), bool)], axis=-1)
    np.testing.assert_array_equal(bench.solvable(both, every), able)


def test_stack_by_hand():
    z = np.array([[[1.0, 4.0], [2.0, 5.0], [3.0, 6.0]], [[7.0, 8.0], [9.0, 1.0], [2.0, 3.0]]])
    seen = np.array([[[1, 0], [0, 1], [1, 1]], [[0, 0], [0, 1], [0, 0]]], bool)
    day, output, stacked = bench.stack(np.array([0.0, 12.0, 24.0]), z, seen)
    np.testing.assert_array_equal(day, [[0, 24, 12, 24], [12, 0, 0, 0]])
    np.testing.assert_array_equal(output, [[0, 0, 1, 1], [1, 2, 2, 2]])
    np.testing.assert_array_equal(stacked, [[1, 3, 5, 6], [1, 0, 0, 0]])


def test_good_start_has_its_own_output_for_each_latent():
    start = bench.good_start(4, 3)
    np.testing.assert_array_equal(start.lengthscale, [30, 120, 10, 30])
    np.testing.assert_array_equal(start.mixing, 0.5 * np.eye(3)[[0, 1, 2, 0]])
    np.testing.assert_array_equal(bench.good_start(1, 3).lengthscale, [60])


def test_units_come_back_and_impossible_pixels_are_counted(caplog):
    _, series = _series(3)
    series.valid[1, 1:, 2] = False

    def _solve(index, one, days):
        assert one.day[0] == 0.0
        np.testing.assert_allclose(one.value[one.valid[:, 0], 0].std(), 1.0)
        return days, np.full(len(days), 1.0 + index)

    with caplog.at_level(logging.WARNING, "s1jax"):
        mean, std = bench.on_z_scores(bench.one_by_one(_solve, "x"), "a peer")(series, AT)
    assert "a peer: no answer for 1 of 3 pixels" in caplog.text
    assert np.isnan(mean[1]).all()
    assert np.isnan(std[1]).all()
    for pixel, place in ((0, 0), (2, 1)):
        ndvi = series.value[pixel, series.valid[pixel, :, 2], 2]
        np.testing.assert_allclose(mean[pixel], ndvi.mean() + ndvi.std() * (AT - DAY[0]))
        np.testing.assert_allclose(std[pixel], ndvi.std() * (1.0 + place))


def test_no_pixel_possible_is_no_error():
    _, series = _series(2)
    none = series._replace(valid=np.zeros_like(series.valid))
    for peer in bench.available().peers:
        mean, std = peer.run(none, AT)
        assert mean.shape == std.shape == (2, len(AT))
        assert np.isnan(mean).all()


def test_sklearn_recovers_ndvi_and_sees_nothing_else():
    truth, series = _series(3)
    peer = _peer("scikit-learn", "pixel", 1)
    mean, std = peer.run(series, DAY)
    assert np.corrcoef(mean.ravel(), truth.ravel())[0, 1] > 0.9
    assert (std > 0).all()
    cover = np.abs(series.value - mean[..., None])[..., 2] < 1.645 * std
    assert 0.8 < cover[series.valid[..., 2]].mean() <= 1.0
    other = series._replace(value=series.value * [0.0, 5.0, 1.0])
    np.testing.assert_array_equal(peer.run(other, DAY)[0], mean)


@_needs("GPy")
@pytest.mark.parametrize("hyper", [ICM, LCM], ids=["ICM", "LCM"])
def test_gpy_at_given_hyperparameters_is_our_posterior(float64, hyper):
    _, series = _series(3)
    mean, std = _peer("GPy", "region", len(hyper.lengthscale)).run(series, AT)
    want_mean, want_std = _ours(hyper, series, AT)
    np.testing.assert_allclose(mean, want_mean, rtol=0, atol=1e-5)
    np.testing.assert_allclose(std, want_std, rtol=0, atol=1e-5)


@_needs("GPy")
@pytest.mark.parametrize("outputs", [2, 3])
def test_gpy_as_shipped_is_fusets_to_the_last_digits(outputs):
    case = np.load(
        Path(__file__).parents[2] / f"data/synth_000_{outputs}out.npz", allow_pickle=False
    )
    value = case["y"].T[None]
    series = Observations(case["t_days"].astype(float), value, np.isfinite(value))
    (peer,) = (p for p in bench.available(outputs=outputs).peers if p.mode == "shipped")
    state = np.random.get_state()  # noqa: NPY002
    mean, std = peer.run(series, case["t_out_days"])
    np.testing.assert_array_equal(np.random.get_state()[1], state[1])  # noqa: NPY002
    np.testing.assert_allclose(mean[0], case["ship_mean_phys"][0, -1], atol=1e-6)
    # what FuseTS calls std is the variance of z times the scale
    scale = case["norm_std"][-1]
    np.testing.assert_allclose(std[0] ** 2 / scale, case["ship_std_returned"][0, -1], atol=1e-6)


@_needs("GPy")
def test_gpy_as_shipped_never_leaves_its_start():
    from experiments.speed.peers import gpy as with_gpy

    _, series = _series(1)
    z, _, _ = bench.zscore(series.value, series.valid)
    one = Observations(DAY - DAY[0], z[0], series.valid[0])
    with one_thread():
        shipped = with_gpy.shipped_model(0, one)
        good = with_gpy.fitted_model(bench.good_start(1, 3), 0, one)
    assert all(float(term.Mat32.lengthscale[0]) < 2.0 for term in shipped.kern.parts)
    assert float(good.kern.Mat32.lengthscale[0]) > 10.0
    assert good.log_likelihood() > shipped.log_likelihood() + 5.0


@_needs("GPy")
def test_gpy_giving_up_a_pixel_leaves_the_others(monkeypatch, caplog):
    from experiments.speed.peers import gpy as with_gpy

    def _fails(model, *args, **kwargs):
        if not model.kern.B.W.any():
            raise np.linalg.LinAlgError("not positive definite")
        return predict(model, *args, **kwargs)

    predict = with_gpy.Model.predict
    monkeypatch.setattr(with_gpy.Model, "predict", _fails)
    _, series = _series(2)
    zero = ICM._replace(mixing=np.zeros((1, 3)))
    with caplog.at_level(logging.WARNING, "s1jax"):
        assert np.isnan(_peer("GPy", "region", 1, [zero]).run(series, AT)[0]).all()
    assert "GPy gives up pixel 1: not positive definite" in caplog.text
    assert np.isfinite(_peer("GPy", "region", 1, [ICM]).run(series, AT)[0]).all()


@_needs("gpytorch")
@pytest.mark.parametrize("hyper", [ICM, LCM], ids=["ICM", "LCM"])
def test_gpytorch_at_given_hyperparameters_is_our_posterior(float64, monkeypatch, hyper):
    from experiments.speed.peers import gpytorch as with_gpytorch

    _, series = _series(5)
    series.valid[2] = False
    keep = np.array([0, 1, 3, 4])
    want_mean, want_std = _ours(
        hyper, Observations(DAY, series.value[keep], series.valid[keep]), AT
    )
    for batch in (128, 3):
        monkeypatch.setattr(with_gpytorch, "BATCH", batch)
        mean, std = _peer("GPyTorch", "region", len(hyper.lengthscale)).run(series, AT)
        np.testing.assert_allclose(mean[keep], want_mean, rtol=0, atol=1e-3)
        np.testing.assert_allclose(std[keep], want_std, rtol=0, atol=1e-3)
        assert np.isnan(mean[2]).all()


@_needs("GPy")
@_needs("gpytorch")
def test_fits_of_one_model_agree_across_libraries():
    # long series: the likelihood of short ones has many optima of like height
    day = 19668.0 + 12.0 * np.arange(60)
    truth, series = _series(3, day=day)
    rows = [_peer(name, "good-start", 1).run(series, day) for name in ("GPy", "GPyTorch")]
    for mean, std in rows:
        assert np.corrcoef(mean.ravel(), truth.ravel())[0, 1] > 0.8
        assert (std > 0).all()
    np.testing.assert_allclose(rows[0][0], rows[1][0], atol=0.02)
    np.testing.assert_allclose(rows[0][1], rows[1][1], atol=0.02)
