"""Folders of weights that are damaged, forged, cut off or old: refused by name, or read."""

import json
import os
import resource
import shutil
import zipfile
from pathlib import Path
from typing import NamedTuple

import jax
import numpy as np
import orbax.checkpoint as ocp
import pytest
from sequence_worlds import CNP, world

from s1jax import arrays, networks, train
from s1jax.networks.mlp import MlpParams, like
from s1jax.networks.pretrained import FOLDER, pretrained, write

SERIES, _ = world(0, 6)
START = networks.SequenceParams(networks.initial(jax.random.key(0), CNP), None, networks.PLAIN)
PARAMS = networks.adapt(START, SERIES)


@pytest.fixture
def folder(tmp_path):
    networks.save(tmp_path / "net", CNP, PARAMS, SERIES)
    return tmp_path / "net"


def _refused(folder, message):
    with pytest.raises(ValueError, match=message) as caught:
        networks.load(folder)
    assert str(folder) in str(caught.value)
    # what another library says is no part of what is shown
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__ or caught.value.__context__ is None


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
    ("config", [3], "config: got"),
    ("dtype", "float16", "dtype: got 'float16'"),
    ("dtype", {"a": 1}, "dtype: got"),
    ("units", {"vv": "1"}, "units: got"),
    ("cadence_days", "often", "cadence_days: got 'often'"),
    ("cadence_days", float("nan"), "cadence_days: got nan"),
    ("cadence_days", -12, "cadence_days: got -12"),
    ("quantiles_01_50_99", {"vv": [1, 2, 3]}, "quantiles_01_50_99: got"),
    ("quantiles_01_50_99", {"vv": [1, 3, 2], "vh": None}, "quantiles_01_50_99.vv: got"),
    ("quantiles_01_50_99", {"vv": None, "vh": [1, "2", 3]}, "quantiles_01_50_99.vh: got"),
    ("weights_sha256", 7, "got other weights than card.json was written with"),
    ("config.width", "16", "config.width: got '16', expected int from 1 to 65536"),
    ("config.width", True, "config.width: got 'True'"),
    ("config.width", 10**9, "config.width: got '1000000000', expected int from 1 to 65536"),
    ("config.width", 60_000, "expected at most 100,000,000"),
    ("config.width", 8, r"variables.params.net.\S+: got shape"),
    ("config.dilations", [1] * 300, "config.dilations: got .* expected at most 256 items"),
    ("config.dilations", [1, -2, 4], r"config.dilations\[1\]: got '-2'"),
    ("config.net", "transformer", "config.net: got 'transformer', expected one of"),
    ("config.mixture", 1, "config.mixture: got '1', expected true or false"),
    ("config.gain", float("inf"), "config.gain: got 'inf'"),
    ("config.chunk", 0, "config.chunk: got '0'"),
    ("config.train", None, "config.train: got 'None', expected a JSON object"),
    ("config.train.epochs", 10**8, "config.train.epochs: got"),
    ("config.train.schedule", "none", "config.train.schedule: got 'none'"),
    ("config.colour", 1, "config: got fields"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "value", "message"), FIELDS)
def test_cards_of_what_cannot_be(folder, name, value, message):
    card = json.loads((folder / "card.json").read_text())
    *parts, last = name.split(".")
    inner = card
    for part in parts:
        inner = inner[part]
    inner[last] = value
    if name.startswith("config"):
        # a forger leaves it out
        del card["weights_sha256"]
    (folder / "card.json").write_text(json.dumps(card))
    _refused(folder, message)


@pytest.mark.parametrize("lost", ["kind", "config", "units", "quantiles_01_50_99"])
def test_cards_with_a_field_less(folder, lost):
    card = json.loads((folder / "card.json").read_text())
    del card[lost]
    (folder / "card.json").write_text(json.dumps(card))
    _refused(folder, f"{lost}: got none")


