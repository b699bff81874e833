"""Everything that can be chosen about a head to head; `--help` shows it with its unit."""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

import tyro

from experiments.protocol.tasks import TASKS
from s1jax import methods as method_table
from s1jax.baselines import BoostingConfig, KnnSpaceConfig, WhittakerConfig
from s1jax.commands.fill import Align
from s1jax.methods import HybridConfig, SwitchConfig
from s1jax.mogpr import MogprConfig
from s1jax.networks import (
    BirnnConfig,
    CnpConfig,
    CropsarConfig,
    Mlp3Config,
    Mlp10Config,
    MlpWindowConfig,
    TcnS1Config,
)
from s1jax.plots import YARDSTICKS
from s1jax.simulate import SceneConfig
from s1jax.train import TrainConfig

METHODS = tuple(method_table.METHODS)
"""All methods, in the order they run; the yardsticks always do."""

USUAL = (
    *(*YARDSTICKS, "mlp3", "mlp10", "boosting", "mogpr"),
    *("tcn_s1", "shipped", "cnp", "hybrid", "ensemble"),
)
"""Those that run where none are named."""

_TEN = TrainConfig(epochs=10)
"""Of the 150 epochs a network may train, as many as end within minutes on two cores."""
_TUNED = replace(CnpConfig().train, steps=200)
"""Likewise of the steps that pre-trained weights are tuned by."""
_SCRATCH = replace(BirnnConfig().train, steps=600)
"""Three times as many for random ones."""
_TCN_S1 = TcnS1Config(train=_TUNED)


@dataclass(frozen=True)
class Config:
    """Head to head of deep learning and MOGPR: the same splits, hidden labels and scores for all.

    `shipped`, `cnp`, `tcn_s1`, `hybrid`, `switch` and `ensemble` start from weights that know
    simulated rice alone; `shipped`, which learns no more, has R2 below 0 in Belgium and France.
    """

    cube: str | None = None
    """NetCDF or Zarr with VV, VH, S2ndvi, or a folder or glob of period_NN.tif; none: a simulated
    Demak scene."""
    mask: str | None = None
    """Vector or raster file of the pixels to keep, in any CRS."""
    start: str | None = None
    """First day of the first period (ISO date); needed where planes are numbered."""
    step: float | None = None
    """Length of a period, days."""
    align: Align = field(default_factory=Align)
    """How acquisitions of a file become periods."""
    split: Literal["blocks", "district", "season"] = "blocks"
    """What is left out for testing: whole blocks, a district at a time, or all but year one."""
    block_m: float | None = None
    """Side of a block, metres; none: 2500, or 4 x 4 blocks where that gives fewer than 12."""
    buffer_m: float | None = None
    """Least distance of training pixels from tested ones, metres; none: 800, or an eighth of a
    block."""
    methods: tuple[str, ...] = USUAL
    """Names of methods, or `all`; the four yardsticks always run. shipped: the shipped weights,
    trained on simulated rice regions alone, adapted to the levels of the radar without any
    label; cnp, tcn_s1, hybrid, switch, ensemble: the same weights, trained on with the labels
    of the cube; all others learn from the cube alone."""
    tasks: tuple[str, ...] = TASKS
    """T1 no NDVI at the pixel; T2a 20 % hidden; T2b 60 days; T2c 132 days; T2d real gaps (simulated
    scenes); T2e whole dates hidden everywhere."""
    preset: Literal["quick", "default", "demak"] = "default"
    """quick: a small scene, a minute once its programs are compiled; demak: trains on and
    maps the full 671 x 893 region. Other flags win over the preset."""
    seeds: tuple[int, ...] = (0,)
    """Seeds of splits, masks and methods; scores are their mean."""
    training_pixels: int | None = 3000
    """Training pixels, at most; none: all."""
    validation_pixels: int | None = 500
    """Validation pixels, at most; none: all."""
    test_pixels: int | None = 3000
    """Test pixels, at most; none: all."""
    out: Path | None = None
    """Folder of the results; none: results/<name>-<utc>."""
    report: bool = True
    """Write report.html and its figures."""
    save_cube: Path | None = None
    """NetCDF (.nc) or Zarr (.zarr) file for estimate, std and source flag of every pixel."""
    save_method: str | None = None
    """Method whose estimate `save_cube` holds; none: mogpr where it runs, else the last named."""
    scene: SceneConfig = field(default_factory=SceneConfig)
    """The simulated scene."""
    whittaker: WhittakerConfig = field(default_factory=WhittakerConfig)
    """Whittaker smoother."""
    knn_space: KnnSpaceConfig = field(default_factory=KnnSpaceConfig)
    """Nearest training pixels on the same date."""
    mlp3: Mlp3Config = field(default_factory=lambda: Mlp3Config(train=_TEN))
    """Three features through 64-32."""
    mlp10: Mlp10Config = field(default_factory=lambda: Mlp10Config(train=_TEN))
    """Ten features through 256-128-64-32-16."""
    boosting: BoostingConfig = field(default_factory=BoostingConfig)
    """Gradient boosting on a window of dates."""
    mogpr: MogprConfig = field(default_factory=MogprConfig)
    """Multi-output Gaussian process per pixel."""
    mogpr_pixel: MogprConfig = field(default_factory=lambda: MogprConfig(hyper="pixel"))
    """The same with hyperparameters of each pixel."""
    mlp_window: MlpWindowConfig = field(default_factory=lambda: MlpWindowConfig(train=_SCRATCH))
    """Radar of a window of dates, fully connected."""
    tcn_s1: TcnS1Config = field(default_factory=lambda: _TCN_S1)
    """Temporal convolutions over the whole Sentinel-1 series; pre-trained on simulated rice."""
    birnn: BirnnConfig = field(default_factory=lambda: BirnnConfig(train=_SCRATCH))
    """Bidirectional recurrent network over radar and the pixel's own NDVI."""
    cnp: CnpConfig = field(default_factory=lambda: CnpConfig(train=_TUNED))
    """Temporal convolutions over radar and the pixel's own NDVI; pre-trained on simulated rice
    alone, with its truth."""
    hybrid: HybridConfig = field(default_factory=lambda: HybridConfig(network=_TCN_S1))
    """Network of Sentinel-1 alone, and a Gaussian process over what it leaves over."""
    switch: SwitchConfig = field(default_factory=lambda: SwitchConfig(network=_TCN_S1))
    """MOGPR where half of the dates are clear, else the network."""
    cropsar: CropsarConfig = field(default_factory=CropsarConfig)
    """Attention U-Net over patches of the map; needs neighbours."""
    cropsar_gan: CropsarConfig = field(default_factory=lambda: CropsarConfig(model="GAN"))
    """The same network, trained against a discriminator too."""


