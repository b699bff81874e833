"""Folders of parameters that are damaged, forged, cut off or old: refused by name, or read."""

import json
import os
import resource
import shutil
import zipfile
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from s1jax import arrays, networks, saving
from s1jax.estimators import Calibration
from s1jax.extrapolation import PRIOR
from s1jax.networks import patch as patches
from s1jax.networks.mlp import mlp_template, predict_mlp
from s1jax.networks.model import init
from s1jax.networks.pretrained import FOLDER, pretrained, write
from s1jax.types import Series
from tests.worlds.patch import SMALL
from tests.worlds.sequence import CNP, world

OLD = Path(__file__).parent / "data" / "version1"
SERIES, _ = world(0, 6)
START = networks.SequenceParams(CNP, init(jax.random.key(0), CNP))
PARAMS = networks.adapt(START, SERIES)


@pytest.fixture
def folder(tmp_path):
    saving.save(PARAMS, tmp_path / "net")
    return tmp_path / "net"


@pytest.fixture
def old(tmp_path):
    """A folder of version 1 and what a test may do to its card."""
    shutil.copytree(OLD / "cnp", tmp_path / "old")
    return tmp_path / "old"


def _refused(folder, message):
    with pytest.raises(ValueError, match=message) as caught:
        saving.load(folder)
    assert str(folder) in str(caught.value)
    # what another library says is no part of what is shown
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__ or caught.value.__context__ is None


def _equal(found, expected):
    """All arrays alike; the options of `CnpConfig` come back as a `SequenceConfig`."""
    chex.assert_trees_all_equal(*(jax.tree.leaves(params) for params in (found, expected)))
    assert asdict(found.config) == asdict(expected.config)


def _message(call):
    """What a ValueError says; None where there is none."""
    try:
        call()
    except ValueError as error:
        return str(error)
    return None


CARDS = {
    "empty": ("", "got no JSON"),
    "garbage": ("{'kind': ", "got no JSON"),
    "deep": ("[" * 100_000, "got no JSON"),
    "list": ("[1]", "got a list, expected a JSON object"),
    "number": ("3", "got a int"),
    "bytes": (b"\xff\xfe\x00card", "got no JSON"),
    "long": (" " * 1_000_001, "got more than 1,000,000 bytes"),
}


@pytest.mark.parametrize("case", CARDS)
def test_cards_that_are_none(folder, case):
    text, message = CARDS[case]
    (folder / "card.json").write_bytes(text if isinstance(text, bytes) else text.encode())
    _refused(folder, message)


FIELDS = [
    ("kind", "tree", "kind: got 'tree', expected one of"),
    ("kind", ["mlp"], "kind: got"),
    ("version", 3, "version: got 3, expected 1 or 2"),
    ("version", "2", "version: got '2', expected 1 or 2"),
    ("version", True, "version: got True"),
    ("static", [3], "static: got"),
    ("static.config", [3], "config: got"),
    ("dtype", "float16", "dtype: got 'float16'"),
    ("dtype", {"a": 1}, "dtype: got"),
    ("units", {"vv": "1"}, "units: got"),
    ("shapes", {"mixture": [-1]}, "shapes: got"),
    ("shapes", 3, "shapes: got"),
    ("sha256", 7, "got other weights than card.json was written with"),
    ("sha256", None, "got other weights than card.json was written with"),
    ("static.config.width", "16", "config.width: got '16', expected int from 1 to 65536"),
    ("static.config.width", True, "config.width: got 'True'"),
    ("static.config.width", 10**9, "config.width: got '1000000000', expected int from 1 to 65536"),
    ("static.config.width", 60_000, "expected at most 100,000,000"),
    ("static.config.width", 8, r"variables.params.net.\S+: got shape"),
    ("static.config.dilations", [1] * 300, "config.dilations: got .* expected at most 256 items"),
    ("static.config.dilations", [1, -2, 4], r"config.dilations\[1\]: got '-2'"),
    ("static.config.net", "transformer", "config.net: got 'transformer', expected one of"),
    ("static.config.mixture", 1, "config.mixture: got '1', expected true or false"),
    ("static.config.gain_jitter", float("inf"), "config.gain_jitter: got 'inf'"),
    ("static.config.chunk", 0, "config.chunk: got '0'"),
    ("static.config.train", None, "config.train: got 'None', expected a JSON object"),
    ("static.config.train.epochs", 10**8, "config.train.epochs: got"),
    ("static.config.train.schedule", "none", "config.train.schedule: got 'none'"),
    ("static.config.colour", 1, "config: got fields"),
]
FIELDS_1 = [
    ("weights_sha256", 7, "got other weights than card.json was written with"),
    ("config.gain", float("inf"), "config.gain_jitter: got 'inf'"),
    ("units", {"vv": "1"}, "units: got"),
]


