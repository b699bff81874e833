"""An orbit without values is left out, and the cube is read from the others."""

import numpy as np
import pytest
import xarray as xr

from s1jax.cube import open_cube
from s1jax.cube.align import orbits_of

LEVEL = {"VV": -10.0, "VH": -17.0}


def _cube(*orbits):
    """A cube in dB of those orbits ("" of VV, VH), each 1 dB above the one before."""
    rng = np.random.default_rng(4)
    shape, dims = (20, 3, 4), ("t", "y", "x")
    names = [f"{head}_{orbit}" if orbit else head for orbit in orbits for head in LEVEL]
    made = {
        name: (dims, LEVEL[name[:2]] + k // 2 + rng.normal(0, 0.5, shape), {"units": "dB"})
        for k, name in enumerate(names)
    }
    t = np.datetime64("2021-03-03", "ns") + np.arange(20) * np.timedelta64(12, "D")
    axes = {"t": t, "y": 50.0 - 10 * np.arange(3), "x": 10.0 * np.arange(4)}
    ndvi = rng.uniform(0.2, 0.8, shape)
    return xr.Dataset({**made, "S2ndvi": (dims, ndvi)}, axes, {"crs": "EPSG:32749"})


def _without(ds, *names):
    return ds.assign({name: ds[name] * np.nan for name in names})


def _radar(ds):
    return sorted(name for name in ds.data_vars if name[:2] in LEVEL)


@pytest.mark.parametrize("kind", ["memory", "chunks", "file"])
def test_an_empty_second_orbit_is_left_out_and_no_repair(kind, tmp_path):
    ds = _without(_cube("", "2"), "VV_2", "VH_2")
    source = ds.chunk(t=7) if kind == "chunks" else ds
    if kind == "file":
        source = tmp_path / "cube.nc"
        ds.to_netcdf(source)
    made = open_cube(source, repair=False).compute()
    assert _radar(made) == ["VH", "VV"]
    np.testing.assert_allclose(made["VV"], ds["VV"], rtol=1e-6)
    assert "named: VV_2, VH_2: left out, since VV_2 and VH_2 got no" in made.attrs["s1jax_repairs"]


def test_the_second_orbit_takes_the_place_of_an_empty_first():
    ds = _without(_cube("", "2"), "VV", "VH")
    made = open_cube(ds, repair=False)
    assert _radar(made) == ["VH", "VV"]
    np.testing.assert_allclose(made["VH"], ds["VH_2"], rtol=1e-6)
    assert "VV_2, VH_2 are taken as VV, VH" in made.attrs["s1jax_repairs"]


def test_filtered_values_go_with_their_orbit():
    ds = _without(_cube("", "2"), "VV", "VH")
    ds = ds.assign(VV_smooth=ds.VV, VH_smooth=ds.VH, VV_2_smooth=ds.VV_2, VH_2_smooth=ds.VH_2)
    made = open_cube(ds)
    np.testing.assert_array_equal(made["VV_smooth"], ds["VV_2"])
    assert "VV_2_smooth" not in made


def test_one_of_three_orbits_is_empty():
    ds = _without(_cube("", "2", "3"), "VV_2", "VH_2")
    made = open_cube(ds, repair=False)
    assert _radar(made) == ["VH", "VH_3", "VV", "VV_3"]
    assert orbits_of(made, None).pairs == (("",), ("3",))


def test_one_polarisation_without_values_takes_the_other_along_as_a_repair():
    ds = _without(_cube("", "2"), "VH_2")
    made = open_cube(ds)
    assert _radar(made) == ["VH", "VV"]
    line = "VV_2, VH_2: left out, since VH_2 got no value (all NaN, fill or constant)"
    assert line in made.attrs["s1jax_repairs"].splitlines()
    with pytest.raises(ValueError, match="repairs: got 1 to make"):
        open_cube(ds, repair=False)


def test_a_fill_everywhere_is_no_value():
    ds = _cube("", "2")
    ds = ds.assign({n: xr.full_like(ds[n], -9999.0) for n in ("VV_2", "VH_2")})
    for name in ("VV_2", "VH_2"):
        ds[name].attrs["nodata"] = -9999.0
    assert _radar(open_cube(ds, repair=False)) == ["VH", "VV"]


def test_orbits_in_inputs_of_their_own():
    ds = _cube("", "2")
    first, second = ds[["VV", "VH", "S2ndvi"]], ds[["VV_2", "VH_2"]]
    kept = open_cube([first, _without(second, "VV_2", "VH_2")])
    assert _radar(kept) == ["VH", "VV"]
    made = open_cube([_without(first, "VV", "VH"), second])
    np.testing.assert_allclose(made["VV"], ds["VV_2"], rtol=1e-6)


@pytest.mark.parametrize("apart", [False, True])
def test_no_orbit_with_values_is_refused(apart):
    ds = _without(_cube("", "2"), "VV", "VH", "VV_2", "VH_2")
    source = [ds[["VV", "VH"]], ds[["VV_2", "VH_2"]]] if apart else ds
    with pytest.raises(ValueError, match=r"VV.*: got no value"):
        open_cube(source)


def test_an_empty_orbit_among_the_columns_of_a_table(tmp_path):
    rows = ["location_id,date,VV,VH,VV_2,VH_2,NDVI"]
    rows += [f"a,2023-01-{3 + 2 * k:02d},{-10 - k},{-17 - k},,,0.{k}" for k in range(1, 9)]
    (tmp_path / "places.csv").write_text("\n".join(rows))
    made = open_cube(tmp_path / "places.csv")
    assert _radar(made) == ["VH", "VV"]


def test_orbits_whose_directions_nobody_declares_are_named_in_plain_words():
    (finding,) = orbits_of(open_cube(_cube("", "2", "3")), 1).findings
    assert finding.text.endswith("1 left: VV, VV_2, VV_3 (directions not declared)")
