"""The methods by name: one table that `s1jax.fit`, the command and the experiments share.

A method is one file with its Estimator and its options, and one line here (CONTRIBUTING.md).
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

from s1jax import networks
from s1jax.baselines.boosting import BoostingConfig, boosting
from s1jax.baselines.calendar import (
    Climatology,
    KnnSpace,
    KnnSpaceConfig,
    climatology,
    knn_space,
)
from s1jax.baselines.interpolation import Linear, Whittaker, WhittakerConfig, linear, whittaker
from s1jax.estimators import (
    CalibratedParams,
    ResidualParams,
    SwitchedParams,
    calibrated,
    ensemble,
    residual,
    switched,
)
from s1jax.mogpr import MogprConfig, MogprParams, mogpr
from s1jax.networks import CropsarParams, MlpParams, SequenceParams
from s1jax.types import Estimator

_OF_NDVI = MogprConfig(latents=1, inputs="none", mean="zero", hyper="region")


@dataclass(frozen=True)
class HybridConfig:
    """A network of Sentinel-1 alone, and a Gaussian process of what it leaves of a pixel's NDVI."""

    network: networks.TcnS1Config = field(default_factory=networks.TcnS1Config)
    """Network of the mean."""
    process: MogprConfig = _OF_NDVI
    """Process of the residual."""
    inflation: float = 1.0
    """Factor of the band where another district or year is predicted."""


@dataclass(frozen=True)
class SwitchConfig:
    """MOGPR for pixels with many clear dates, a network of Sentinel-1 alone for the others."""

    network: networks.TcnS1Config = field(default_factory=networks.TcnS1Config)
    """Network of pixels with few clear dates."""
    process: MogprConfig = field(default_factory=MogprConfig)
    """MOGPR of pixels with many."""
    share: float = 0.5
    """Share of clear dates from which on a pixel has many."""


@dataclass(frozen=True)
class EnsembleConfig:
    """`cnp` and `hybrid`, weighted by their precision."""

    cnp: networks.CnpConfig = field(default_factory=networks.CnpConfig)
    """Network of radar and own NDVI."""
    hybrid: HybridConfig = field(default_factory=HybridConfig)
    """Network and process."""
    inflation: float = 1.0
    """Factor of the band where another district or year is predicted."""


class Method(NamedTuple):
    """A way to make an Estimator, and what it can do."""

    make: Callable[[Any], Estimator]
    """Options to Estimator."""
    options: Any = None
    """Default options, a frozen dataclass; None: the method has none."""
    needs_ndvi: bool = False
    """It estimates only pixels with some NDVI of their own."""
    spatial: bool = False
    """It sees the neighbours of a pixel."""
    params: Any = None
    """Class of its parameters, followed in a tuple by those of its parts; None: not to be saved."""


def hybrid(options: HybridConfig) -> Estimator:
    """The network's mean, corrected by the process where the pixel has NDVI."""
    network, process = networks.sequence(options.network), mogpr(options.process)
    return calibrated(residual(network, process), inflation=options.inflation)


def switch(options: SwitchConfig) -> Estimator:
    """MOGPR or the network, by the share of clear dates."""
    network, process = networks.sequence(options.network), mogpr(options.process)
    return switched(process, network, share=options.share)


def cnp_and_hybrid(options: EnsembleConfig) -> Estimator:
    """The calibrated ensemble of both."""
    members = networks.sequence(options.cnp), hybrid(options.hybrid)
    return calibrated(ensemble(*members), inflation=options.inflation)


_HYBRID = (CalibratedParams, (ResidualParams, SequenceParams, MogprParams))
METHODS: Mapping[str, Method] = {
    "climatology": Method(lambda _: climatology(), params=Climatology),
    "linear": Method(lambda _: linear(), needs_ndvi=True, params=Linear),
    "whittaker": Method(whittaker, WhittakerConfig(), needs_ndvi=True, params=Whittaker),
    "knn_space": Method(knn_space, KnnSpaceConfig(), params=KnnSpace),
    "mlp3": Method(networks.mlp, networks.Mlp3Config(), params=MlpParams),
    "mlp10": Method(networks.mlp, networks.Mlp10Config(), params=MlpParams),
    "boosting": Method(boosting, BoostingConfig()),
    "mogpr": Method(mogpr, MogprConfig(), params=MogprParams),
    "mogpr_pixel": Method(mogpr, MogprConfig(hyper="pixel"), params=MogprParams),
    "mlp_window": Method(networks.sequence, networks.MlpWindowConfig(), params=SequenceParams),
    "tcn_s1": Method(networks.sequence, networks.TcnS1Config(), params=SequenceParams),
    "birnn": Method(networks.sequence, networks.BirnnConfig(), params=SequenceParams),
    "shipped": Method(networks.pretrained_estimator, networks.CnpConfig(), params=SequenceParams),
    "cnp": Method(networks.sequence, networks.CnpConfig(), params=SequenceParams),
    "hybrid": Method(hybrid, HybridConfig(), params=_HYBRID),
    "switch": Method(switch, SwitchConfig(), params=(SwitchedParams, MogprParams, SequenceParams)),
    "ensemble": Method(
        cnp_and_hybrid,
        EnsembleConfig(),
        params=(CalibratedParams, (tuple, SequenceParams, _HYBRID)),
    ),
    "cropsar": Method(
        networks.cropsar, networks.CropsarConfig(), spatial=True, params=CropsarParams
    ),
    "cropsar_gan": Method(
        networks.cropsar, networks.CropsarConfig(model="GAN"), spatial=True, params=CropsarParams
    ),
}
"""All methods, by name."""


def method_of(name: str) -> Method:
    """The method of a name.

    Raises:
      ValueError: no such method.
    """
    if name not in METHODS:
        raise ValueError(f"method: got {name!r}, expected one of {', '.join(METHODS)}")
    return METHODS[name]


def inflated(options: Any, factor: float) -> Any:
    """Options with this inflation of the band, where they have one (another district or year)."""
    return replace(options, inflation=factor) if hasattr(options, "inflation") else options
