"""The formulas of docs/concepts/gp.md, written out anew, give the numbers of the code."""

from itertools import product

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.linalg import block_diag, expm
from scipy.special import gammainc

from s1jax import gp

pytestmark = pytest.mark.usefixtures("float64")
Q, P, T = 2, 3, 9
LOG_P = jax.jit(gp.log_likelihood, static_argnames="solver")
CONDITION = jax.jit(gp.condition, static_argnames=("output", "solver"))
F = np.array([[0.0, 1.0], [-1.0, -2.0]])


class Page:
    """A pixel, and the quantities of equations (4) and (5)."""

    def __init__(self):
        rng = np.random.default_rng(0)
        self.length = np.array([35.0, 90.0])
        self.mixing = rng.normal(size=(Q, P)) * 0.7
        self.kappa = rng.uniform(0.1, 0.4, (Q, P))
        self.noise = np.array([0.3, 0.2, 0.25])
        self.day = np.cumsum(rng.uniform(3.0, 20.0, T))
        self.z = rng.normal(size=(T, P))
        self.valid = rng.random((T, P)) > 0.3
        self.rate = np.sqrt(3.0) / self.length
        pairs = zip(self.mixing, self.kappa, strict=True)
        self.coregion = np.stack([np.outer(w, w) + np.diag(k) for w, k in pairs])

    @property
    def hyper(self):
        return gp.Hyper(*map(jnp.asarray, (self.length, self.mixing, self.kappa, self.noise)))

    @property
    def observations(self):
        return gp.Observations(*map(jnp.asarray, (self.day, self.z, self.valid)))

    def covariance(self, one, other):
        """Equation (4) of points (day, output)."""
        return np.array([[self._pair(*a, *b) for b in other] for a in one])

    def _pair(self, day, p, other_day, r):
        a = self.rate * abs(day - other_day)
        return np.sum(self.coregion[:, p, r] * (1.0 + a) * np.exp(-a))

    @property
    def points(self):
        return [(self.day[i], p) for i, p in product(range(T), range(P)) if self.valid[i, p]]

    def total(self):
        """K + N."""
        noise = self.noise[[p for _, p in self.points]]
        return self.covariance(self.points, self.points) + np.diag(noise)

    def transition(self, step):
        """Equation (10) of the whole state [latent, output, derivative]."""
        return block_diag(*(np.kron(np.eye(P), expm(rate * F * step)) for rate in self.rate))


@pytest.fixture(scope="module")
def page():
    return Page()


def test_equation_6_is_the_likelihood(page):
    y = page.z[page.valid]
    total = page.covariance(page.points, page.points) + np.diag(
        page.noise[[p for _, p in page.points]]
    )
    log_p = -0.5 * y @ np.linalg.solve(total, y) - 0.5 * np.linalg.slogdet(total)[1]
    log_p -= 0.5 * y.size * np.log(2.0 * np.pi)
    for solver in gp.SOLVERS:
        got = LOG_P(page.hyper, page.observations, solver=solver)
        np.testing.assert_allclose(got, log_p, rtol=1e-12)


def test_equation_7_is_the_posterior(page):
    at = np.array([-5.0, 31.0, 200.0])
    y = page.z[page.valid]
    total = page.covariance(page.points, page.points) + np.diag(
        page.noise[[p for _, p in page.points]]
    )
    for output, solver in ((0, "kalman"), (2, "kalman"), (1, "dense")):
        query = [(day, output) for day in at]
        cross = page.covariance(page.points, query)
        mean = cross.T @ np.linalg.solve(total, y)
        variance = page.covariance(query, query) - cross.T @ np.linalg.solve(total, cross)
        got = CONDITION(page.hyper, page.observations, at, output=output, solver=solver)
        np.testing.assert_allclose(got[0], mean, rtol=1e-9, atol=1e-12)
        np.testing.assert_allclose(got[1], np.sqrt(np.diag(variance)), rtol=1e-9)


def test_equation_10_is_the_exponential_of_8():
    a = 0.37
    closed = np.exp(-a) * np.array([[1.0 + a, a], [-a, 1.0 - a]])
    np.testing.assert_allclose(closed, expm(F * a), rtol=1e-12)


def test_equation_29_is_the_covariance_of_a_step():
    a = 0.37
    x, step = 2.0 * a, expm(F * a)
    cross, own = 0.5 * x**2 * np.exp(-x), gammainc(3.0, x)
    entries = np.array([[own, cross], [cross, own + 2.0 * x * np.exp(-x)]])
    np.testing.assert_allclose(np.eye(2) - step @ step.T, entries, rtol=1e-12)


