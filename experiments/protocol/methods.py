"""The Estimators of a configuration: those of `s1jax.methods`, set up as the split asks."""

from dataclasses import replace
from pathlib import Path
from typing import Any

from experiments.protocol.config import Config
from experiments.protocol.head_to_head import Method
from experiments.protocol.tasks import TASKS
from s1jax import networks
from s1jax.estimators import TRANSFER_INFLATION, calibrated, ensemble, residual, switched
from s1jax.methods import EnsembleConfig, inflated, method_of
from s1jax.mogpr import MogprConfig, mogpr
from s1jax.networks import CnpConfig, MlpConfig
from s1jax.types import Estimator


def methods(config: Config, *, folder: Path | None = None) -> list[Method]:
    """The methods that a configuration names, in its order.

    Args:
      config: names and options.
      folder: where the networks keep checkpoints of their training.
    """
    inflation = inflation_of(config.split)

    def _options(name: str) -> Any:
        options = getattr(config, name, method_of(name).options)
        if name == "shipped":
            options = CnpConfig(chunk=config.cnp.chunk)
        elif name == "ensemble":
            options = EnsembleConfig(_options("cnp"), _options("hybrid"))
        elif name == "switch":
            process = mogpr_options(options.process, config.split)
            network = inflated(options.network, inflation)
            options = replace(options, network=network, process=process)
        elif isinstance(options, MogprConfig):
            options = mogpr_options(options, config.split)
        return inflated(options, inflation)

    def _estimator(name: str) -> Estimator:
        options = _options(name)
        if isinstance(options, MlpConfig) and folder is not None:
            return networks.mlp(options, folder=folder / name)
        return method_of(name).make(options)

    def _hybrid(mean: Estimator) -> Estimator:
        return calibrated(residual(mean, mogpr(config.hybrid.process)), inflation=inflation)

    def _switch(sparse: Estimator, dense: Estimator) -> Estimator:
        return switched(dense, sparse, share=config.switch.share)

    def _ensemble(*members: Estimator) -> Estimator:
        return calibrated(ensemble(*members), inflation=inflation)

    # methods made of others of the run that are set up alike
    parts = {"ensemble": (("cnp", "hybrid"), _ensemble)}
    if config.hybrid.network == config.tcn_s1:
        parts["hybrid"] = ("tcn_s1",), _hybrid
    if (config.switch.network, config.switch.process) == (config.tcn_s1, config.mogpr):
        parts["switch"] = ("tcn_s1", "mogpr"), _switch
    return [
        Method(
            name,
            _estimator(name),
            TASKS[1:] if method_of(name).needs_ndvi else TASKS,
            method_of(name).spatial,
            *parts.get(name, ()),
        )
        for name in config.methods
    ]


def inflation_of(split: str) -> float:
    """Factor of the bands: validation pixels know nothing of another district or year."""
    return 1.0 if split == "blocks" else TRANSFER_INFLATION


def mogpr_options(options: MogprConfig, split: str) -> MogprConfig:
    """MOGPR's options; no regional curve where another district or year is predicted.

    Validation pixels lie in the training districts and the training year: they cannot tell that the
    calendar of these is not that of the others.
    """
    if split == "blocks" or options.mean != "auto":
        return options
    return replace(options, mean="zero")