def test_weights_that_were_changed_or_cut_off(folder):
    (file,) = (path for path in (folder / "weights").rglob("*") if path.is_file())
    whole = file.read_bytes()
    rng = np.random.default_rng(0)
    for spoilt in (rng.bytes(len(whole)), whole[:-7], whole[: len(whole) // 2], b"", whole + b"!"):
        file.write_bytes(spoilt)
        _refused(folder, "got other weights than card.json was written with")
    file.unlink()
    _refused(folder, "arrays.npz: got none")
    shutil.rmtree(folder / "weights")
    _refused(folder, "arrays.npz: got none")


@pytest.mark.parametrize("seed", range(3))
def test_no_byte_can_be_changed_unseen_without_a_digest_either(folder, seed):
    """The checksums of the archive, or the shapes, or the names; else the numbers are the same."""
    card = json.loads((folder / "card.json").read_text())
    del card["weights_sha256"]
    (folder / "card.json").write_text(json.dumps(card))
    file = folder / "weights" / train.FILE
    whole = np.frombuffer(file.read_bytes(), np.uint8)
    expected = train.restore(folder / "weights", PARAMS._replace(history=np.zeros((20, 2), "f4")))
    rng = np.random.default_rng(seed)
    for _ in range(60):
        spoilt = whole.copy()
        at = rng.integers(0, whole.size, rng.integers(1, 4))
        spoilt[at] ^= rng.integers(1, 256, at.size).astype(np.uint8)
        file.write_bytes(spoilt.tobytes())
        message = _message(lambda: networks.load(folder))
        if message is not None:
            assert str(folder) in message
            continue
        again = train.restore(folder / "weights", expected)
        for a, b in zip(jax.tree.leaves(again), jax.tree.leaves(expected), strict=True):
            np.testing.assert_array_equal(a, b)


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
        ("bands.factor", np.zeros(2, "f4"), "bands.factor: got 0"),
        ("level.std", np.float32(0.0), "level.std: got 0"),
        ("mixture", np.zeros(3, "f4"), r"mixture: got shape \(3,\), expected \(2,\)"),
        ("mixture", np.array(["a", "b"]), "mixture: got"),
        ("more", np.zeros(3, "f4"), "got one of 'more'"),
    ],
)  # fmt: skip
def test_weights_that_cannot_be(folder, name, array, message):
    _forged(folder / "weights" / train.FILE, name, array)
    card = json.loads((folder / "card.json").read_text())
    card["weights_sha256"] = arrays.digest(folder / "weights" / train.FILE)
    (folder / "card.json").write_text(json.dumps(card))
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


def test_a_save_that_was_cut_off_leaves_the_old_network_or_none_that_loads(folder, monkeypatch):
    def _stopped(*_):
        raise KeyboardInterrupt

    others = jax.tree.map(lambda leaf: leaf + 1, PARAMS)
    networks.save(folder, CNP, PARAMS, SERIES)
    before = {p: p.read_bytes() for p in folder.rglob("*") if p.is_file()}
    for module, name in ((arrays, "write"), (arrays, "digest"), (os, "rename")):
        with monkeypatch.context() as patch:
            patch.setattr(module, name, _stopped)
            with pytest.raises(KeyboardInterrupt):
                networks.save(folder, CNP, others, SERIES)
        assert {p: p.read_bytes() for p in folder.rglob("*") if p.is_file()} == before
        assert callable(networks.load(folder))
    real = os.replace

    def _without_card(part, path):
        return _stopped() if str(path).endswith("card.json") else real(part, path)

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", _without_card)
        with pytest.raises(KeyboardInterrupt):
            networks.save(folder, CNP, others, SERIES)
    with pytest.raises(ValueError, match=r"got other weights than card.json was written with"):
        networks.load(folder)
    networks.save(folder, CNP, PARAMS, SERIES)
    assert callable(networks.load(folder))
    assert sorted(path.name for path in folder.iterdir()) == ["card.json", "weights"]


def test_a_full_disk_costs_no_network(folder):
    networks.save(folder, CNP, PARAMS, SERIES)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (200, hard))
    try:
        with pytest.raises(OSError, match="too large"):
            networks.save(folder, CNP, PARAMS, SERIES)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert callable(networks.load(folder))
    assert sorted(path.name for path in folder.iterdir()) == ["card.json", "weights"]


