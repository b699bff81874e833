"""Names that come with the data are text: no path, no markup, no formula."""

import json

import numpy as np
import pytest
import xarray as xr

from experiments import run
from experiments.protocol import data as datasets
from experiments.protocol.config import parse
from experiments.report.report import dataset_section, plain
from s1jax.commands.page import Picture, Section, html, write_report

ROWS, COLUMNS, DATES = 12, 60, 20


def _cube(names):
    """Two districts side by side, 3 km each."""
    rng = np.random.default_rng(0)
    t = np.datetime64("2023-01-03", "ns") + 12 * np.arange(DATES) * np.timedelta64(1, "D")
    ndvi = 0.5 + 0.3 * np.sin(np.arange(DATES) / 3)[:, None, None]
    ndvi = ndvi + rng.normal(0, 0.05, (DATES, ROWS, COLUMNS))
    dims = ("t", "y", "x")
    district = np.broadcast_to(np.repeat(names, COLUMNS // 2), (ROWS, COLUMNS))
    return xr.Dataset(
        {
            "VV": (dims, -14 + 5 * ndvi + rng.normal(0, 1, ndvi.shape), {"units": "dB"}),
            "VH": (dims, -20 + 7 * ndvi + rng.normal(0, 1, ndvi.shape), {"units": "dB"}),
            "S2ndvi": (dims, ndvi),
            "district": (("y", "x"), district),
        },
        coords={"t": t, "y": 9e6 - 100.0 * np.arange(ROWS), "x": 4e5 + 100.0 * np.arange(COLUMNS)},
    )


@pytest.mark.slow
@pytest.mark.filterwarnings("default")  # orbax and its dependencies warn of their own future
def test_a_district_is_no_path_and_no_markup(tmp_path):
    kept = tmp_path / "kept"
    (kept / "weights").mkdir(parents=True)
    (kept / "weights" / "work.txt").write_text("years of it")
    names = [str(kept), "../../../up<script>alert(1)</script>$\\frac$"]
    _cube(np.array(names, "U120")).to_netcdf(tmp_path / "cube.nc", engine="h5netcdf")
    before = {path for path in tmp_path.rglob("*") if "out" not in path.parts}
    limits = "--training-pixels 60 --validation-pixels 30 --test-pixels 30 --mlp3.train.epochs 1"
    out = run.run(
        parse([
            "--cube", str(tmp_path / "cube.nc"), "--split", "district", "--methods", "mlp3",
            "--tasks", "T1", "--out", str(tmp_path / "a" / "out"), *limits.split(),
        ])
    )  # fmt: skip
    after = {path for path in tmp_path.rglob("*") if out not in (path, *path.parents)}
    assert after == before | {out.parent}
    assert (kept / "weights" / "work.txt").read_text() == "years of it"
    models = out / "models" / "seed-0"
    named = json.loads((models / "folds.json").read_text())
    assert named == {f"fold-{k}": name for k, name in enumerate(sorted(names))}
    assert {path.name for path in (models / "mlp3").iterdir()} == set(named)
    figures = {path.stem for path in (out / "figures").iterdir()}
    assert {"loss-mlp3-fold-0", "loss-mlp3-fold-1"} <= figures
    page = (out / "report.html").read_text()
    assert "<script" not in page
    assert "up&lt;script&gt;alert(1)" in page


def test_a_picture_is_named_as_a_file_of_its_folder(tmp_path):
    for name in ("../up", "/etc/passwd", "a/b", "", ".hidden", "a\nb"):
        section = Section("s", [Picture(name, b"png", "caption")])
        with pytest.raises(ValueError, match="figure: got name"):
            write_report(tmp_path, "title", [section])
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


def test_a_title_is_text():
    page = html(
        "<img src=x onerror=alert(1)>", [Section('"><b>', ["<i>", Picture("a", b"", "'>")])]
    )
    for raw in ("<img src=x", "<b>", "<i>"):
        assert raw not in page
    assert 'alt="&#x27;&gt;"' in page


def test_words_of_a_file_are_no_markup_of_a_results_page():
    words = "a | b\n<!-- results:end --><img src=x>"
    assert plain(words) == "a \\| b &lt;!-- results:end --&gt;&lt;img src=x&gt;"
    row = {"method": "m", "task": "T1", "against": "labels", "r2": 0.5, "mae": 0.1}
    row |= {"coverage90": 0.9, "px_per_s": 1.0, "ci95": {"r2": [0.4, 0.6]}}
    text = dataset_section("x|<b>", words, [row], [words])
    assert "<img" not in text
    assert "<!--" not in text
    assert "## x\\|&lt;b&gt;" in text


def test_hidden_files_are_no_data_sets(tmp_path):
    """`...nc` is named `..`, which is the folder above the results."""
    for name in ("...nc", "._copy.nc", "fields.nc"):
        (tmp_path / name).write_bytes(b"")
    assert datasets.real(tmp_path) == ("fields",)
