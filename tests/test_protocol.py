"""The head to head leaks nothing: markers in test labels move no fit and no other prediction."""

import dataclasses

import chex
import jax
import numpy as np
import pytest

from experiments import protocol
from experiments.config import METHODS as ALL_NAMES
from experiments.config import PRESETS, complete
from experiments.methods import methods
from experiments.protocol import Data
from experiments.splits import Fold, Split
from s1jax import hiding
from s1jax.baselines import BoostingConfig, KnnSpaceConfig, WhittakerConfig
from s1jax.hybrid import HybridConfig
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
from s1jax.types import Estimate, Estimator, Series

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
    "switch": HybridConfig(network=TcnS1Config(**SERIES), threshold=0.5, switched=MOGPR),
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
        s1 = _data().series.value[..., :2]
    value = np.concatenate([s1, ndvi[..., None]], -1).astype(np.float32)
    valid = np.random.default_rng(1).random(value.shape) < np.array([0.95, 0.95, 0.6])
    place = np.stack([np.arange(PIXELS) * 100.0, np.zeros(PIXELS)], -1).astype(np.float32)
    series = Series(day, np.where(valid, value, 0).astype(np.float32), valid, place)
    return Data(series, None, None, None)


FOLD = Fold(np.arange(30), np.arange(30, 40), np.arange(40, 60), np.repeat([0, 1], 10))
SPLIT = Split((FOLD,), ())


# patch models need a map: their leak test is in test_cropsar
METHOD_NAMES = tuple(name for name in ALL_NAMES if "cropsar" not in name)
CONFIG = complete(dataclasses.replace(PRESETS["quick"], methods=METHOD_NAMES, **SMALL))
METHODS = methods(CONFIG)


def _everything(data, tasks=("T1", "T2b", "T2e")):
    """Fitted parameters and estimates of all methods."""
    gaps = protocol.draw_gaps(jax.random.key(3), tasks, data)
    learnt, estimates = {}, {}
    for method, task, estimate in protocol.head_to_head(
        jax.random.key(4), METHODS, data, SPLIT, gaps,
        learnt=lambda name, fold, params: learnt.setdefault(name, params),
    ):  # fmt: skip
        estimates[method, task] = estimate
    return learnt, estimates, gaps


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


@pytest.fixture(scope="module")
def plain():
    return _everything(_data())


def test_every_method_answers_every_task_it_can(plain):
    _, estimates, _ = plain
    without_t1 = ("linear", "whittaker")
    expected = {(m, t) for m in set(METHOD_NAMES) - set(without_t1) for t in ("T1", "T2b", "T2e")}
    expected |= {(m, t) for m in without_t1 for t in ("T2b", "T2e")}
    assert set(estimates) == expected
    for name, estimate in estimates.items():
        chex.assert_shape((estimate.mean, estimate.std), (20, DATES))
        assert np.isfinite(estimate.mean).all(), name
        assert (estimate.std > 0).all(), name
        assert (estimate.noise >= 0).all(), name


def test_marker_in_hidden_test_labels_moves_nothing(plain):
    learnt, estimates, gaps = plain
    where = np.zeros((PIXELS, DATES), bool)
    where[FOLD.test] = (gaps["T2b"] & gaps["T2e"])[FOLD.test]  # hidden in T1 too, as all are
    assert where.any()
    marked_learnt, marked, _ = _everything(_data(0.987, where))
    for name, params in marked_learnt.items():
        assert _same(params, learnt[name]), f"{name} learnt from test labels"
    assert set(marked) == set(estimates)
    for key, estimate in marked.items():
        assert _same(estimate[:3], estimates[key][:3]), f"{key} saw hidden labels"


def test_marker_in_a_test_pixel_moves_no_other_pixel(plain):
    _, estimates, gaps = plain
    where = np.zeros((PIXELS, DATES), bool)
    where[47] = True
    _, marked, _ = _everything(_data(0.987, where), ("T2b",))
    moved = set()
    for (name, task), estimate in marked.items():
        same = (estimate.mean == estimates[name, task].mean).all(1)
        assert same[np.arange(20) != 7].all(), f"{name}: a test pixel moved another"
        if not same[7]:
            moved.add(name)
    own = {"linear", "whittaker", "boosting", "mogpr", "birnn", "shipped", "cnp", "hybrid"}
    own |= {"ensemble", "mogpr_pixel"}
    # a switch asks MOGPR, which sees it, where half of the dates are clear
    clear = (np.asarray(_data().series.valid)[47, :, -1] & ~gaps["T2b"][47]).mean() >= 0.5
    assert moved == own | ({"switch"} if clear else set())


def test_t2e_hides_its_dates_from_training_too(plain):
    _, estimates, gaps = plain
    where = np.zeros((PIXELS, DATES), bool)
    where[:40] = gaps["T2e"][:40]
    _, marked, _ = _everything(_data(0.987, where), ("T2e",))
    for key, estimate in marked.items():
        assert _same(estimate[:3], estimates[key][:3]), f"{key} learnt from hidden dates"


