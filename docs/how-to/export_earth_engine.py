"""Export Sentinel-1 and cloud-free Sentinel-2 NDVI of a region from Google Earth Engine.

NOT RUN by this project's tests: it needs an Earth Engine account. Read docs/how-to/export.md first;
open what it exports with `s1jax.open_cube(("s1.tif", "s2.tif"))`, then examine it with
`s1jax doctor s1.tif s2.tif`.

Command: python docs/how-to/export_earth_engine.py      (after `pip install earthengine-api`)
"""

import math

import ee

PROJECT = "your-project"
REGION = (110.51, -7.11, 111.04, -6.71)
"""West, south, east, north, degrees."""
FIRST, LAST = "2023-11-01", "2025-10-31"
"""First and last day that is wanted; both are exported."""
CRS, METRES = "EPSG:32749", 20
"""One projected grid for both sensors."""
PASSES = ("DESCENDING",)
"""Directions that are wanted; "ASCENDING" looks from the other side."""
CLEAR = 0.60
"""Least Cloud Score+ of a pixel that is kept, 0 to 1."""
NODATA = -9999


def main() -> None:
    """Start two tasks that write s1.tif and s2.tif to Google Drive."""
    ee.Initialize(project=PROJECT)
    region = ee.Geometry.Rectangle(REGION, None, False)
    # filterDate leaves its end out: without the added day the last one would be missing
    span = ee.DateRange(FIRST, ee.Date(LAST).advance(1, "day"))
    for name, images in (("s1", radar(region, span)), ("s2", optical(region, span))):
        # a fill of its own: masked pixels would else become 0 or -inf, by the kind of the export
        image = images.toBands().unmask(NODATA).toFloat()
        image = image.rename(ee.List(images.aggregate_array("names")).flatten())
        task = ee.batch.Export.image.toDrive(
            image=image,
            description=name,
            fileNamePrefix=name,
            region=region,
            crs=CRS,
            scale=METRES,
            maxPixels=int(1e10),
            formatOptions={"noData": NODATA},
        )
        task.start()
        print(f"{name}: task {task.id} started")


def radar(region: ee.Geometry, span: ee.DateRange) -> ee.ImageCollection:
    """VV and VH of each day in dB, each relative orbit apart: two of them are a few dB apart.

    Bands of the lowest number of an orbit are named VV_dB_YYYYMMDD and VH_dB_YYYYMMDD, of the next
    VV_2_dB_YYYYMMDD ... (`open_cube` knows up to 9). The mean of the images of a day (frames of one
    pass) is in linear power, at METRES: the catalogue's 10 m pixels are averaged, not picked, so
    that speckle falls.
    """
    images = (
        ee.ImageCollection("COPERNICUS/S1_GRD_FLOAT")  # linear power, not dB
        .filterBounds(region)
        .filterDate(span.start(), span.end())
        .filter(ee.Filter.eq("instrumentMode", "IW"))
        .filter(ee.Filter.inList("orbitProperties_pass", list(PASSES)))
        .select(["VV", "VH"])
    )
    orbits = sorted(set(images.aggregate_array("relativeOrbitNumber_start").getInfo()))
    print("relative orbits:", ", ".join(f"{n} in VV{_suffix(k)}" for k, n in enumerate(orbits)))
    every = ee.ImageCollection([])
    for k, number in enumerate(orbits):
        own = images.filter(ee.Filter.eq("relativeOrbitNumber_start", number))
        every = every.merge(_orbit(own, _suffix(k)))
    return every


def _suffix(k: int) -> str:
    """What stands behind VV and VH of the k-th orbit, from 0."""
    return f"_{k + 1}" if k else ""


def _orbit(images: ee.ImageCollection, suffix: str) -> ee.ImageCollection:
    """Each day of one relative orbit in dB."""

    def _day(date):
        day = ee.Date(date)
        power = _averaged(images.filterDate(day, day.advance(1, "day")))
        stamp = day.format("YYYYMMdd")
        names = [ee.String(f"{band}{suffix}_dB_").cat(stamp) for band in ("VV", "VH")]
        return power.log10().multiply(10).set("names", ee.List(names))

    return ee.ImageCollection(_days(images).map(_day))


def optical(region: ee.Geometry, span: ee.DateRange) -> ee.ImageCollection:
    """NDVI of each day that has an image, bands named NDVI_YYYYMMDD.

    A day without any clear pixel is a band of NODATA, which `open_cube` reads as missing. Surface
    reflectance with the offset of processing baseline 04.00 taken out (S2_SR_HARMONIZED), cloud and
    shadow masked by Cloud Score+.
    """
    images = (
        ee.ImageCollection("COPERNICUS/S2_SR_HARMONIZED")
        .filterBounds(region)
        .filterDate(span.start(), span.end())
        .linkCollection(ee.ImageCollection("GOOGLE/CLOUD_SCORE_PLUS/V1/S2_HARMONIZED"), ["cs_cdf"])
    )

    def _clear(image):
        ndvi = image.normalizedDifference(["B8", "B4"]).rename("NDVI")
        kept = ndvi.updateMask(image.select("cs_cdf").gte(CLEAR))
        return kept.copyProperties(image, ["system:time_start"])

    clear = images.map(_clear)

    def _day(date):
        day = ee.Date(date)
        ndvi = _averaged(clear.filterDate(day, day.advance(1, "day")))
        names = ee.List([ee.String("NDVI_").cat(day.format("YYYYMMdd"))])
        return ndvi.set("names", names)

    return ee.ImageCollection(_days(images).map(_day))


def _averaged(images: ee.ImageCollection) -> ee.Image:
    """Mean of the images of a day, and of the 10 m pixels inside each of METRES."""
    first = images.first().select(0).projection()
    most = max(64, math.ceil(METRES / 10) ** 2)
    return images.mean().setDefaultProjection(first).reduceResolution(ee.Reducer.mean(), True, most)


def _days(images: ee.ImageCollection) -> ee.List:
    """The days on which there is an image, each once."""
    dates = images.aggregate_array("system:time_start")
    return dates.map(lambda t: ee.Date(t).format("YYYY-MM-dd")).distinct()


if __name__ == "__main__":
    main()
