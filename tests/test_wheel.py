"""The wheel in an empty environment, in another folder: both commands on a real cube."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import xarray as xr

ROOT = Path(__file__).parents[1]
pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]


@pytest.fixture(scope="module")
def environment(tmp_path_factory):
    """Folder of the scripts of an environment that has the wheel and what it depends on."""
    folder = tmp_path_factory.mktemp("wheel")
    pip = [sys.executable, "-m", "pip"]
    subprocess.run([*pip, "wheel", "-q", "--no-deps", "-w", folder, ROOT], check=True)
    (wheel,) = folder.glob("s1jax-*.whl")
    subprocess.run([sys.executable, "-m", "venv", folder / "venv"], check=True)
    scripts = folder / "venv" / ("Scripts" if os.name == "nt" else "bin")
    install = [scripts / "python", "-m", "pip", "install", "-q", wheel, "-c"]
    subprocess.run([*install, ROOT / "constraints.txt"], check=True)
    return scripts


def _run(scripts, folder, *arguments):
    # neither the checkout nor the packages of this environment may help
    hidden = {"PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV", "JAX_COMPILATION_CACHE_DIR"}
    clean = {name: value for name, value in os.environ.items() if name not in hidden}
    clean["HOME"] = str(folder)
    command = [scripts / "s1jax", *map(str, arguments)]
    done = subprocess.run(command, cwd=folder, env=clean, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_both_commands_do_their_work(environment, shared, tmp_path):
    cube = shared / "data" / "mekong_rice_cube_a.nc"
    if not cube.is_file():
        pytest.skip(f"no {cube}")
    text = _run(environment, tmp_path, "doctor", cube, "--out", tmp_path / "doctor", "--rows", 0)
    assert (tmp_path / "doctor" / "report.html").is_file()
    assert "where:" in text
    _run(environment, tmp_path, "fill", cube, tmp_path / "map.zarr", "--hyper", "region")
    with xr.open_zarr(tmp_path / "map.zarr") as made, xr.open_dataset(cube) as given:
        assert {made.sizes["y"], made.sizes["x"]} == {given.sizes["y"], given.sizes["x"]}
        assert float(made["S2ndvi_FUSED"].notnull().mean()) > 0.5
        assert float(made["S2ndvi_STD"].min()) > 0


def test_the_wheel_holds_the_package_alone(environment):
    script = "import s1jax, importlib.metadata as m; print(*m.files('s1jax'), sep='\\n')"
    run = [environment / "python", "-c", script]
    names = subprocess.run(run, check=True, capture_output=True, text=True).stdout.split()
    tops = {name.split("/")[0] for name in names if ".." not in name}
    assert {top for top in tops if not top.endswith(".dist-info")} == {"s1jax"}
    assert {"s1jax/py.typed", "s1jax/networks/shipped/cnp.npz"} <= set(names)