def _change(folder, name, value):
    """The card with another value of a field, at any depth."""
    card = json.loads((folder / "card.json").read_text())
    *parts, last = name.split(".")
    inner = card
    for part in parts:
        inner = inner[part]
    inner[last] = value
    (folder / "card.json").write_text(json.dumps(card))


@pytest.mark.parametrize(("name", "value", "message"), FIELDS)
def test_cards_of_what_cannot_be(folder, name, value, message):
    _change(folder, name, value)
    _refused(folder, message)


@pytest.mark.parametrize(("name", "value", "message"), FIELDS_1)
def test_cards_of_version_1_of_what_cannot_be(old, name, value, message):
    _change(old, name, value)
    _refused(old, message)


@pytest.mark.parametrize("lost", ["kind", "static", "units", "shapes", "sha256"])
def test_cards_with_a_field_less(folder, lost):
    card = json.loads((folder / "card.json").read_text())
    del card[lost]
    (folder / "card.json").write_text(json.dumps(card))
    _refused(folder, f"{lost}: got none")


@pytest.mark.parametrize("lost", ["kind", "config", "units"])
def test_cards_of_version_1_with_a_field_less(old, lost):
    card = json.loads((old / "card.json").read_text())
    del card[lost]
    (old / "card.json").write_text(json.dumps(card))
    _refused(old, f"{lost}: got none")