def test_view_scores_hidden_labels_and_counts_who_is_left_out():
    data = _data()
    gap = np.zeros((PIXELS, DATES), bool)
    gap[:, 5:10] = True
    valid = data.series.valid.copy()
    valid[40, :, -1] = False
    valid[41, :, -1] = gap[41]
    valid[42, 5:10, -1] = False
    data = data._replace(
        series=data.series._replace(valid=valid), truth=np.full((PIXELS, DATES), 0.3)
    )
    view = protocol.view(data, SPLIT, "T2b", gap)
    assert view.left_out == 3
    assert not view.scored["labels"][:3].any()
    np.testing.assert_array_equal(view.scored["labels"][3:], (valid[43:, :, -1] & gap[43:]))
    assert (view.scored["truth"][3:] == gap[43:]).all()
    assert not (view.kept & view.scored["labels"]).any()


def test_split_without_labels_is_told():
    data = _data()
    valid = data.series.valid.copy()
    valid[FOLD.test, :, -1] = False
    empty = data._replace(series=data.series._replace(valid=valid))
    with pytest.raises(ValueError, match=r"test pixels: got 20 with 0 valid labels of 774"):
        protocol.check(empty, SPLIT)


def test_subsample_keeps_clusters_with_their_pixels():
    small = protocol.subsample(SPLIT, (10, None, 5), seed=0).folds[0]
    assert [p.size for p in small[:3]] == [10, 10, 5]
    np.testing.assert_array_equal(small.cluster, (small.test - 40) // 10)
    assert (protocol.subsample(SPLIT, (10, None, 5), seed=0).folds[0].test == small.test).all()


def test_take_slices_every_array_alike():
    series = _data().series
    smooth = np.random.default_rng(2).normal(-15, 1, (PIXELS, DATES, 2)).astype(np.float32)
    pixels, time = np.array([7, 3, 50]), slice(4, 20)
    part = protocol.take(series._replace(smooth=smooth, wide=2 * smooth), pixels, time)
    np.testing.assert_array_equal(part.wide, 2 * smooth[pixels, 4:20])
    np.testing.assert_array_equal(part.smooth, smooth[pixels, 4:20])
    np.testing.assert_array_equal(part.value, series.value[pixels, 4:20])
    np.testing.assert_array_equal(part.valid, series.valid[pixels, 4:20])
    np.testing.assert_array_equal(part.place, series.place[pixels])
    np.testing.assert_array_equal(part.day, series.day[4:20])
    bare = protocol.take(series._replace(place=None), pixels)
    assert bare.smooth is None
    assert bare.place is None


def test_hiding_labels_leaves_the_filtered_radar():
    series = _data().series
    smooth = np.ones((PIXELS, DATES, 2), np.float32)
    seen = hiding.without(series._replace(smooth=smooth), np.ones((PIXELS, DATES), bool))
    np.testing.assert_array_equal(seen.smooth, smooth)
    assert not seen.valid[..., -1].any()


def test_what_other_methods_have_learnt_is_not_learnt_again(plain):
    learnt, _, _ = plain
    assert _same(learnt["hybrid"].process.mean, learnt["tcn_s1"])
    assert _same(learnt["switch"], (learnt["mogpr"], learnt["tcn_s1"]))
    assert _same(learnt["ensemble"].members, (learnt["cnp"], learnt["hybrid"]))


def test_spatial_method_sees_all_radar_and_the_labels_that_were_drawn():
    seen = {}

    def _fit(key, training, validation):
        seen["training"] = training
        return ()

    def _predict(params, series, days):
        seen["test"] = series
        shape = (len(series.valid), len(days))
        mean = np.broadcast_to(np.asarray(series.place)[:, :1], shape)
        return Estimate(mean, np.ones(shape), np.zeros(()))

    whole = (np.arange(30), np.arange(30, 40), np.arange(40, 60))
    fold = Fold(np.arange(0, 30, 2), whole[1], np.arange(41, 60, 3), np.zeros(7, int), whole=whole)
    data = _data()
    gaps = protocol.draw_gaps(jax.random.key(3), ("T2b",), data)
    method = protocol.Method("m", Estimator(_fit, _predict), ("T2b",), spatial=True)
    ((_, _, told),) = protocol.head_to_head(
        jax.random.key(4), [method], data, Split((fold,), ()), gaps
    )
    valid = np.asarray(data.series.valid)
    np.testing.assert_array_equal(seen["training"].valid[..., :2], valid[:30, :, :2])
    label = np.asarray(seen["training"].valid)[..., -1]
    np.testing.assert_array_equal(label[::2], valid[:30:2, :, -1])
    assert not label[1::2].any()
    shown = np.asarray(seen["test"].valid)[..., -1]
    np.testing.assert_array_equal(shown[1::3], valid[41:60:3, :, -1] & ~gaps["T2b"][41:60:3])
    assert not np.delete(shown, np.arange(1, 20, 3), axis=0).any()
    # the answer is of the pixels that were asked for
    np.testing.assert_array_equal(told.mean[:, 0], 100.0 * np.arange(41, 60, 3))
