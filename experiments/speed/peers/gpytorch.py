"""GPyTorch: the linear model of coregionalisation of a batch of pixels, float32."""

import logging
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import NamedTuple

import gpytorch
import numpy as np
import torch
from gpytorch.kernels import IndexKernel, MaternKernel
from linear_operator import to_linear_operator
from linear_operator.utils.errors import NanError, NotPSDError

from experiments.speed.peers import Curves, Peer, good_start, on_z_scores, stack
from s1jax.batching import bar
from s1jax.gp import Hyper, Observations
from s1jax.types import Days

log = logging.getLogger("s1jax")

BATCH = 128
"""Pixels factorised, and fitted, together."""
STEPS = 75
"""Steps of Adam; all pixels of a batch take as many."""
RATE = 0.3
"""Rate of Adam; of .1, .2 and .3 the one with which 75 steps get as far as 150 (to .1 nats)."""
UNIT = 30.0
"""Days in the library's unit of time: Adam's steps in days would hardly move a length scale."""


class Batch(NamedTuple):
    """Parts of the model of a batch of pixels, and its z-scored observations."""

    days: MaternKernel
    """One for each latent and pixel."""
    coregion: IndexKernel
    """B_q = W_q W_q^T + diag(kappa_q) of each latent and pixel."""
    likelihood: gpytorch.likelihoods.HadamardGaussianLikelihood
    """Noise of each output; the last is of the padding alone, and moves nothing else in a fit."""
    x: torch.Tensor
    """Time and output (pixel, point, 2)."""
    z: torch.Tensor


class _Process(gpytorch.models.ExactGP):
    """GPyTorch's way to tell a model: a class."""

    def __init__(self, batch: Batch) -> None:
        super().__init__(batch.x, batch.z, batch.likelihood)
        self.days, self.coregion = batch.days, batch.coregion

    def forward(self, x: torch.Tensor) -> gpytorch.distributions.MultivariateNormal:
        outputs = self.coregion.raw_var.shape[-1]
        # padding is no output: its row is zero, so it has no covariance with anything
        which = torch.nn.functional.one_hot(x[..., 1].long(), outputs + 1)[..., :outputs].to(x)
        shape = self.days(x[..., :1]).to_dense()
        pair = which @ self.coregion.covar_matrix.to_dense() @ which.mT
        # a bare tensor would be factorised here, without the noise
        covariance = to_linear_operator(torch.sum(shape * pair, dim=0))
        return gpytorch.distributions.MultivariateNormal(torch.zeros_like(x[..., 0]), covariance)


def peers(given: Sequence[Hyper], outputs: int) -> list[Peer]:
    """The full and the intrinsic model from a good start; the posterior at `given`."""

    def _peer(mode: str, hyper: Hyper, work: str, steps: int) -> Peer:
        latents = len(hyper.lengthscale)
        label = f"GPyTorch {mode}, latents {latents}"
        run = on_z_scores(partial(_solve, hyper, steps, label), label)
        return Peer("GPyTorch", gpytorch.__version__, mode, latents, "float32", work, run)

    fit = f"fit by {STEPS} steps of Adam and posterior, {BATCH} pixels at a time"
    made = []
    for latents, name in ((outputs, "linear model, as many latents as outputs"), (1, "intrinsic")):
        work = f"coregionalisation, Matern-3/2, {name}, from a good start: {fit}"
        made.append(_peer("good-start", good_start(latents, outputs), work, STEPS))
    work = f"posterior at given hyperparameters, nothing fitted, {BATCH} pixels at a time"
    return made + [_peer("region", hyper, work, 0) for hyper in given]


def _solve(hyper: Hyper, steps: int, label: str, series: Observations, days: Days) -> Curves:
    """Mean and std of an observation of the last output, z-scored."""
    mean, std = np.empty((2, len(series.value), len(days)))
    with _one_thread():
        for begin in bar(range(0, len(mean), BATCH), label, "batch"):
            part = slice(begin, begin + BATCH)
            inside = Observations(series.day, series.value[part], series.valid[part])
            try:
                mean[part], std[part] = _of_batch(hyper, steps, inside, days)
            except (NanError, NotPSDError) as error:
                log.warning("GPyTorch gives up the %d pixels from %d: %s", BATCH, begin, error)
                mean[part], std[part] = np.nan, np.nan
    return mean, std


@contextmanager
def _one_thread() -> Iterator[None]:
    """PyTorch, which brings its own threads, on one of them inside, and without its warnings."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with warnings.catch_warnings():
            # jitter added where float32 does not suffice; deprecations inside the library
            warnings.simplefilter("ignore")
            yield
    finally:
        torch.set_num_threads(threads)


def _of_batch(hyper: Hyper, steps: int, series: Observations, days: Days) -> Curves:
    batch = _batch(hyper, series)
    process, likelihood = _Process(batch), batch.likelihood
    if steps:
        process.train()
        marginal = gpytorch.mlls.ExactMarginalLogLikelihood(likelihood, process)
        optimiser = torch.optim.Adam(process.parameters(), lr=RATE)
        for _ in range(steps):
            optimiser.zero_grad()
            loss = -marginal(process(batch.x), batch.z, batch.x).sum()
            loss.backward()
            optimiser.step()
    process.eval()
    at = np.column_stack([days / UNIT, np.full(len(days), series.value.shape[-1] - 1)])
    query = torch.as_tensor(at, dtype=torch.float32).expand(len(batch.z), -1, -1)
    with torch.no_grad():
        seen = likelihood(process(query), query)
        return seen.mean.numpy(), seen.stddev.numpy()


def _batch(hyper: Hyper, series: Observations) -> Batch:
    tensor = partial(torch.as_tensor, dtype=torch.float32)
    day, output, z = stack(series.day, series.value, series.valid)
    lengthscale, mixing, kappa, noise = (tensor(np.array(leaf)) for leaf in hyper)
    (latents, outputs), pixels = mixing.shape, len(z)
    shape = torch.Size([latents, pixels])
    days = MaternKernel(nu=1.5, batch_shape=shape)
    days.lengthscale = (lengthscale / UNIT)[:, None, None, None].expand(*shape, 1, 1)
    coregion = IndexKernel(num_tasks=outputs, rank=1, batch_shape=shape)
    coregion.var = kappa[:, None].expand(*shape, outputs)
    coregion.initialize(covar_factor=mixing[:, None, :, None].expand(*shape, outputs, 1))
    likelihood = gpytorch.likelihoods.HadamardGaussianLikelihood(
        num_tasks=outputs + 1, batch_shape=shape[1:], task_feature_index=1
    )
    likelihood.noise = torch.cat([noise, torch.ones(1)]).expand(pixels, -1)
    x = torch.stack([tensor(day / UNIT), tensor(output)], dim=-1)
    return Batch(days, coregion, likelihood, x, tensor(z))
