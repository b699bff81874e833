"""The house: a module imports only lower floors, heavy libraries in their rooms."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FLOOR = {
    "types": 0, "progress": 0, "files": 0, "forked": 0,
    "arrays": 1, "indices": 1, "metrics": 1, "chunks": 1, "hiding": 1, "nets": 1, "phenology": 1,
    "align": 2, "speckle": 2,
    "features": 3, "simulate": 3, "train": 3, "gp": 3, "baselines": 4, "networks": 4, "mogpr": 4,
    "hybrid": 5, "cube": 6, "doctor": 7, "tiles": 7, "plots": 7, "fusets": 8,
}  # fmt: skip
ROOM = {
    "xarray": {"cube", "doctor", "tiles", "fusets"}, "rasterio": {"cube"},
    "geopandas": {"cube"}, "zarr": {"cube", "tiles"}, "dask": {"tiles"}, "matplotlib": {"plots"},
    "sklearn": {"baselines"}, "whittaker_eilers": {"baselines"}, "orbax": {"train"},
    "flax": {"nets"}, "tinygp": {"gp"}, "optax": {"train"}, "openeo": {"fusets"},
}  # fmt: skip
SOURCES = sorted((ROOT / "s1jax").rglob("*.py"))
ALL = SOURCES + sorted((ROOT / "experiments").rglob("*.py"))


def _room(path):
    return path.relative_to(ROOT / "s1jax").parts[0].removesuffix(".py")


def _imports(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import; write the room's full name"
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


@pytest.mark.parametrize("path", [p for p in SOURCES if _room(p) != "__init__"], ids=str)
def test_imports_only_lower_floors(path):
    room = _room(path)
    for name in _imports(path):
        top, *rest = name.split(".")
        assert top != "experiments", f"{path} imports {name}"
        if top == "s1jax" and rest and rest[0] != room:
            assert FLOOR[rest[0]] < FLOOR[room], f"{room} (floor {FLOOR[room]}) imports {name}"
        assert room in ROOM.get(top, {room}), f"{top} is imported in {room}"


def test_every_room_has_a_floor():
    assert {_room(path) for path in SOURCES} - {"__init__"} == set(FLOOR)


def test_a_module_is_read_in_one_sitting():
    lines = {str(p.relative_to(ROOT)): len(p.read_text().splitlines()) for p in ALL}
    assert max(lines.values()) <= 600, {k: v for k, v in lines.items() if v > 600}


def test_the_library_never_sets_jax_config():
    for path in SOURCES:
        # `with jax.enable_x64(True)` sets nothing beyond its block
        text = path.read_text().replace("with jax.enable_x64(True)", "with")
        assert not re.search(r"config\.update|enable_x64", text), path
