"""The head to head leaks nothing: markers in test labels move no fit and no other prediction."""

import dataclasses

import chex
import jax
import numpy as np
import pytest

from experiments.protocol import head_to_head, splits
from experiments.protocol.config import METHODS as ALL_NAMES
from experiments.protocol.config import PRESETS, complete
from experiments.protocol.data import Data
from experiments.protocol.head_to_head import methods
from experiments.protocol.splits import Fold, Split
from s1jax.baselines import BoostingConfig, KnnSpaceConfig, WhittakerConfig
from s1jax.methods import METHODS as METHOD_TABLE
from s1jax.methods import HybridConfig, SwitchConfig
from s1jax.mogpr import MogprConfig
from s1jax.networks import (
    BirnnConfig,
    CnpConfig,
    Mlp3Config,
    Mlp10Config,
    MlpWindowConfig,
    TcnS1Config,
)
from s1jax.train import TrainConfig
from s1jax.types import Estimate, Estimator
from tests.worlds.mogpr import series_of

PIXELS, DATES = 60, 32
TRAIN = TrainConfig(epochs=2, batches=4)
SERIES = {"width": 8, "dilations": (1, 2), "chunk": 32, "train": TRAIN, "pretrained": False}
# the regional curve is what could leak; what validation chooses is tested with the choice
MOGPR = MogprConfig(
    latents=1, hyper="region", mean="regional", inputs="raw", sample=8, iterations=3, chunk=16
)
SMALL = {
    "mlp3": Mlp3Config(train=TRAIN, chunk=32),
    "mlp10": Mlp10Config(train=TRAIN, chunk=32),
    "boosting": BoostingConfig(iterations=20, rows=4000, draws=2),
    "mogpr": MOGPR,
    "mogpr_pixel": MOGPR,
    "whittaker": WhittakerConfig(penalties=(1e4,)),
    "knn_space": KnnSpaceConfig(neighbours=2),
    "mlp_window": MlpWindowConfig(hidden=(8,), chunk=32, train=TRAIN),
    "tcn_s1": TcnS1Config(**SERIES),
    "birnn": BirnnConfig(width=8, layers=1, chunk=32, train=TRAIN),
    "cnp": CnpConfig(**SERIES),
    "hybrid": HybridConfig(
        network=TcnS1Config(**SERIES),
        process=MogprConfig(
            latents=1, inputs="none", mean="zero", hyper="region", sample=8, iterations=3, chunk=16
        ),
    ),
    "switch": SwitchConfig(network=TcnS1Config(**SERIES), process=MOGPR),
}


def _data(marker=0.0, where=None):
    rng = np.random.default_rng(0)
    day = np.float32(19668) + 12 * np.arange(DATES, dtype=np.float32)
    phase = rng.uniform(0, 6, (PIXELS, 1))
    ndvi = 0.5 + 0.3 * np.sin(day / 40 + phase) + 0.02 * rng.normal(size=(PIXELS, DATES))
    if where is not None:
        ndvi = np.where(where, marker, ndvi)
    if where is None:
        s1 = np.stack([-12 + 3 * ndvi, -19 + 5 * ndvi], -1) + rng.normal(0, 2, (PIXELS, DATES, 2))
    else:
        s1 = _data().series.radar[..., 0, :]
    value = np.concatenate([s1, ndvi[..., None]], -1).astype(np.float32)
    valid = np.random.default_rng(1).random(value.shape) < np.array([0.95, 0.95, 0.6])
    position = np.stack([np.arange(PIXELS) * 100.0, np.zeros(PIXELS)], -1).astype(np.float32)
    value = np.where(valid, value, 0).astype(np.float32)
    return Data(series_of(day, value, valid, position=position))


FOLD = Fold(np.arange(30), np.arange(30, 40), np.arange(40, 60), np.repeat([0, 1], 10))
SPLIT = Split((FOLD,), ())


# patch models need a map: their leak test is in test_cropsar
METHOD_NAMES = tuple(name for name in ALL_NAMES if "cropsar" not in name)
CONFIG = complete(dataclasses.replace(PRESETS["quick"], methods=METHOD_NAMES, **SMALL))
METHODS = methods(CONFIG)
FEW = ("climatology", "linear", "knn_space", "mogpr")
"""Those without a training, where all would take a minute."""


