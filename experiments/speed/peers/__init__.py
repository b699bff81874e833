"""Peers of the bench: other libraries on the same pixels, each a function of arrays; and
scikit-learn's Gaussian process of NDVI alone, fitted per pixel."""

import importlib
import logging
import warnings
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from typing import Literal, NamedTuple

import numpy as np
import sklearn
from jaxtyping import Bool, Float, Int
from sklearn.exceptions import ConvergenceWarning
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import ConstantKernel, Matern, WhiteKernel

from s1jax.batching import bar, one_thread
from s1jax.gp import Hyper, Observations
from s1jax.types import Days

log = logging.getLogger("s1jax")

FEWEST = 2
"""Observations of an output below which it has no standard deviation, and a peer no answer."""

MODULES = {"GPy": "gpy", "gpytorch": "gpytorch"}
"""Library of the extra `bench`, by the name it is imported by, and the module that calls it."""

Curves = tuple[Float[np.ndarray, "pixel query"], Float[np.ndarray, "pixel query"]]
"""Mean and std of an observation: the noise is included."""


class Peer(NamedTuple):
    """One library doing one job."""

    name: str
    version: str
    """Release of the library."""
    mode: Literal["region", "pixel", "shipped", "good-start"]
    """Hyperparameters: given; fitted per pixel from the library's own start, from that of FuseTS,
    or from a sane one."""
    latents: int
    """Latent processes; 1 is the intrinsic model of coregionalisation."""
    dtype: str
    work: str
    """What is done, in a sentence."""
    run: Callable[[Observations, Days], Curves]
    """Mean and std of NDVI (pixel, query) from series of pixels (pixel, time, channel), all in
    physical units; a row of NaN where the library cannot tell. On one core."""


class Available(NamedTuple):
    """What can run here."""

    peers: list[Peer]
    missing: list[str]
    """A sentence for each library that is not installed."""


def available(given: Sequence[Hyper] = (), outputs: int = 3) -> Available:
    """The peers whose library is installed, and a sentence for each library that is not.

    Raises:
      ValueError: hyperparameters of another number of outputs.
    """
    for hyper in given:
        if np.shape(hyper.noise) != (outputs,):
            raise ValueError(f"noise: got shape {np.shape(hyper.noise)}, expected ({outputs},)")
    peers, missing = [], []
    for library, module in MODULES.items():
        if find_spec(library) is None:
            missing.append(f"{library} is not installed: its rows are left out (extra `bench`)")
            log.warning(missing[-1])
            continue
        with warnings.catch_warnings():
            # a library's deprecations of its own dependencies are not ours
            warnings.simplefilter("ignore")
            caller = importlib.import_module(f"experiments.speed.peers.{module}")
        peers.extend(caller.peers(given, outputs))
    return Available([*peers, _sklearn()], missing)


def good_start(latents: int, outputs: int) -> Hyper:
    """Hyperparameters a fit does not get stuck from: length scales 60 d, or 30, 120, 10, 30... d.

    Latent q loads on output q alone (.5), so that the gradient shows the sign of the others.
    """
    lengthscale = np.resize([30.0, 120.0, 10.0], latents) if latents > 1 else np.full(1, 60.0)
    mixing = np.zeros((latents, outputs))
    mixing[np.arange(latents), np.arange(latents) % outputs] = 0.5
    return Hyper(lengthscale, mixing, np.full((latents, outputs), 0.5), np.full(outputs, 0.3))


