"""How the series are fused: what FuseTS leaves open."""

from dataclasses import dataclass
from pathlib import Path

from s1jax import gp

INDUCING = 20
"""Inducing days of the sparse method where no number is given."""


@dataclass(frozen=True)
class Method:
    """Options beyond those of FuseTS; the names are those of the keywords."""

    hyper: str | Path | gp.Hyper = "region"
    """"region": fitted once for all pixels; "pixel": for each around those; given on z-scored
    variables, or a .npz file of `s1jax.mogpr.save`."""
    latents: int | None = None
    """Latent processes; none: as many as variables, FuseTS' model; 1: intrinsic."""
    solver: str = "kalman"
    """A name of `gp.SOLVERS`."""
    method: str | None = None
    """None or "exact"; "sparse": approximated by inducing days."""
    n_inducing: int | None = None
    """How many inducing days; 20 where the method is sparse and none are given."""
    optimize: bool = True
    """False: nothing is fitted, and the hyperparameters are those a fit would start from."""
    compat: str | None = None
    """"fusets": fit, numbers and std as FuseTS shipped them."""
    seed: int = 0
    """Of the random loadings that a fit with `compat` starts from."""


def check(method: Method) -> None:
    """Nothing, or a ValueError naming the option that cannot be, or that contradicts another."""
    given = not (isinstance(method.hyper, str) and method.hyper in ("region", "pixel"))
    file = isinstance(method.hyper, str | Path) and Path(method.hyper).suffix == ".npz"
    if given and not file and not isinstance(method.hyper, gp.Hyper):
        expected = "'region', 'pixel', gp.Hyper or a .npz file"
        raise ValueError(f"hyper: got {method.hyper!r}, expected {expected}")
    if method.solver not in gp.SOLVERS:
        raise ValueError(f"solver: got {method.solver!r}, expected one of {sorted(gp.SOLVERS)}")
    if method.latents is not None and method.latents < 1:
        raise ValueError(f"latents: got {method.latents}, expected 1 or more, or None")
    if isinstance(method.hyper, gp.Hyper):
        same_latents(method, method.hyper)
    if method.method not in (None, "exact", "sparse"):
        raise ValueError(f"method: got {method.method!r}, expected None, 'exact' or 'sparse'")
    if method.n_inducing is not None and method.method != "sparse":
        raise ValueError(f"n_inducing: got {method.n_inducing}, expected method='sparse' with it")
    if method.n_inducing is not None and method.n_inducing < 2:
        raise ValueError(f"n_inducing: got {method.n_inducing}, expected at least 2 days")
    if method.method == "sparse" and method.solver != "kalman":
        raise ValueError(f"solver: got {method.solver!r}, expected none beside method='sparse'")
    if method.hyper == "pixel" and not method.optimize:
        raise ValueError("optimize: got False, expected True with hyper='pixel', which is a fit")
    if method.compat not in (None, "fusets"):
        raise ValueError(f"compat: got {method.compat!r}, expected None or 'fusets'")
    if method.compat and method != Method(compat=method.compat, seed=method.seed):
        raise ValueError(
            "compat: got 'fusets' with another of hyper, latents, solver, method, n_inducing, "
            "optimize; expected seed alone, as it is FuseTS' own fit"
        )


def same_latents(method: Method, hyper: gp.Hyper) -> None:
    """Nothing, or a ValueError where another number of latents is asked for than is given."""
    given = len(hyper.mixing)
    if method.latents not in (None, given):
        raise ValueError(
            f"latents: got {method.latents} beside hyper, expected its {given} or None"
        )


def inducing(method: Method) -> int | None:
    """Number of inducing days; None: exact."""
    return (method.n_inducing or INDUCING) if method.method == "sparse" else None