def _everything(names, data, tasks=("T1", "T2b", "T2e")):
    """Fitted parameters and estimates of these methods."""
    chosen = [method for method in METHODS if method.name in names]
    masks = head_to_head.draw_masks(jax.random.key(3), tasks, data)
    fits, estimates = {}, {}
    for method, task, estimate, _ in head_to_head.head_to_head(
        jax.random.key(4), chosen, data, SPLIT, masks,
        on_fit=lambda name, fold, params: fits.setdefault(name, params),
    ):  # fmt: skip
        estimates[method, task] = estimate
    return fits, estimates, masks


PROBE = np.random.default_rng(9).normal(size=(200, 1))


def _arrays(tree):
    """All fitted numbers; a fitted tree ensemble by what it predicts on fixed rows."""
    out = []
    for leaf in jax.tree.leaves(tree):
        if hasattr(leaf, "predict"):
            rows = np.broadcast_to(PROBE, (200, leaf.n_features_in_)) - 10.0
            out.append(leaf.predict(rows))
        else:
            out.append(np.asarray(leaf))
    assert out
    assert all(array.dtype != object for array in out)
    return out


def _same(a, b):
    a, b = _arrays(a), _arrays(b)
    return len(a) == len(b) and all(
        np.array_equal(x, y, equal_nan=True) for x, y in zip(a, b, strict=True)
    )


@pytest.fixture(
    scope="module",
    params=[FEW, pytest.param(METHOD_NAMES, marks=pytest.mark.slow)],
    ids=["few", "all"],
)
def names(request):
    return request.param


@pytest.fixture(scope="module")
def plain(names):
    return _everything(names, _data())


def test_every_method_answers_every_task_it_can(names, plain):
    _, estimates, _ = plain
    without_t1 = {name for name, method in METHOD_TABLE.items() if method.needs_ndvi}
    expected = {(m, t) for m in set(names) - without_t1 for t in ("T1", "T2b", "T2e")}
    expected |= {(m, t) for m in without_t1 & set(names) for t in ("T2b", "T2e")}
    assert set(estimates) == expected
    for name, estimate in estimates.items():
        chex.assert_shape((estimate.mean, estimate.std), (20, DATES))
        assert np.isfinite(estimate.mean).all(), name
        assert (estimate.std > 0).all(), name
        assert (estimate.noise >= 0).all(), name


def test_marker_in_hidden_test_labels_moves_nothing(names, plain):
    fits, estimates, masks = plain
    where = np.zeros((PIXELS, DATES), bool)
    where[FOLD.test] = (masks["T2b"] & masks["T2e"])[FOLD.test]  # hidden in T1 too, as all are
    assert where.any()
    marked_fits, marked, _ = _everything(names, _data(0.987, where))
    for name, params in marked_fits.items():
        assert _same(params, fits[name]), f"{name} has seen test labels"
    assert set(marked) == set(estimates)
    for key, estimate in marked.items():
        assert _same(estimate[:3], estimates[key][:3]), f"{key} saw hidden labels"


def test_marker_in_a_test_pixel_moves_no_other_pixel(names, plain):
    _, estimates, masks = plain
    where = np.zeros((PIXELS, DATES), bool)
    where[47] = True
    _, marked, _ = _everything(names, _data(0.987, where), ("T2b",))
    moved = set()
    for (name, task), estimate in marked.items():
        same = (estimate.mean == estimates[name, task].mean).all(1)
        assert same[np.arange(20) != 7].all(), f"{name}: a test pixel moved another"
        if not same[7]:
            moved.add(name)
    reads_ndvi = {"linear", "whittaker", "boosting", "mogpr", "birnn", "shipped", "cnp", "hybrid"}
    reads_ndvi |= {"ensemble", "mogpr_pixel"}
    reads_none = {"climatology", "knn_space", "mlp3", "mlp10", "mlp_window", "tcn_s1"}
    # a switch asks MOGPR, which sees it, where half of the dates are clear
    clear = (np.asarray(_data().series.ndvi_valid)[47] & ~masks["T2b"][47]).mean() >= 0.5
    (reads_ndvi if clear else reads_none).add("switch")
    # a new method, which is in neither set, may do either
    assert moved & (reads_ndvi | reads_none) == reads_ndvi & set(names)


