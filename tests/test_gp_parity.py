"""The model is GPy's: likelihood, gradient and posterior of every stored reference case."""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from s1jax import gp
from s1jax.types import Series

COMMITTED = sorted((Path(__file__).parent / "data").glob("*_*out.npz"))
PARAMETERS = [("nominal", 1e-6), ("shipped0", 1e-6), ("best", 1e-4)]


def _read(path, name):
    """Hyper with GPy's 1e-8 in the noise, the z-scored series, and the file's arrays."""
    case = np.load(path, allow_pickle=False)
    v = case[f"{name}_variance"][:, None]
    hyper = gp.Hyper(
        case[f"{name}_lengthscale"],
        np.sqrt(v) * case[f"{name}_W"],
        v * case[f"{name}_kappa"],
        case[f"{name}_noise"] + 1e-8,
    )
    z = ((case["y"] - case["norm_mean"][:, None]) / case["norm_std"][:, None]).T
    series = Series(case["t_days"].astype(float), z, np.isfinite(z))
    return jax.tree.map(jnp.asarray, (hyper, series)), case


@jax.jit
def _evaluate(hyper, series, at):
    """Negative log-likelihood, and mean and variance of every output."""
    mean, std = gp.condition_outputs(hyper, series, at)
    return -gp.log_likelihood(hyper, series), mean, std**2


def _assert_parity(path, name, tolerance, pad=(0, 0)):
    """Parity of one case; `pad` adds days without data and days asked for, to share one trace."""
    (hyper, series), case = _read(path, name)
    at = jnp.asarray(case["t_out_days"].astype(float))
    queries = at.size
    if any(pad):
        days = ((0, pad[0] - series.day.size), (0, 0))
        series = Series(
            jnp.pad(series.day, days[0], mode="edge"),
            jnp.pad(series.value, days),
            jnp.pad(series.valid, days),
        )
        at = jnp.pad(at, (0, pad[1] - queries), mode="edge")
    nll, mean, variance = _evaluate(hyper, series, at)
    np.testing.assert_allclose(nll, case[f"{name}_nll"], rtol=tolerance, atol=tolerance)
    for got, key in ((mean, f"{name}_mean_norm"), (variance, f"{name}_var_f_norm")):
        np.testing.assert_allclose(got[:, :queries], case[key], rtol=0, atol=tolerance)


def test_reference_cases_are_committed():
    assert [path.name for path in COMMITTED] == ["synth_000_2out.npz", "synth_000_3out.npz"]


@pytest.mark.parametrize(("name", "tolerance"), PARAMETERS)
@pytest.mark.parametrize("path", COMMITTED, ids=lambda path: path.stem)
def test_committed_cases(float64, path, name, tolerance):
    _assert_parity(path, name, tolerance)


@pytest.mark.parametrize(("name", "tolerance"), PARAMETERS)
def test_every_reference_case(float64, shared, name, tolerance):
    paths = sorted((shared / "reference").glob("*_*out*.npz"))
    assert len(paths) >= 13
    for path in paths:
        _assert_parity(path, name, tolerance, pad=(145, 147))


@pytest.mark.parametrize("path", COMMITTED, ids=lambda path: path.stem)
def test_gradient_is_that_of_gpy(float64, path):
    (hyper, series), case = _read(path, "nominal")
    slope = jax.jit(jax.grad(gp.log_likelihood))(hyper, series)
    v = case["nominal_variance"][:, None]
    np.testing.assert_allclose(slope.lengthscale, case["nominal_dLL_lengthscale"], rtol=1e-6)
    np.testing.assert_allclose(slope.noise, case["nominal_dLL_noise"], rtol=1e-6)
    np.testing.assert_allclose(slope.kappa * v, case["nominal_dLL_kappa"], rtol=1e-6, atol=1e-8)
    np.testing.assert_allclose(slope.mixing * v**0.5, case["nominal_dLL_W"], rtol=1e-6, atol=1e-8)


def test_covariance_is_that_of_gpy(float64, shared):
    (hyper, _), case = _read(shared / "reference" / "synth_001_3out.npz", "nominal")
    day, output = case["nominal_Xstack"].T
    at = gp.Points(jnp.asarray(day), jnp.asarray(output.astype(int)), jnp.ones(len(day)))
    np.testing.assert_allclose(gp.kernel(hyper)(at, at), case["nominal_K"], rtol=1e-12, atol=1e-12)
