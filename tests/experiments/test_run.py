"""The main job end to end, at its smallest, on simulated and on real input."""

import dataclasses
import json
import logging
import math
import runpy
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import xarray as xr

from experiments.protocol.config import complete, parse
from experiments.protocol.head_to_head import Method
from experiments.run import _save_cube, run
from s1jax import cube, networks, regions, saving
from s1jax.types import Estimator
from tests.worlds.cube import scene

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
SMALL = (
    "--preset quick --scene.height 32 --scene.width 36 --training-pixels 60 --validation-pixels 40 "
    "--test-pixels 30 --mlp3.train.epochs 2 --mlp10.train.epochs 2 --mlp3.chunk 64 "
    "--mlp10.chunk 64 --boosting.iterations 5 --boosting.rows 400 --mogpr.sample 8 "
    "--mogpr.iterations 3 --mogpr.chunk 32 --mogpr.inputs raw --mogpr.mean zero "
    "--mogpr.hyper region --whittaker.penalties 1e4 1e6"
).split()


TASKS = ("T1", "T2a", "T2b", "T2c", "T2d", "T2e")


def _run(out, *more):
    return run(parse([*SMALL, "--out", str(out), *more]))


QUIET = ("--no-report", "--methods", "mlp3", "--tasks", "T1", "T2b")


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    return _run(folder / "a", "--tasks", *TASKS, "--save-cube", str(folder / "map.nc")), folder


@pytest.mark.filterwarnings("default")  # orbax and its dependencies warn of their own future
def test_writes_what_the_protocol_says(written):
    out, _ = written
    content = json.loads((out / "metrics.json").read_text())
    assert content["dataset"] == "demak_sim_clean"
    assert content["seeds"] == [0]
    assert "indicative" in content["split"]
    rows = content["rows"]
    fields = (
        "method task against r2 rmse mae bias crps coverage90 skill n fit_s px_per_s ci95 strata"
    )
    assert {tuple(row) for row in rows} == {tuple(fields.split())}
    found = {(row["method"], row["task"], row["against"]) for row in rows}
    no_t1 = {"linear", "whittaker"}
    for method in (
        "climatology",
        "linear",
        "whittaker",
        "knn_space",
        "mlp3",
        "mlp10",
        "boosting",
        "mogpr",
    ):
        for task in TASKS:
            expected = not (task == "T1" and method in no_t1)
            assert ((method, task, "truth") in found) == expected
            assert ((method, task, "labels") in found) == (expected and task != "T2d")
    for row in rows:
        assert row["ci95"]["r2"][0] <= row["r2"] + 0.2
        assert math.isfinite(row["skill"])
    for name in ("config.json", "environment.json", "report.html", "run.log"):
        assert (out / name).stat().st_size > 0
    assert json.loads((out / "config.json").read_text())["scene"]["height"] == 32
    drawn = {path.stem for path in (out / "figures").glob("*.png")}
    named = {"overview", "coverage", "gap_days-truth", "month-truth", "ndvi-truth"}
    named |= {f"intervals-{task}" for task in TASKS}
    named |= {f"classic-{name}-T1-truth" for name in ("mlp3", "mlp10", "boosting", "mogpr")}
    named |= {"loss-mlp3-fold-0", "loss-mlp10-fold-0", "maps-mogpr-T2e", "series-mogpr-T2c"}
    assert named <= drawn


@pytest.mark.filterwarnings("default")
def test_map_holds_estimate_std_and_source_where_the_mask_is(written):
    _, folder = written
    with xr.open_dataset(folder / "map.nc", engine="h5netcdf", decode_coords="all") as ds:
        fused, std, source = (ds[f"S2ndvi_{name}"].values for name in ("FUSED", "STD", "SOURCE"))
        assert fused.shape == (62, 32, 36)
        known = np.isfinite(fused)
        assert (known.all(0) | ~known.any(0)).all()
        assert 0.4 < known.mean() < 0.95
        assert (std[known] > 0).all()
        assert set(np.unique(source)) >= {0, 1, 2}
        assert ((source > 0) == known).all()
        assert cube.crs(ds).to_epsg() == 32749


@pytest.mark.filterwarnings("default")
def test_learnt_networks_load_with_nothing_else(written):
    out, _ = written
    for name in ("mlp3", "mlp10"):
        assert isinstance(
            saving.load(out / "models" / "seed-0" / name / "fold-0"), networks.MlpParams
        )


@pytest.mark.filterwarnings("default")
def test_same_seed_same_metrics_to_the_last_digit(written, tmp_path):
    out, _ = written
    again = _run(tmp_path / "b", "--no-report", "--tasks", *TASKS)
    first, second = (json.loads((path / "metrics.json").read_text()) for path in (out, again))
    for row in (*first["rows"], *second["rows"]):
        del row["fit_s"], row["px_per_s"]
    assert first == second


@pytest.mark.filterwarnings("default")
@pytest.mark.parametrize(
    ("name", "split"),
    [
        ("mekong_rice_points_2022", "district"),
        ("mekong_rice_cube_a", "blocks"),
        ("belgium_raw_cube_b_20m", "blocks"),
        ("belgium_monthly_cube", "blocks"),
        ("flanders_fields_dekad_2021", "blocks"),
    ],
)
def test_real_series_run_unchanged(shared, tmp_path, name, split):
    path = shared / "data" / f"{name}.nc"
    more = () if name in ("mekong_rice_points_2022", "mekong_rice_cube_a") else QUIET[:1]
    out = _run(tmp_path, "--cube", str(path), "--split", split, *more, *QUIET[1:])
    assert (out / "report.html").exists() == (not more)
    content = json.loads((out / "metrics.json").read_text())
    assert content["dataset"] == name
    assert {row["against"] for row in content["rows"]} == {"labels"}
    assert {row["task"] for row in content["rows"]} == {"T1", "T2b"}
    if split == "district":
        assert set(content["rows"][0]["strata"]["direction"]) == {"north", "south"}