def test_t2e_hides_its_dates_from_training_too(names, plain):
    _, estimates, masks = plain
    where = np.zeros((PIXELS, DATES), bool)
    where[:40] = masks["T2e"][:40]
    _, marked, _ = _everything(names, _data(0.987, where), ("T2e",))
    for key, estimate in marked.items():
        assert _same(estimate[:3], estimates[key][:3]), f"{key} has seen hidden dates"


def test_test_set_scores_hidden_labels_and_counts_who_is_left_out():
    data = _data()
    mask = np.zeros((PIXELS, DATES), bool)
    mask[:, 5:10] = True
    valid = data.series.ndvi_valid.copy()
    valid[40] = False
    valid[41] = mask[41]
    valid[42, 5:10] = False
    data = data._replace(
        series=data.series._replace(ndvi_valid=valid), truth=np.full((PIXELS, DATES), 0.3)
    )
    test_set = head_to_head.test_set(data, SPLIT, "T2b", mask)
    assert test_set.left_out == 3
    assert not test_set.scored["labels"][:3].any()
    np.testing.assert_array_equal(test_set.scored["labels"][3:], (valid[43:] & mask[43:]))
    assert (test_set.scored["truth"][3:] == mask[43:]).all()
    assert not (test_set.kept & test_set.scored["labels"]).any()


def test_split_without_labels_is_told():
    data = _data()
    valid = data.series.ndvi_valid.copy()
    valid[FOLD.test] = False
    with pytest.raises(ValueError, match=r"test pixels: got 20 with 0 valid labels of 774"):
        splits.check(valid, SPLIT)


def test_subsample_keeps_clusters_with_their_pixels():
    small = splits.subsample(SPLIT, (10, None, 5), seed=0).folds[0]
    assert [p.size for p in small[:3]] == [10, 10, 5]
    np.testing.assert_array_equal(small.cluster, (small.test - 40) // 10)
    assert (splits.subsample(SPLIT, (10, None, 5), seed=0).folds[0].test == small.test).all()


@pytest.mark.slow
@pytest.mark.parametrize("names", [METHOD_NAMES], indirect=True, scope="module")
def test_the_fit_of_a_part_is_not_repeated(plain):
    fits, _, _ = plain
    assert _same(fits["hybrid"].params.mean, fits["tcn_s1"])
    assert _same(fits["switch"], (fits["mogpr"], fits["tcn_s1"]))
    assert _same(fits["ensemble"].params, (fits["cnp"], fits["hybrid"]))


def test_spatial_method_sees_all_radar_and_the_labels_that_were_drawn():
    seen = {}

    def _fit(key, training, validation):
        seen["training"] = training
        return ()

    def _predict(params, series, days):
        seen["test"] = series
        shape = (len(series.ndvi), len(days))
        mean = np.broadcast_to(np.asarray(series.position)[:, :1], shape)
        return Estimate(mean, np.ones(shape), np.zeros(shape[0]))

    whole = (np.arange(30), np.arange(30, 40), np.arange(40, 60))
    fold = Fold(np.arange(0, 30, 2), whole[1], np.arange(41, 60, 3), np.zeros(7, int), whole=whole)
    data = _data()
    masks = head_to_head.draw_masks(jax.random.key(3), ("T2b",), data)
    method = head_to_head.Method("m", Estimator(_fit, _predict), ("T2b",), spatial=True)
    ((_, _, estimate, _),) = head_to_head.head_to_head(
        jax.random.key(4), [method], data, Split((fold,), ()), masks
    )
    radar_valid, valid = data.series.radar_valid, data.series.ndvi_valid
    np.testing.assert_array_equal(seen["training"].radar_valid, radar_valid[:30])
    label = np.asarray(seen["training"].ndvi_valid)
    np.testing.assert_array_equal(label[::2], valid[:30:2])
    assert not label[1::2].any()
    shown = np.asarray(seen["test"].ndvi_valid)
    np.testing.assert_array_equal(shown[1::3], valid[41:60:3] & ~masks["T2b"][41:60:3])
    assert not np.delete(shown, np.arange(1, 20, 3), axis=0).any()
    # the answer is of the pixels that were asked for
    np.testing.assert_array_equal(estimate.mean[:, 0], 100.0 * np.arange(41, 60, 3))
