"""Layers: a room imports only rooms before it, and heavy libraries stay in their rooms."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
LAYERS = (
    "types files arrays metrics masking batching "
    "features compositing phenology extrapolation quality",
    "cube simulate train gp",
    "cards estimators baselines networks mogpr",
    "saving regions plots doctor",
    "fusets methods model accessor commands",
)
"""Rooms from the lowest layer up; within a layer a room imports only those named before it."""
ORDER = {room: place for place, room in enumerate(" ".join(LAYERS).split())}
ROOM = {
    "xarray": {
        "cube", "simulate", "regions", "doctor", "fusets", "model", "accessor", "commands",
    },
    "rasterio": {"cube"}, "geopandas": {"cube"}, "zarr": {"cube", "regions"}, "dask": {"regions"},
    "matplotlib": {"plots"}, "sklearn": {"baselines", "doctor"}, "whittaker_eilers": {"baselines"},
    "orbax": {"train"}, "flax": {"networks"}, "tinygp": {"gp"}, "optax": {"train"},
    "openeo": {"fusets"}, "tyro": {"commands"},
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
def test_imports_only_rooms_before(path):
    room = _room(path)
    for name in _imports(path):
        top, *rest = name.split(".")
        assert top != "experiments", f"{path} imports {name}"
        if top == "s1jax" and rest and rest[0] != room:
            assert ORDER[rest[0]] < ORDER[room], f"{room} imports {name}, which stands after it"
        assert room in ROOM.get(top, {room}), f"{top} is imported in {room}"


def test_every_room_has_a_layer():
    assert {_room(path) for path in SOURCES} - {"__init__"} == set(ORDER)


def test_a_module_is_read_in_one_sitting():
    lines = {str(p.relative_to(ROOT)): len(p.read_text().splitlines()) for p in ALL}
    assert max(lines.values()) <= 600, {k: v for k, v in lines.items() if v > 600}


def test_the_library_never_sets_jax_config():
    for path in SOURCES:
        # `with jax.enable_x64(True)` sets nothing beyond its block
        text = path.read_text().replace("with jax.enable_x64(True)", "with")
        assert not re.search(r"config\.update|enable_x64", text), path


def test_a_scene_is_simulated_without_xarray():
    for path in (ROOT / "s1jax" / "simulate").glob("*.py"):
        if path.name != "__init__.py":
            assert not {"xarray", "s1jax.cube"} & set(_imports(path)), path