@pytest.mark.parametrize("version", [1, 2])
def test_weights_that_were_changed_or_cut_off(folder, old, version):
    folder = folder if version == 2 else old
    (file,) = folder.rglob("arrays.npz")
    whole = file.read_bytes()
    rng = np.random.default_rng(0)
    for spoilt in (rng.bytes(len(whole)), whole[:-7], whole[: len(whole) // 2], b"", whole + b"!"):
        file.write_bytes(spoilt)
        _refused(folder, "got other weights than card.json was written with")
    file.unlink()
    _refused(folder, "arrays.npz: got none")


def _name_weights(folder):
    """The card as a forger makes it, whose SHA-256 is that of the arrays."""
    _change(folder, "sha256", arrays.digest(folder / saving.ARRAYS))


@pytest.mark.parametrize("seed", range(3))
def test_no_byte_can_be_changed_unseen_with_another_digest_either(folder, seed):
    """The checksums of the archive, or the shapes, or the names; else the numbers are the same."""
    file = folder / saving.ARRAYS
    whole = np.frombuffer(file.read_bytes(), np.uint8)
    expected = saving.load(folder)
    rng = np.random.default_rng(seed)
    for _ in range(60):
        spoilt = whole.copy()
        at = rng.integers(0, whole.size, rng.integers(1, 4))
        spoilt[at] ^= rng.integers(1, 256, at.size).astype(np.uint8)
        file.write_bytes(spoilt.tobytes())
        _name_weights(folder)
        message = _message(lambda: saving.load(folder))
        if message is not None:
            assert str(folder) in message
            continue
        _equal(saving.load(folder), expected)


def _forged(file, name, array):
    """The archive with another array of this name."""
    with np.load(file) as kept:
        held = {key: kept[key] for key in kept.files} | {name: array}
    arrays.write(file, held)


@pytest.mark.parametrize(
    ("name", "array", "message"),
    [
        ("variables.params.net.Dense_0.kernel", np.full((18, 16), np.nan, "f4"), "not finite"),
        ("moments.std", np.full((3, 4), -1.0, "f4"), "moments.std: got -1, expected 0 or more"),
        ("calibration.factor", np.zeros(2, "f4"), "calibration.factor: got 0"),
        ("level.std", np.float32(0.0), "level.std: got 0"),
        ("mixture", np.zeros(3, "f4"), r"mixture: got shape \(3,\), expected \(2,\)"),
        ("mixture", np.array(["a", "b"]), "mixture: got"),
        ("more", np.zeros(3, "f4"), "got one of 'more'"),
    ],
)  # fmt: skip
def test_weights_that_cannot_be(folder, name, array, message):
    _forged(folder / saving.ARRAYS, name, array)
    _name_weights(folder)
    _refused(folder, message)


def test_a_declared_size_asks_for_no_memory(tmp_path):
    path = tmp_path / "arrays.npz"
    for shape in ((10**12,), (3,)):
        header = f"{{'descr': '<f4', 'fortran_order': False, 'shape': {shape}, }}"
        text = header.ljust(117).encode() + b"\n"
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
            head = b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text
            # a thousand times as much as there should be
            file.writestr("x.npy", head + bytes(12_000_000))
        with pytest.raises(ValueError, match=r"x: got (shape|12,000,000 bytes, )") as caught:
            arrays.of_shapes(path, {"x": (3,)})
        assert str(path) in str(caught.value)


def test_a_save_that_was_cut_off_leaves_the_old_network(folder, monkeypatch):
    def _stopped(*_, **__):
        raise KeyboardInterrupt

    others = jax.tree.map(lambda leaf: leaf + 1, PARAMS)
    before = {p: p.read_bytes() for p in folder.rglob("*") if p.is_file()}
    for module, name in ((arrays, "write"), (arrays, "digest"), (os, "rename"), (os, "replace")):
        with monkeypatch.context() as patch:
            patch.setattr(module, name, _stopped)
            with pytest.raises(KeyboardInterrupt):
                saving.save(others, folder)
        assert {p: p.read_bytes() for p in folder.rglob("*") if p.is_file()} == before
        _equal(saving.load(folder), PARAMS)
    saving.save(others, folder)
    _equal(saving.load(folder), others)
    assert sorted(path.name for path in folder.iterdir()) == ["arrays.npz", "card.json"]
    assert [path.name for path in folder.parent.iterdir()] == ["net"]


def test_a_full_disk_costs_no_network(folder):
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (200, hard))
    try:
        with pytest.raises(OSError, match="too large"):
            saving.save(PARAMS, folder)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    _equal(saving.load(folder), PARAMS)
    assert [path.name for path in folder.parent.iterdir()] == ["net"]


def test_a_save_that_fails_leaves_nothing_beside(folder, monkeypatch):
    def _full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np.lib.format, "write_array", _full)
    with pytest.raises(OSError, match="No space left"):
        saving.save(PARAMS, folder)
    assert [path.name for path in folder.parent.iterdir()] == ["net"]
    _equal(saving.load(folder), PARAMS)


def test_a_network_is_saved_on_this_machine(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match="no folder of this machine"):
        saving.save(PARAMS, Path("s3://bucket/net"))
    assert not [*tmp_path.iterdir()]


@pytest.mark.parametrize("name", ["keep", "d/thesis.txt", "weights/_METADATA"])
def test_a_folder_that_holds_more_than_parameters_is_not_removed(folder, name):
    for other in (folder, *(folder.with_name(f"net.{end}") for end in ("part", "old"))):
        file = other / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("mine")
        with pytest.raises(ValueError, match=f"got a folder with {name}, expected parameters"):
            saving.save(PARAMS, folder)
        assert file.read_text() == "mine"
        file.unlink()
        if file.parent != other:
            file.parent.rmdir()
    saving.save(PARAMS, folder)
    _equal(saving.load(folder), PARAMS)
    assert [path.name for path in folder.parent.iterdir()] == ["net"]
    with pytest.raises(ValueError, match="got a file, expected a folder of parameters"):
        saving.save(PARAMS, folder / saving.CARD)