_SHORT = TrainConfig(epochs=8)

PRESETS = {
    "default": Config(),
    "quick": Config(
        preset="quick",
        scene=SceneConfig(height=64, width=72),
        methods=(*YARDSTICKS, "mlp3", "mlp10", "boosting", "mogpr", "shipped", "cnp"),
        tasks=("T1", "T2a", "T2c"),
        training_pixels=600,
        validation_pixels=300,
        test_pixels=400,
        mlp3=Mlp3Config(train=_SHORT),
        mlp10=Mlp10Config(train=_SHORT),
        boosting=BoostingConfig(iterations=40, rows=5000),
        mogpr=MogprConfig(sample=64, hyper="region"),
        cnp=CnpConfig(train=replace(_TUNED, steps=40)),
    ),
    "demak": Config(
        preset="demak",
        scene=SceneConfig(height=671, width=893),
        methods=("mlp10", "mogpr", "cnp"),
        tasks=TASKS[:-1],
        training_pixels=None,
        mlp10=Mlp10Config(),
        mogpr=MogprConfig(),
        save_cube=Path("demak.zarr"),
    ),
}
"""Defaults that flags then override."""


@dataclass(frozen=True)
class DatasetConfig:
    """Options of a study of one data set; the simulated scene where there is no cube."""

    cube: str | None = None
    """NetCDF or Zarr with VV, VH, S2ndvi; none: a simulated Demak scene."""
    start: str | None = None
    """First day of the first period (ISO date); needed for files which carry no date."""
    step: float | None = None
    """Length of a period, days."""
    split: Literal["blocks", "district", "season"] = "blocks"
    """What is left out for testing: whole blocks, a district at a time, or all but year one."""
    scene: SceneConfig = field(default_factory=lambda: SceneConfig(height=96, width=112))
    """The simulated scene."""
    training_pixels: int = 4000
    """Training pixels, at most."""
    validation_pixels: int = 1000
    """Validation pixels, at most."""
    test_pixels: int = 2000
    """Test pixels of a fold that are scored, at most."""
    seed: int = 0
    """Seed of the split, of what is hidden, of training and permutations."""
    out: Path | None = None
    """Folder of the results; none: results/<name>-<utc>."""

    @property
    def whole(self) -> Config:
        """The same data set, split and pixels, all else as it is by default."""
        names = ("cube", "start", "step", "split", "scene")
        names += ("training_pixels", "validation_pixels", "test_pixels")
        return Config(**{name: getattr(self, name) for name in names})


def parse(arguments: Sequence[str] | None = None) -> Config:
    """Configuration from the command line; flags win over the preset.

    Raises:
      SystemExit: an unknown flag or value, as argparse does.
      ValueError: an unknown method or task.
    """
    finder = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    finder.add_argument("--preset", choices=sorted(PRESETS), default="default")
    early, _ = finder.parse_known_args(arguments)
    config = tyro.cli(Config, default=PRESETS[early.preset], args=arguments, prog="experiments.run")
    return complete(config)


def complete(config: Config) -> Config:
    """`all` spelt out, the yardsticks added, names checked."""
    methods, tasks = (
        tuple(part for item in given for part in item.split(",") if part)
        for given in (config.methods, config.tasks)
    )
    methods = METHODS if methods == ("all",) else methods
    tasks = TASKS if tasks == ("all",) else tasks
    for name, given, expected in (("methods", methods, METHODS), ("tasks", tasks, TASKS)):
        unknown = [item for item in given if item not in expected]
        if unknown or not given:
            raise ValueError(f"{name}: got {given or unknown}, expected names among {expected}")
    if config.save_cube is not None and config.save_cube.suffix not in (".nc", ".zarr"):
        raise ValueError(f"save_cube: got {config.save_cube}, expected a .nc or .zarr file")
    wanted = set(methods) | set(YARDSTICKS)
    methods = tuple(name for name in METHODS if name in wanted)
    save_method = config.save_method or ("mogpr" if "mogpr" in methods else methods[-1])
    if save_method not in methods:
        raise ValueError(f"save_method: got {save_method!r}, expected one of {methods}")
    if config.save_cube is not None and set(tasks) <= {"T1", "T2e"}:
        raise ValueError(f"save_cube: got tasks {tasks}, expected one of T2a, T2b, T2c, T2d too")
    if config.cube is None and (config.start, config.step) != (None, None):
        raise ValueError("start, step: got them without a cube; a simulated scene has its own")
    return replace(config, methods=methods, tasks=tasks, save_method=save_method)
