"""Independent float64 NumPy Gaussian process of several outputs, on the observed points alone."""

import numpy as np


def covariance(hyper, t1, d1, t2, d2):
    """Covariance of points (day, output) by explicit loops over the latents."""
    total = np.zeros((len(t1), len(t2)))
    for l, w, kappa in zip(hyper.lengthscale, hyper.mixing, hyper.kappa, strict=True):
        l, w, kappa = float(l), np.asarray(w, float), np.asarray(kappa, float)
        a = np.sqrt(3.0) * np.abs(np.subtract.outer(t1, t2)) / l
        total += (1 + a) * np.exp(-a) * (np.outer(w, w) + np.diag(kappa))[np.ix_(d1, d2)]
    return total


def posterior(hyper, series, at, channel):
    """Log-likelihood, mean and variance of the latent of one output on the days `at`."""
    day = np.asarray(series.day, float)
    row, output = np.nonzero(np.asarray(series.valid))
    z = np.asarray(series.value, float)[row, output]
    noise = np.asarray(hyper.noise, float)
    t = day[row]
    k = covariance(hyper, t, output, t, output) + np.diag(noise[output])
    lower = np.linalg.cholesky(k)
    white = np.linalg.solve(lower, z)
    log_likelihood = -0.5 * white @ white - np.log(np.diag(lower)).sum()
    log_likelihood -= 0.5 * len(z) * np.log(2 * np.pi)
    at = np.asarray(at, float)
    channels = np.full(len(at), channel)
    cross = np.linalg.solve(lower, covariance(hyper, t, output, at, channels))
    prior = np.diag(covariance(hyper, at, channels, at, channels))
    return log_likelihood, cross.T @ white, prior - (cross**2).sum(0)


def problem(rng, *, days=14, outputs=3, latents=2, seen=0.6, irregular=True):
    """Hyperparameters (noise >= 1e-2) and the series of one pixel as NumPy arrays, float64."""
    from s1jax.gp import Hyper, Observations

    hyper = Hyper(
        rng.uniform(20, 120, latents),
        rng.normal(0, 0.7, (latents, outputs)),
        rng.uniform(0.05, 0.4, (latents, outputs)),
        rng.uniform(0.05, 0.4, outputs),
    )
    step = rng.integers(1, 25, days) if irregular else np.full(days, 12)
    day = 19000.0 + np.cumsum(step)
    value = rng.normal(size=(days, outputs))
    return hyper, Observations(day, value, rng.random((days, outputs)) < seen)


def draw(rng, hyper, day, pixels):
    """z-scored series of many pixels drawn from the model itself: latent and noisy values."""
    outputs = len(hyper.noise)
    t, d = np.repeat(day, outputs), np.tile(np.arange(outputs), len(day))
    root = np.linalg.cholesky(covariance(hyper, t, d, t, d) + 1e-10 * np.eye(len(t)))
    latent = (rng.normal(size=(pixels, len(t))) @ root.T).reshape(pixels, len(day), outputs)
    return latent, latent + np.sqrt(np.asarray(hyper.noise)) * rng.normal(size=latent.shape)