def _frozen():
    with np.load(OLD / "expected.npz") as file:
        stored = dict(file)
    return Series(*(stored.pop(name) for name in Series._fields[:5])), stored


@pytest.mark.parametrize("name", ["cnp", "mlp3"])
def test_folders_of_version_1_give_the_estimates_of_then(name, tmp_path):
    series, expected = _frozen()
    params = saving.load(OLD / name)
    predict = {"cnp": networks.predict, "mlp3": predict_mlp}[name]
    estimate = predict(params, series, series.day)
    np.testing.assert_allclose(estimate.mean, expected[name], atol=1e-6)
    # written anew it is of this version; a save replaces a folder of version 1
    shutil.copytree(OLD / name, tmp_path / "net")
    saving.save(params, tmp_path / "net")
    assert json.loads((tmp_path / "net" / "card.json").read_text())["version"] == saving.VERSION
    _equal(saving.load(tmp_path / "net"), params)
    assert sorted(path.name for path in (tmp_path / "net").iterdir()) == ["arrays.npz", "card.json"]


def test_the_earliest_folders_lack_a_level_and_do_not_name_their_weights(old):
    file = old / "weights" / "arrays.npz"
    with np.load(file) as kept:
        arrays.write(file, {k: kept[k] for k in kept.files if not k.startswith("level.")})
    card = json.loads((old / "card.json").read_text())
    del card["weights_sha256"]
    card["config"] |= {"bias": 0.3}
    (old / "card.json").write_text(json.dumps(card))
    params = saving.load(old)
    chex.assert_trees_all_equal(params.level, PRIOR)
    assert params.config.offset_jitter == 0.3
    file.write_bytes(file.read_bytes()[:-7])
    _refused(old, "arrays.npz: archive: ")
    shutil.rmtree(old / "weights")
    _refused(old, "arrays.npz: got none")


@pytest.mark.parametrize("double", [False, True], ids=["float32", "float64"])
def test_every_network_is_kept_so(tmp_path, double):
    with jax.enable_x64(double):
        dtype = jnp.zeros(0).dtype
        config = networks.MlpConfig(hidden=(4,), indices_from_db=True)
        ones = jax.tree.map(lambda leaf: jnp.ones(leaf.shape, dtype), mlp_template(config))
        two = jnp.full(2, 50.0, dtype)
        variables = patches.generator(patches.init_patch(jax.random.key(0), SMALL, dtype))
        patch = networks.CropsarParams(SMALL, variables, PARAMS.moments, two)
        patch = replace(patch, moments=jax.tree.map(lambda leaf: leaf[:1], patch.moments))
        patch = jax.tree.map(lambda leaf: jnp.asarray(leaf, dtype), patch)
        for params in (ones, patch):
            saving.save(params, tmp_path / "net")
            again = saving.load(tmp_path / "net")
            _equal(again, params)
            assert {leaf.dtype for leaf in jax.tree.leaves(again)} == {dtype}
    saving.save(jax.tree.map(np.asarray, ones), tmp_path / "net")
    _change(tmp_path / "net", "static.config.features", ["hh"])
    _refused(tmp_path / "net", r"config.features\[0\]: got 'hh', expected one of")


def test_single_date_networks_predict_the_same_again(tmp_path):
    config = networks.MlpConfig(hidden=(4,))
    ones = jax.tree.map(lambda leaf: np.ones(leaf.shape, np.float32), mlp_template(config))
    saving.save(ones, tmp_path / "net")
    found = predict_mlp(saving.load(tmp_path / "net"), SERIES, SERIES.day)
    expected = networks.mlp(config).predict(ones, SERIES, SERIES.day)
    np.testing.assert_array_equal(found.mean, expected.mean)


