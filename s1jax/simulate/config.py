"""What a simulated scene is made of: constants that vary between scenes, with units."""

from dataclasses import dataclass
from typing import Literal

START = 19662.0
"""First day of the first period, 2023-11-01, in days since 1970-01-01."""

PASS_DAY = (1, 6)
"""Days of the two Sentinel-1 passes within a period."""

RICE, POND, URBAN, TREE, DRY = range(5)
"""Classes of a field: paddy rice, fish pond, built-up, trees, rain-fed dry crops."""


@dataclass(frozen=True)
class SceneConfig:
    """A Demak-like rice landscape and the way its exported cube was made.

    `mode="as_exported"` is the same country seen through the export that the founding baseline was
    trained on: L1C, no cloud mask, scenes under 80 % cloud, pixel-wise median, the +1000 DN offset
    left in, -inf where there was no Sentinel-2, and one dead period of zeros.
    """

    height: int = 192
    """Rows of the scene, north first, pixels."""
    width: int = 224
    """Columns of the scene, pixels."""
    pixel_m: float = 50.0
    """Size of a pixel, metres; fields are drawn on 2 x 2 subpixels of it."""
    periods: int = 62
    """Composites; the first period starts on 2023-11-01."""
    step: int = 12
    """Length of a period, days; at least 7, the day of the second Sentinel-1 pass."""
    mode: Literal["clean", "as_exported"] = "clean"
    """`clean`: L2A, cloud mask, NaN where missing. `as_exported`: L1C, unmasked, all its faults."""

    pond_fraction: float = 0.09
    """Share of fields that are ponds (all lie in the northern 28 % of the scene)."""
    groups: int = 3
    """Irrigation groups (golongan), which get their water one after the other."""
    group_lag_days: float = 14.0
    """Lag of planting from one irrigation group to the next, days."""

    planting_day: tuple[float, float, float] = (30.0, 145.0, 262.0)
    """Transplanting of the three seasons in the first group, days after 1 November."""
    calendar_shift_days: float = 0.0
    """Shift of the whole calendar, days."""
    block_std_days: float = 6.0
    """Spread of planting between blocks, standard deviation, days."""
    field_std_days: float = 5.0
    """Spread of planting between the fields of a block, standard deviation, days."""
    year_std_days: float = 7.0
    """Spread of planting of a season between years, standard deviation, days."""
    duration_days: float = 105.0
    """Mean time from transplanting to harvest, days; dry crops of the third season: 20 less."""
    third_season: tuple[float, float, float] = (0.35, 0.25, 0.40)
    """Mean share of rice, dry crop (palawija) and fallow in the third season; sums to one."""
    lai: float = 4.6
    """Mean peak leaf area index of rice."""
    lai_std: float = 0.9
    """Spread of the peak leaf area index, standard deviation."""
    failure: float = 0.04
    """Share of crops that fail and keep 35 % of their leaf area."""

    looks: float = 8.0
    """Equivalent number of looks of the speckle of one pass in one pixel."""
    roughness_db: float = 1.9
    """Spread of soil roughness between fields, standard deviation, dB; per season 60 % of it."""
    texture_db: float = 0.8
    """Spread of field texture, per polarisation, standard deviation, dB."""
    interception_db: float = 0.4
    """Gain of the canopy from 10 mm of rain on it, dB."""
    incidence_deg: tuple[float, float] = (37.0, 43.0)
    """Incidence angle of the two passes at the scene's centre column, degrees."""
    orbits: Literal["mean", "apart"] = "mean"
    """The two passes of a period as one mean, or as two orbits with channels of their own."""
    pass_missing: float = 0.12
    """Probability that a Sentinel-1 pass is missing."""

    cloud_dry: float = 0.32
    """Mean cloud fraction of a scene in the driest month."""
    cloud_wet: float = 0.69
    """Mean cloud fraction of a scene in the wettest month."""
    haze: float = 0.25
    """Mean optical amount of haze in half-cloudy air."""
    missed_thin: float = 0.35
    """Share of thin cloud that the L2A cloud mask misses."""
    missed_thick: float = 0.03
    """Share of thick cloud that the mask misses."""
    missed_shadow: float = 0.35
    """Share of cloud shadow that the mask misses."""
    exported_offset: float = 0.1
    """Offset left in the L1C reflectances; 0.1 is the +1000 DN of processing baseline 04.00."""

    def __post_init__(self):
        """Check what would otherwise fail far from its cause.

        Raises:
          ValueError: a mode, size, share or calendar that no scene can have.
        """
        for names, valid, expected in (
            ("mode", self.mode in ("clean", "as_exported"), "'clean' or 'as_exported'"),
            ("orbits", self.orbits in ("mean", "apart"), "'mean' or 'apart'"),
            ("height width", min(self.height, self.width) >= 16, "at least 16 each"),
            ("periods", self.periods >= 1, "at least 1"),
            ("step", self.step > PASS_DAY[1], f"more than {PASS_DAY[1]} days"),
            ("third_season", abs(sum(self.third_season) - 1) <= 1e-6, "shares that sum to 1"),
        ):
            if not valid:
                got = ", ".join(f"{getattr(self, name)!r}" for name in names.split())
                raise ValueError(f"{names.replace(' ', ', ')}: got {got}, expected {expected}")

    @property
    def days(self) -> int:
        """Length of the simulated time, days."""
        return self.periods * self.step