def zscore(
    value: Float[np.ndarray, "pixel time channel"], valid: Bool[np.ndarray, "pixel time channel"]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """z = (value - mean) / std over each series' own valid values (ddof 0), 0 where not valid.

    Returns:
      z (pixel, time, channel); mean and std (pixel, channel) in physical units.
    """
    count = valid.sum(axis=1)
    seen = np.where(valid, value, 0.0).astype(np.float64)
    mean = seen.sum(axis=1) / count
    deviation = np.where(valid, seen - mean[:, None, :], 0.0)
    std = np.sqrt(np.square(deviation).sum(axis=1) / count)
    return deviation / std[:, None, :], mean, std


def solvable(
    value: Float[np.ndarray, "pixel time channel"], valid: Bool[np.ndarray, "pixel time channel"]
) -> Bool[np.ndarray, "pixel"]:
    """True where every channel has two or more valid values, all finite and not all the same."""
    finite = np.isfinite(value)
    low = np.where(valid & finite, value, np.inf).min(axis=1)
    high = np.where(valid & finite, value, -np.inf).max(axis=1)
    enough = (valid.sum(axis=1) >= FEWEST) & (finite | ~valid).all(axis=1) & (low < high)
    return enough.all(axis=1)


def stack(
    day: Float[np.ndarray, "time"],
    z: Float[np.ndarray, "pixel time channel"],
    valid: Bool[np.ndarray, "pixel time channel"],
) -> tuple[
    Float[np.ndarray, "pixel point"], Int[np.ndarray, "pixel point"], Float[np.ndarray, "..."]
]:
    """Day, output and z of each pixel's observations, output 0 first, padded to the longest.

    Padding has the output `channel`, one past the last, day 0 and z 0.
    """
    pixels, times, channels = z.shape
    there = valid.transpose(0, 2, 1).reshape(pixels, -1)
    most = int(there.sum(axis=1).max())
    first = np.argsort(~there, axis=1, kind="stable")[:, :most]
    is_there = np.take_along_axis(there, first, axis=1)
    flat = np.take_along_axis(z.transpose(0, 2, 1).reshape(pixels, -1), first, axis=1)
    return (
        np.where(is_there, np.asarray(day)[first % times], 0.0),
        np.where(is_there, first // times, channels),
        np.where(is_there, flat, 0.0),
    )


def on_z_scores(solve: Callable[[Observations, Days], Curves], label: str) -> Callable[..., Curves]:
    """`Peer.run` from a solver of z-scored series whose days count from the first one.

    Pixels that are not `solvable` stay NaN; how many have no answer is logged.
    """

    def _run(series: Observations, days: Days) -> Curves:
        value, valid = np.asarray(series.value), np.asarray(series.valid)
        first = np.asarray(series.day, np.float64)[0]
        able = solvable(value, valid)
        mean = np.full((len(value), len(days)), np.nan)
        std = mean.copy()
        if able.any():
            z, centre, scale = zscore(value[able], valid[able])
            scored = Observations(np.asarray(series.day, np.float64) - first, z, valid[able])
            # threads on matrices this small cost a library more than they give it
            with one_thread():
                z_mean, z_std = solve(scored, np.asarray(days, np.float64) - first)
            mean[able] = centre[:, -1, None] + scale[:, -1, None] * z_mean
            std[able] = scale[:, -1, None] * z_std
        without = int(np.isnan(mean).any(axis=1).sum())
        if without:
            log.warning("%s: no answer for %d of %d pixels", label, without, len(value))
        return mean, std

    return _run


def one_by_one(solve: Callable[..., tuple], label: str) -> Callable[[Observations, Days], Curves]:
    """Solver of many pixels, in a loop, from that of one: solve(index, series of one, days)."""

    def _solve(series: Observations, days: Days) -> Curves:
        mean, std = np.empty((2, len(series.value), len(days)))
        for i in bar(range(len(mean)), label, "pixel"):
            mean[i], std[i] = solve(
                i, Observations(series.day, series.value[i], series.valid[i]), days
            )
        return mean, std

    return _solve


def _sklearn() -> Peer:
    label = "scikit-learn, NDVI alone"
    solve = on_z_scores(one_by_one(_solve_sklearn, label), label)

    def _run(series: Observations, days: Days) -> Curves:
        value, valid = series.value[..., -1:], series.valid[..., -1:]
        return solve(series._replace(value=value, valid=valid), days)

    work = "NDVI alone, constant * Matern-3/2 + white noise: fit by L-BFGS-B, no restart, posterior"
    return Peer("scikit-learn", sklearn.__version__, "pixel", 1, "float64", work, _run)


def _solve_sklearn(index: int, series: Observations, days: Days) -> tuple[np.ndarray, np.ndarray]:
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