def test_moments_of_a_series_without_radar_are_kept(tmp_path):
    bare = SERIES._replace(radar_valid=SERIES.radar_valid & False)
    params = networks.adapt(START, bare)
    saving.save(params, tmp_path / "net")
    _equal(saving.load(tmp_path / "net"), params)


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Process:
    """As of a process: static fields of their own, a part that may be missing, a free length."""

    scale: jax.Array
    inputs: tuple[tuple[int, int], ...] = field(metadata={"static": True})
    inducing: int | None = field(default=None, metadata={"static": True})
    curve: jax.Array | None = None


@pytest.mark.parametrize("nodes", [None, 7])
def test_another_kind_is_one_entry(tmp_path, monkeypatch, nodes):
    def _template(static, dtype, shapes):
        scale = jnp.zeros(len(static["inputs"]), dtype)
        curve = jnp.zeros(shapes["curve"], dtype) if "curve" in shapes else None
        return Process(scale, static["inputs"], static["inducing"], curve)

    kind = saving.Kind(Process, _template, {"scale": 1e-9}, ("curve",))
    monkeypatch.setitem(saving.KINDS, "process", kind)
    curve = None if nodes is None else jnp.arange(float(nodes))
    params = Process(jnp.ones(2), ((0, 1), (2, 3)), nodes, curve)
    saving.save(params, tmp_path / "p")
    again = saving.load(tmp_path / "p")
    chex.assert_trees_all_equal(again, params)
    for name, value, message in (
        ("static.inputs", [[0, 1, 2]], r"inputs\[0\]: got .* expected two items"),
        ("static.inputs", [[0, 1]], r"scale: got shape \(2,\), expected \(1,\)"),
        ("shapes", {"scale": [2], "curve": [10**9]}, "shapes: got"),
        ("shapes", {"scale": [2], "curve": [10**8]}, "expected at most 100,000,000"),
    ):
        saving.save(params, tmp_path / "p")
        _change(tmp_path / "p", name, value)
        _refused(tmp_path / "p", message)
    with pytest.raises(ValueError, match="scale: got 0, expected 1e-09 or more"):
        saving.save(replace(params, scale=jnp.zeros(2)), tmp_path / "p")


def test_what_is_of_no_kind_is_refused(tmp_path):
    with pytest.raises(ValueError, match="params: got Calibration, expected those of one of"):
        saving.save(Calibration(*np.ones((3, 2), "f4")), tmp_path / "net")
    with pytest.raises(ValueError, match="moments: got none"):
        saving.save(START, tmp_path / "net")
    bad = replace(PARAMS, mixture=np.array([1.0, np.nan], "f4"))
    with pytest.raises(ValueError, match=r"mixture: got 1 of 2 numbers that are not finite"):
        saving.save(bad, tmp_path / "net")
    assert not [*tmp_path.iterdir()]


def test_shipped_files_that_are_damaged(tmp_path):
    shutil.copytree(FOLDER, tmp_path / "shipped")
    folder = tmp_path / "shipped"
    for name, message in (("cnp.npz", "archive: "), ("cnp.json", "got no JSON")):
        content = (folder / name).read_bytes()
        (folder / name).write_bytes(np.random.default_rng(0).bytes(len(content)))
        with pytest.raises(ValueError, match=message) as caught:
            pretrained(folder=folder)
        assert str(folder / name) in str(caught.value)
        (folder / name).write_bytes(content)
    write(folder, START, {})
    assert pretrained(CNP, folder=folder).level is PRIOR
    _forged(folder / "cnp.npz", "floor", np.ones(2, "f4"))
    with pytest.raises(ValueError, match=r"got other weights than cnp.json was written with"):
        pretrained(CNP, folder=folder)
    (folder / "cnp.json").unlink()
    with pytest.raises(ValueError, match=r"got no .*cnp.json"):
        pretrained(CNP, folder=folder)