def test_a_network_is_saved_on_this_machine(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match="no folder of this machine"):
        networks.save(Path("s3://bucket/net"), CNP, PARAMS, SERIES)
    assert not [*tmp_path.iterdir()]


class _Earlier(NamedTuple):
    """What a network learnt before it knew a level."""

    variables: object
    moments: object
    bands: object
    history: object
    mixture: object


@pytest.mark.filterwarnings("default")  # orbax and its dependencies warn of their own future
def test_folders_of_earlier_versions_are_read_and_their_damage_told(folder):
    whole = PARAMS._replace(history=np.full((20, 2), np.nan, np.float32))
    old = _Earlier(*jax.tree.map(jax.numpy.asarray, whole)[:5])
    weights = folder / "weights"
    shutil.rmtree(weights)
    with ocp.StandardCheckpointer() as checkpointer:
        checkpointer.save(weights, old)
    card = json.loads((folder / "card.json").read_text())
    del card["weights_sha256"]
    (folder / "card.json").write_text(json.dumps(card))
    days = np.append(SERIES.day, SERIES.day[-1] + np.float32(100.0))
    found = networks.load(folder)(SERIES, days)
    expected = networks.fill(PARAMS._replace(level=networks.PRIOR), SERIES, days, config=CNP)
    for a, b in zip(found, expected, strict=True):
        np.testing.assert_array_equal(a, b)
    files = sorted(path for path in weights.rglob("*") if path.is_file())
    refused = 0
    for path in files:
        content = path.read_bytes()
        path.write_bytes(np.random.default_rng(0).bytes(len(content)))
        message = _message(lambda: networks.load(folder))
        if message is not None:
            assert str(weights) in message
            refused += 1
        else:
            # of files that orbax does not look at
            np.testing.assert_array_equal(networks.load(folder)(SERIES, days).mean, found.mean)
        path.write_bytes(content)
    assert refused >= 3
    card["config"]["width"] = 8
    (folder / "card.json").write_text(json.dumps(card))
    _refused(folder, r"variables.params.net.\S+: got shape .* expected")


def test_single_date_networks_are_kept_so_too(tmp_path):
    config = networks.MlpConfig(hidden=(4,))
    params = like(config)
    assert isinstance(params, MlpParams)
    ones = jax.tree.map(lambda leaf: np.ones(leaf.shape, np.float32), params)
    networks.save(tmp_path / "net", config, ones, SERIES)
    found = networks.load(tmp_path / "net")(SERIES, SERIES.day)
    expected = networks.mlp(config).predict(ones, SERIES, SERIES.day)
    np.testing.assert_array_equal(found.mean, expected.mean)
    path = tmp_path / "net" / "card.json"
    card = json.loads(path.read_text())
    card["config"]["features"][0] = "hh"
    path.write_text(json.dumps(card))
    _refused(tmp_path / "net", r"config.features\[0\]: got 'hh', expected one of")


def test_a_series_without_radar_is_kept_and_checks_none(tmp_path):
    bare = SERIES._replace(valid=SERIES.valid & np.array([False, False, True]))
    networks.save(tmp_path / "net", CNP, networks.adapt(START, bare), bare)
    card = json.loads((tmp_path / "net" / "card.json").read_text())
    assert card["quantiles_01_50_99"] == {"vv": None, "vh": None}
    assert callable(networks.load(tmp_path / "net"))


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
    write(folder, CNP, START, {})
    assert pretrained(CNP, folder=folder).level is networks.PRIOR
    _forged(folder / "cnp.npz", "floor", np.ones(2, "f4"))
    with pytest.raises(ValueError, match=r"got other weights than cnp.json was written with"):
        pretrained(CNP, folder=folder)
    (folder / "cnp.json").unlink()
    with pytest.raises(ValueError, match=r"got no .*cnp.json"):
        pretrained(CNP, folder=folder)
