"""A user-defined function of openEO that fuses all bands of a cube; its text is what openEO runs.

openEO takes `apply_datacube` and `apply_metadata` from it. Their context holds keywords of
`s1jax.fusets.mogpr.mogpr`; as in FuseTS, prediction_period is 5D where it is not given.
"""

import inspect

from openeo.metadata import Band, CubeMetadata
from openeo.udf import XarrayDataCube  # pyright: ignore[reportPrivateImportUsage] (its public name)

from s1jax.fusets.mogpr import mogpr

OPTIONS = tuple(inspect.signature(mogpr).parameters)[1:]
"""What a context may hold."""


def apply_datacube(cube: XarrayDataCube, context: dict | None = None) -> XarrayDataCube:
    """Bands <v>_FUSED, then on request <v>_STD, <v>_RAW and QUALITY: float32, the same dimensions.

    It needs whole time series of all bands: `apply_neighborhood` gives them.

    Args:
      cube: bands on a dimension of dates and any others.
      context: keywords of `mogpr`.

    Raises:
      ValueError: no dimension of bands, a keyword that does not exist, or what `mogpr` refuses.
    """
    array = cube.get_array()
    if "bands" not in array.dims:
        raise ValueError(f"cube: got dimensions {array.dims}, expected one of them named 'bands'")
    fused = mogpr(array.to_dataset(dim="bands"), **_options(context))
    bands = fused.to_array(dim="bands").transpose(*array.dims)
    return XarrayDataCube(bands.astype("float32").rename(array.name))


def apply_metadata(metadata: CubeMetadata, context: dict | None = None) -> CubeMetadata:
    """The metadata with the bands that `apply_datacube` returns, in their order.

    Args:
      metadata: of the cube that is fused.
      context: as of `apply_datacube`.

    Raises:
      ValueError: a keyword that does not exist, or a variable that is no band.
    """
    options = _options(context)
    names = metadata.band_names
    chosen = options.get("variables")
    chosen = names if chosen is None else [chosen] if isinstance(chosen, str) else chosen
    if missing := [name for name in chosen if name not in names]:
        raise ValueError(f"variables: got {missing}, expected some of {names}")
    names = [name for name in names if name in chosen]
    fused = metadata.filter_bands([*names]).rename_labels(
        metadata.band_dimension.name, [f"{name}_FUSED" for name in names], names
    )
    more = [("include_uncertainties", "STD"), ("include_raw_inputs", "RAW")]
    labels = [f"{name}_{suffix}" for key, suffix in more if options.get(key) for name in names]
    for label in [*labels, *(["QUALITY"] if options.get("include_quality") else [])]:
        fused = fused.append_band(Band(name=label))
    return fused


def _options(context: dict | None) -> dict:
    """The keywords of a context, with FuseTS' period."""
    options = {"prediction_period": "5D", **(context or {})}
    if unknown := [key for key in options if key not in OPTIONS]:
        raise ValueError(f"context: got {unknown}, expected some of {list(OPTIONS)}")
    return options