@pytest.mark.filterwarnings("default")
def test_folder_of_geotiffs_runs(tmp_path, caplog, monkeypatch):
    import rasterio
    from affine import Affine

    rng = np.random.default_rng(0)
    folder = tmp_path / "assets"
    folder.mkdir()
    phase = rng.uniform(0, 6, (24, 24))
    for p in range(1, 32):
        if p == 9:
            continue
        ndvi = 0.5 + 0.3 * np.sin(p / 3 + phase)
        planes = np.stack([-12 + 3 * ndvi, -19 + 5 * ndvi, ndvi]).astype("float32")
        planes[:2] += rng.normal(0, 0.5, (2, 24, 24))
        planes[2][rng.random((24, 24)) < 0.5] = -np.inf
        with rasterio.open(
            folder / f"period_{p:02d}.tif", "w", driver="GTiff", height=24, width=24, count=3,
            dtype="float32", crs="EPSG:4326", nodata=-np.inf,
            transform=Affine(0.000449, 0, 110.6, 0, -0.000449, -6.9),
        ) as tif:  # fmt: skip
            tif.write(planes)
            tif.descriptions = ("VV", "VH", "S2ndvi")
    arguments = ["--cube", str(folder), "--start", "2023-11-01", "--step", "12"]
    log = logging.getLogger("s1jax")
    # not what a run before this one could have left
    caplog.set_level(logging.ERROR, "s1jax")
    monkeypatch.setattr(log, "propagate", True)
    handlers = list(log.handlers)
    out = _run(tmp_path / "out", *arguments, *QUIET)
    assert (log.level, log.propagate, log.handlers) == (logging.ERROR, True, handlers)
    rows = json.loads((out / "metrics.json").read_text())["rows"]
    mlp3 = next(row for row in rows if (row["method"], row["task"]) == ("mlp3", "T1"))
    assert mlp3["n"] > 100
    assert "period 9" in (out / "run.log").read_text()


def test_errors_reach_the_shell_before_any_compute(tmp_path):
    for arguments, words in (
        (["--cube", "nowhere.nc"], "nowhere.nc"),
        (["--methods", "mlp33"], "expected names among"),
    ):
        done = subprocess.run(
            [sys.executable, "-m", "experiments.run", "--out", str(tmp_path), *arguments],
            cwd=ROOT, capture_output=True, text=True,
        )  # fmt: skip
        assert done.returncode != 0
        assert words in done.stderr
        assert "Traceback" not in done.stderr


@pytest.mark.parametrize(("spatial", "tile"), [(True, 300), (False, 256)])
def test_a_map_of_a_method_that_sees_neighbours_is_one_tile(spatial, tile, monkeypatch):
    asked = {}

    def _fill(predict, ds, path, **options):
        asked.update(options)
        assert asked.pop("method") == "cropsar"
        assert "training pixels" in asked.pop("trained_on")
        return regions.Summary(1, 0, (), 0.0, 0.0, 0.0)

    monkeypatch.setattr(regions, "map_region", _fill)
    config = complete(parse(["--methods", "mlp3", "cropsar", "--save-method", "cropsar"]))
    ds = xr.Dataset(coords={"y": np.arange(300), "x": np.arange(20)})
    split = SimpleNamespace(folds=[SimpleNamespace(name="all")])
    method = Method("cropsar", Estimator(None, None), TASKS, spatial=spatial)
    _save_cube(config, ds, [method], {("cropsar", "all"): None}, split)
    assert asked == {"tile": tile}
    with pytest.raises(ValueError, match="save_method: got 'cropsar', which these data left out"):
        _save_cube(config, ds, [], {}, split)
    done = regions.Summary(9, 2, (), 0.0, 0.0, 0.0)
    monkeypatch.setattr(regions, "map_region", lambda *_, **__: done)
    with pytest.raises(ValueError, match="got 2 of 9 pixels with an estimate that is not finite"):
        _save_cube(config, ds, [method], {("cropsar", "all"): None}, split)


def test_an_alignment_without_acquisitions_is_told(tmp_path):
    with pytest.raises(ValueError, match=r"align: got Align\(window=24.0.* without a cube"):
        _run(tmp_path, "--align.window", "24")


def test_district_without_districts_is_told(tmp_path):
    config = dataclasses.replace(
        complete(parse([*SMALL, "--out", str(tmp_path)])), split="district"
    )
    with pytest.raises(ValueError, match=r"district: got no such variable"):
        run(config)


@pytest.mark.filterwarnings("default")
@pytest.mark.parametrize("path", sorted((ROOT / "notebooks").glob("*.py")), ids=lambda p: p.stem)
def test_notebooks_run(path, monkeypatch):
    monkeypatch.setenv("S1JAX_QUICK", "1")
    names = runpy.run_path(str(path))
    assert names["figure"].axes


def test_a_map_onto_the_cube_is_refused_before_any_training(tmp_path, monkeypatch):
    path = tmp_path / "cube.nc"
    cube.write(cube.align_cube(cube.open_cube(scene())), path)
    before = path.read_bytes()
    monkeypatch.setattr("experiments.run.to_data", lambda _: pytest.fail("went on"))
    arguments = ["--cube", str(path), "--save-cube", str(path), "--methods", "mlp3"]
    arguments += ["--save-method", "mlp3", "--out", str(tmp_path / "out")]
    with pytest.raises(ValueError, match=r"cube\.nc: got a path that is the source"):
        run(parse(arguments))
    assert path.read_bytes() == before
    assert not [*tmp_path.glob(".*")]
