"""scikit-learn: a Gaussian process of NDVI alone, fitted per pixel."""

import warnings
from collections.abc import Sequence

import numpy as np
import sklearn
from sklearn.exceptions import ConvergenceWarning
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import ConstantKernel, Matern, WhiteKernel

from experiments.speed.peers import Curves, Peer, on_z_scores, one_by_one
from s1jax.gp import Hyper, Observations
from s1jax.types import Days


def peers(given: Sequence[Hyper], outputs: int) -> list[Peer]:
    """One peer; it knows no other output, so `given` and `outputs` do not matter to it."""
    del given, outputs
    label = "scikit-learn, NDVI alone"
    solve = on_z_scores(one_by_one(_solve, label), label)

    def _run(series: Observations, days: Days) -> Curves:
        value, valid = series.value[..., -1:], series.valid[..., -1:]
        return solve(series._replace(value=value, valid=valid), days)

    work = "NDVI alone, constant * Matern-3/2 + white noise: fit by L-BFGS-B, no restart, posterior"
    return [Peer("scikit-learn", sklearn.__version__, "pixel", 1, "float64", work, _run)]


def _solve(index: int, series: Observations, days: Days) -> tuple[np.ndarray, np.ndarray]:
    """Mean and std of an observation of one z-scored pixel."""
    del index
    seen = series.valid[:, 0]
    kernel = ConstantKernel(1.0) * Matern(30.0, (1.0, 2000.0), nu=1.5) + WhiteKernel(0.3)
    process = GaussianProcessRegressor(kernel, n_restarts_optimizer=0)
    with warnings.catch_warnings():
        # a parameter that ends at its bound is an answer like another
        warnings.simplefilter("ignore", ConvergenceWarning)
        process.fit(series.day[seen, None], series.value[seen, 0])
    return process.predict(np.asarray(days)[:, None], return_std=True)
