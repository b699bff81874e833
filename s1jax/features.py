"""What a single-date network sees: a date and its neighbours, and indices from linear power.

Every function is written for one pixel or row; what has `*n` in its shape takes many.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from s1jax.indices import from_db, rvi, to_db
from s1jax.types import Series

DOCUMENT_3 = ("vv", "vh", "rvi")
"""Features of the single-date baseline."""

DOCUMENT_10 = (
    *DOCUMENT_3,
    "vv_previous",
    "vh_previous",
    "vv_backward_difference",
    "vh_backward_difference",
    "vv_over_vh",
    "vh_over_vv",
    "vv_times_vh",
)
"""The ten features: the date and the one before it; four numbers in ten columns."""

BOTH_NEIGHBOURS = (
    *DOCUMENT_10,
    "vv_next",
    "vh_next",
    "vv_forward_difference",
    "vh_forward_difference",
    "vv_average",
    "vh_average",
)
"""The ten, and what they leave out: the date after."""


class Temporal(NamedTuple):
    """A quantity on a date and its two neighbours on the time axis."""

    current: Float[Array, "*n"]
    previous: Float[Array, "*n"]
    next: Float[Array, "*n"]
    backward_difference: Float[Array, "*n"]
    forward_difference: Float[Array, "*n"]
    average: Float[Array, "*n"]


def neighbourhood(
    previous: Float[Array, "*n"], current: Float[Array, "*n"], next: Float[Array, "*n"]
) -> Temporal:
    """Differences c - p and n - c and the average (p + c + n) / 3 of a date and its neighbours."""
    return Temporal(
        current=current,
        previous=previous,
        next=next,
        backward_difference=current - previous,
        forward_difference=next - current,
        average=(previous + current + next) / 3.0,
    )


def temporal(values: Float[Array, "time"], *, pad_mode: str = "edge") -> Temporal:
    """Every date of a series with its neighbours.

    Args:
      values: one quantity of one pixel, on successive dates.
      pad_mode: what stands before the first and after the last date, a mode of `jnp.pad`; "edge"
        repeats the end, so that differences there are 0.
    """
    padded = jnp.pad(values, 1, mode=pad_mode)
    return neighbourhood(padded[:-2], values, padded[2:])


def table(
    names: tuple[str, ...], vv_db: Temporal, vh_db: Temporal, *, of_db: bool = False
) -> Float[Array, "*n feature"]:
    """The features `names` as columns, in their order.

    Backscatter, its neighbours and differences are in dB. `rvi`, `vv_over_vh`, `vh_over_vv` and
    `vv_times_vh` are computed from linear power.

    Args:
      names: `DOCUMENT_3`, `DOCUMENT_10`, `BOTH_NEIGHBOURS`, or any other choice of their names.
      vv_db: VV backscatter, dB.
      vh_db: VH backscatter, dB.
      of_db: compute the four indices on dB values, as if they were powers. It has no physical
        meaning and is kept to reproduce published baselines.

    Raises:
      ValueError: an unknown name.
    """
    if of_db:
        vv, vh = vv_db.current, vh_db.current
    else:
        vv, vh = from_db(vv_db.current), from_db(vh_db.current)
    columns = {
        "vv": vv_db.current,
        "vh": vh_db.current,
        "rvi": rvi(vv, vh),
        "vv_over_vh": vv / vh,
        "vh_over_vv": vh / vv,
        "vv_times_vh": vv * vh,
    }
    for field in Temporal._fields[1:]:
        columns |= {f"vv_{field}": getattr(vv_db, field), f"vh_{field}": getattr(vh_db, field)}
    unknown = [name for name in names if name not in columns]
    if unknown:
        raise ValueError(f"features: got unknown {unknown}, expected names among {sorted(columns)}")
    return jnp.stack([columns[name] for name in names], axis=-1)


def single_orbit(
    series: Series,
) -> tuple[Float[Array, "*pixel time 2"], Bool[Array, "*pixel time"]]:
    """VV and VH in dB averaged over the orbits in linear power, and where any orbit has both.

    10 log10(mean of 10^(x / 10) over the valid orbits); 0 dB where no orbit is valid.
    """
    *lead, channels = series.value.shape
    if channels % 2 == 0:
        raise ValueError(f"channels: got {channels}, expected VV and VH per orbit and NDVI last")
    orbits = (channels - 1) // 2
    value = jnp.reshape(series.value[..., :-1], (*lead, orbits, 2))
    valid = jnp.reshape(series.valid[..., :-1], (*lead, orbits, 2)).all(-1)
    count = valid.sum(-1)[..., None].astype(value.dtype)
    power = jnp.where(valid[..., None], from_db(value), 0.0).sum(-2) / jnp.maximum(count, 1.0)
    seen = valid.any(-1)
    return to_db(jnp.where(seen[..., None], power, 1.0)), seen


def fill(
    day: Float[Array, "time"], values: Float[Array, "time"], valid: Bool[Array, "time"]
) -> Float[Array, "time"]:
    """Values where valid, else linear in time between the valid dates around, constant at the ends.

    A series without any valid date is 0 throughout.
    """
    n = day.shape[0]
    index = jnp.arange(n)
    before = jax.lax.cummax(jnp.where(valid, index, -1))
    after = jax.lax.cummin(jnp.where(valid, index, n), reverse=True)
    left = jnp.where(before < 0, after, before)
    right = jnp.where(after >= n, before, after)
    left, right = jnp.clip(left, 0, n - 1), jnp.clip(right, 0, n - 1)
    span = day[right] - day[left]
    weight = jnp.where(span > 0, (day - day[left]) / jnp.where(span > 0, span, 1.0), 0.0)
    kept = jnp.where(valid, values, 0.0)
    return (1.0 - weight) * kept[left] + weight * kept[right]


def at_days(
    day: Float[Array, "time"], curve: Float[Array, "time"], days: Float[Array, "query"]
) -> Float[Array, "query"]:
    """A curve known on `day`, linear in time on `days`, constant beyond its ends."""
    return jnp.interp(days, day, curve)
