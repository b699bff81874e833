"""Processes that are forked or spawned, and threads: each ends, with a result or an error."""

import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
_WORLD = """
import multiprocessing
import sys
import warnings
from concurrent.futures import ThreadPoolExecutor

import numpy as np

warnings.filterwarnings("ignore", "os.fork", RuntimeWarning)
DAY = 19000.0 + 12.0 * np.arange(16)
VALUE = np.random.default_rng(0).normal(size=(24, 16, 3)) * [2, 2, 0.2] + [-12, -18, 0.4]


def params():
    from s1jax import gp, mogpr

    hyper = gp.Hyper(*(np.asarray(x, np.float32) for x in
        ([50.0], [[0.5, 0.7, 0.8]], [[0.1, 0.1, 0.1]], [0.4, 0.3, 0.1])))
    mean, std = np.array([-12, -18, 0.4], np.float32), np.array([2, 2, 0.2], np.float32)
    return mogpr.MogprParams(hyper, mean, std, ((0, 0), (0, 1)))


def series():
    from s1jax.types import Series

    value, valid = VALUE.astype(np.float32), np.ones(VALUE.shape, bool)
    return Series(DAY, value[..., None, :2], valid[..., :2], value[..., 2], valid[..., 2])


def by_posterior(solver="kalman"):
    from dataclasses import replace
    from s1jax import mogpr

    return float(mogpr.posterior(replace(params(), solver=solver), series(), DAY).mean.mean())


def by_series(_):
    from s1jax.fusets import mogpr_1D

    found = mogpr_1D([v for v in VALUE[0].T], [DAY] * 3, 0, DAY, trained_model=params())
    return float(found[0][2].mean())


def by_learning(_):
    from s1jax import mogpr

    config = mogpr.MogprConfig(latents=1, inputs="raw", mean="zero")
    found, _ = mogpr.fit_region(series(), config, hyper=params().hyper)
    return float(found.region_mean[-1])


def by_network(_):
    from s1jax import networks

    networks.predict(NETWORK, series(), DAY)


def raised(work, argument="kalman"):
    try:
        return work(argument)
    except RuntimeError as error:
        return str(error)
"""


def _run(tmp_path, code, *, seconds=120):
    """What a script with the world above prints; it is killed where it does not end."""
    script = tmp_path / "script.py"
    script.write_text(_WORLD + textwrap.dedent(code))
    done = subprocess.run(
        [sys.executable, str(script)],
        env={**os.environ, "PYTHONPATH": str(ROOT), "JAX_PLATFORMS": "cpu"},
        capture_output=True, text=True, timeout=seconds,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout.split("\n")[:-1]


needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="nothing forks here")


@pytest.mark.slow
@needs_fork
def test_a_fork_of_a_process_that_used_jax_is_refused_at_once(tmp_path):
    lines = _run(
        tmp_path,
        """
        import jax.numpy as jnp
        from s1jax import networks
        from s1jax.networks import pretrained

        if __name__ == "__main__":
            # used by somebody else than s1jax
            float(jnp.ones(3).sum())
            NETWORK = networks.adapt(pretrained(), series())
            works = [by_posterior, by_series, by_learning, by_network]
            with multiprocessing.get_context("fork").Pool(1) as pool:
                for work in works:
                    print(pool.apply_async(raised, (work,)).get(60))
            print(by_posterior())
        """,
    )
    assert len(lines) == 5
    for line in lines[:4]:
        assert "forked after its parent had used JAX" in line
        assert 'get_context("spawn")' in line
    assert 0.2 < float(lines[4]) < 0.6


@pytest.mark.slow
@needs_fork
def test_a_fork_before_jax_is_used_computes(tmp_path):
    lines = _run(
        tmp_path,
        """
        import s1jax.mogpr

        if __name__ == "__main__":
            with multiprocessing.get_context("fork").Pool(1) as pool:
                print(pool.apply_async(raised, (by_posterior,)).get(100))
            print(by_posterior())
        """,
    )
    assert float(lines[0]) == float(lines[1])


@pytest.mark.slow
def test_a_spawned_process_computes(tmp_path):
    lines = _run(
        tmp_path,
        """
        if __name__ == "__main__":
            print(by_posterior())
            with multiprocessing.get_context("spawn").Pool(1) as pool:
                print(pool.apply_async(raised, (by_posterior,)).get(100))
        """,
    )
    assert float(lines[0]) == float(lines[1])


@pytest.mark.slow
@pytest.mark.parametrize("solver", ["dense"])
def test_threads_end_and_get_what_one_gets(tmp_path, solver):
    lines = _run(
        tmp_path,
        f"""
        from threadpoolctl import threadpool_info

        def _threads():
            return [pool["num_threads"] for pool in threadpool_info()]

        alone, before = by_posterior("{solver}"), _threads()
        with ThreadPoolExecutor(4) as threads:
            print(*(x == alone for x in threads.map(by_posterior, ["{solver}"] * 12)))
        print(_threads() == before)
        """,
    )
    assert lines == [" ".join(["True"] * 12), "True"]