def _filter(page):
    """Equations (9) to (15): -log p(z), and of each date A, m, P, D and (p, u, v, S)."""
    stationary = block_diag(*(np.kron(b, np.eye(2)) for b in page.coregion))
    h = np.tile(np.kron(np.eye(P), [1.0, 0.0]), (1, Q))
    m, d, nll, kept = np.zeros(len(stationary)), np.zeros_like(stationary), 0.0, []
    for i in range(T):
        a = page.transition(page.day[i] - page.day[max(i - 1, 0)])
        m, d = a @ m, a @ d @ a.T
        taken, predicted = [], (a, m, stationary - d, d)
        for p in np.flatnonzero(page.valid[i]):
            column = (stationary - d) @ h[p]
            v, s = page.z[i, p] - h[p] @ m, h[p] @ column + page.noise[p]
            m, d = m + column * v / s, d + np.outer(column, column) / s
            nll += 0.5 * (np.log(2.0 * np.pi * s) + v**2 / s)
            taken.append((p, column / s, v, s))
        kept.append((*predicted, taken))
    return h, nll, kept


def test_equations_9_to_19_are_the_likelihood_and_the_posterior(page):
    h, nll, kept = _filter(page)
    got = LOG_P(page.hyper, page.observations)
    np.testing.assert_allclose(-nll, got, rtol=1e-12)
    lam, big = np.zeros(h.shape[1]), np.zeros((h.shape[1],) * 2)
    mean, variance = np.empty((T, P)), np.empty((T, P))
    for i in reversed(range(T)):
        a, m, cov, _, taken = kept[i]
        lam, big, _ = _correct(h, lam, big, taken)
        for p in range(P):
            column = cov @ h[p]
            mean[i, p] = h[p] @ m - column @ lam
            variance[i, p] = h[p] @ column - column @ big @ column
        lam, big = a.T @ lam, a.T @ big @ a
    for p in range(P):
        got = CONDITION(page.hyper, page.observations, None, output=p)
        np.testing.assert_allclose(got[0], mean[:, p], rtol=1e-9, atol=1e-12)
        np.testing.assert_allclose(got[1], np.sqrt(variance[:, p]), rtol=1e-9)


def _correct(h, lam, big, taken):
    """Equations (16) and (17), and e and s of each output."""
    errors = []
    for p, u, v, s in reversed(taken):
        e, w = v / s + lam @ u, big @ u
        spread = 1.0 / s + u @ w
        big = big - np.outer(h[p], w) - np.outer(w, h[p]) + spread * np.outer(h[p], h[p])
        lam = lam - e * h[p]
        errors.append((p, e, spread))
    return lam, big, errors


def test_equation_20_is_the_gradient(page):
    h, _, kept = _filter(page)
    lam, big = np.zeros(h.shape[1]), np.zeros((h.shape[1],) * 2)
    of_b, of_rate, of_noise = np.zeros((Q, P, P)), np.zeros(Q), np.zeros(P)
    of_z, drift = np.zeros((T, P)), np.kron(np.eye(Q * P), F)
    for i in reversed(range(T)):
        a, m, _, d, taken = kept[i]
        lam, big, errors = _correct(h, lam, big, taken)
        for p, e, spread in errors:
            of_noise[p] += 0.5 * (spread - e**2)
            of_z[i, p] = e
        g = 0.5 * (big - np.outer(lam, lam))
        rows = (lam * (drift @ m) - 2.0 * (g * (drift @ d)).sum(1)).reshape(Q, -1).sum(1)
        of_rate += rows * (page.day[i] - page.day[i - 1] if i else 0.0)
        blocks = g.reshape(Q, P, 2, Q, P, 2)
        for q in range(Q):
            step = a.reshape(Q, P, 2, Q, P, 2)[q, 0, :, q, 0, :]
            new = np.eye(2) - (step @ step.T if i else 0.0)
            of_b[q] += np.einsum("pirj,ij->pr", blocks[q, :, :, q], new)
        lam, big = a.T @ lam, a.T @ big @ a
    both = of_b + np.swapaxes(of_b, 1, 2)
    expected = (
        -of_rate * page.rate / page.length,
        np.einsum("qpr,qr->qp", both, page.mixing),
        np.einsum("qpp->qp", of_b),
        of_noise,
    )
    for solver in gp.SOLVERS:

        def _nll(hyper, value, solver=solver):
            observations = page.observations._replace(value=value)
            return -gp.log_likelihood(hyper, observations, solver=solver)

        slope, of_value = jax.jit(jax.grad(_nll, (0, 1)))(page.hyper, jnp.asarray(page.z))
        for got, want in zip(slope, expected, strict=True):
            np.testing.assert_allclose(got, want, rtol=1e-8, atol=1e-11)
        np.testing.assert_allclose(of_value, of_z, rtol=1e-8, atol=1e-11)
