"""The Estimators of a configuration: a new method adds its line here, its options in config."""

from dataclasses import replace
from pathlib import Path

from experiments.config import Config
from experiments.masks import TASKS
from experiments.protocol import Method
from s1jax import baselines, networks
from s1jax.hybrid import ensemble, hybrid
from s1jax.mogpr import MogprConfig, mogpr
from s1jax.types import Estimator, knowing

WITH_NDVI = TASKS[1:]
"""Tasks of a method that needs some NDVI of the pixel itself."""


def methods(config: Config, *, folder: Path | None = None) -> list[Method]:
    """The methods that a configuration names, in its order.

    Args:
      config: names and options.
      folder: where the networks keep checkpoints of their training.
    """

    def _network(name: str, options: networks.MlpConfig) -> Method:
        checkpoints = None if folder is None else folder / name
        return Method(name, networks.mlp(options, folder=checkpoints), TASKS)

    factor = wider(config.split)

    def _sequence(options: networks.SequenceConfig, name: str) -> Estimator:
        return networks.sequence(replace(options, elsewhere=factor), label=name)

    def _series(name: str) -> Method:
        return Method(name, _sequence(getattr(config, name), name), TASKS)

    def _hybrid(name: str) -> Method:
        options = replace(getattr(config, name), elsewhere=factor)
        mean = _sequence(options.network, name)
        process = mogpr(of_this_region(options.switched, config.split))

        def _knowing(network, switched=None):
            given = process if switched is None else knowing(process, switched)
            return hybrid(options, network=knowing(mean, network), process=given)

        # what other methods of the run have learnt serves where it was set up alike
        parts = {"tcn_s1": options.network == config.tcn_s1}
        if options.threshold is not None:
            parts["mogpr"] = options.switched == config.mogpr
        of = tuple(parts) if all(parts.values()) else ()
        alone = hybrid(options, network=mean, process=process)
        return Method(name, alone, TASKS, of=of, knowing=_knowing)

    def _patches(name: str) -> Method:
        options = replace(getattr(config, name), elsewhere=factor)
        return Method(name, networks.cropsar(options, label=name), TASKS, spatial=True)

    def _ensemble() -> Method:
        members = [_series("cnp"), _hybrid("hybrid")]

        def _knowing(*learnt):
            pairs = zip(members, learnt, strict=True)
            return _of(knowing(member.estimator, of) for member, of in pairs)

        def _of(estimators):
            return ensemble(*estimators, elsewhere=factor)

        alone = _of(member.estimator for member in members)
        of = tuple(member.name for member in members)
        return Method("ensemble", alone, TASKS, of=of, knowing=_knowing)

    known = {
        "climatology": lambda: Method("climatology", baselines.climatology(), TASKS),
        "linear": lambda: Method("linear", baselines.linear(), WITH_NDVI),
        "whittaker": lambda: Method("whittaker", baselines.whittaker(config.whittaker), WITH_NDVI),
        "knn_space": lambda: Method("knn_space", baselines.knn_space(config.knn_space), TASKS),
        "mlp3": lambda: _network("mlp3", config.mlp3),
        "mlp10": lambda: _network("mlp10", config.mlp10),
        "boosting": lambda: Method("boosting", baselines.boosting(config.boosting), TASKS),
        "mogpr": lambda: Method("mogpr", mogpr(of_this_region(config.mogpr, config.split)), TASKS),
        "mogpr_pixel": lambda: Method(
            "mogpr_pixel", mogpr(of_this_region(config.mogpr_pixel, config.split)), TASKS
        ),
        "mlp_window": lambda: _series("mlp_window"),
        "tcn_s1": lambda: _series("tcn_s1"),
        "birnn": lambda: _series("birnn"),
        "shipped": lambda: Method(
            "shipped", networks.shipped(networks.CnpConfig(chunk=config.cnp.chunk)), TASKS
        ),
        "cnp": lambda: _series("cnp"),
        "hybrid": lambda: _hybrid("hybrid"),
        "switch": lambda: _hybrid("switch"),
        "ensemble": _ensemble,
        "cropsar": lambda: _patches("cropsar"),
        "cropsar_gan": lambda: _patches("cropsar_gan"),
    }
    return [known[name]() for name in config.methods]


def wider(split: str) -> float:
    """Factor of the bands: validation pixels tell nothing of another district or year."""
    return 1.0 if split == "blocks" else networks.ELSEWHERE


def of_this_region(options: MogprConfig, split: str) -> MogprConfig:
    """MOGPR's options; no regional curve where another district or year is predicted.

    Validation pixels lie in the training districts and the training year: they cannot tell that the
    calendar of these is not that of the others.
    """
    if split == "blocks" or options.mean != "auto":
        return options
    return replace(options, mean="zero")
