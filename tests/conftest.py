"""Strict numerics for every test: no silent broadcasting, no silent promotion, shapes checked."""

import os
import tempfile
from pathlib import Path

from jaxtyping import install_import_hook

install_import_hook("s1jax", "beartype.beartype")
# what is sharded over devices is so in every test; read when jax starts
os.environ.setdefault("XLA_FLAGS", "--xla_force_host_platform_device_count=2")
# on two threads, batched LAPACK calls of jaxlib 0.10.2 can wait for each other for ever
os.environ.setdefault("NPROC", "4")

import jax  # noqa: E402
import matplotlib as mpl  # noqa: E402
import pytest  # noqa: E402

mpl.use("Agg")
jax.config.update("jax_numpy_rank_promotion", "raise")
jax.config.update("jax_numpy_dtype_promotion", "strict")
# the same program compiles many times over in a suite: once is enough for all its processes
_PROGRAMS = os.environ.setdefault("S1JAX_TEST_PROGRAMS", tempfile.mkdtemp(prefix="s1jax-jit-"))
jax.config.update("jax_compilation_cache_dir", _PROGRAMS)
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)


_OPTIMISED = (
    "tests.gp.", "tests.mogpr.", "tests.fusets.", "tests.commands.test_fill",
    "tests.test_batching", "tests.test_estimator_combinators",
    "tests.experiments.speed.",
)  # fmt: skip
"""Beginnings of the names of modules whose programs run for longer than they compile, or are
compared with other libraries to the last digits."""


def pytest_report_header(config):
    """The first line says what is left out."""
    if config.getoption("markexpr") == "not slow":
        return "slow tests are left out: pytest -m slow runs them"
    return None


def pytest_xdist_auto_num_workers(config):
    """Workers of `-n auto`: one a core, at most four, since each holds programs of its own."""
    return min(4, len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 2)


@pytest.fixture(autouse=True, scope="module")
def _programs(request):
    """All other files have their programs compiled as they stand, since XLA would optimise for
    minutes what runs for moments.

    Each compiled program is several maps of memory, and Linux gives a process 65,530 of them: the
    whole suite would run out of them if those of a file were kept.
    """
    as_they_stand = not request.module.__name__.startswith(_OPTIMISED)
    jax.config.update("jax_disable_most_optimizations", as_they_stand)
    yield
    jax.clear_caches()


@pytest.fixture(params=[False, True], ids=["float32", "float64"])
def x64(request):
    """Run the test in both precisions."""
    with jax.enable_x64(request.param):
        yield request.param


@pytest.fixture
def float64():
    """Run the test in double precision."""
    with jax.enable_x64(True):
        yield


@pytest.fixture(scope="session")
def shared():
    """Folder of real series and reference cases; tests that need it are skipped without it."""
    folder = Path(os.environ.get("S1JAX_DATA", Path(__file__).parents[2] / "shared"))
    if not (folder / "data").is_dir():
        if os.environ.get("S1JAX_REQUIRE_DATA"):
            pytest.fail(f"S1JAX_REQUIRE_DATA is set and {folder}/data does not exist")
        pytest.skip(f"no real data at {folder}; set S1JAX_DATA to the folder that holds data/")
    return folder
