"""The bench of the networks: what it counts, what it times, and that PyTorch does the same work."""

import json
from dataclasses import replace
from importlib.util import find_spec

import flax.traverse_util
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.report.tables import Table
from experiments.speed import bed
from experiments.speed import networks as bench
from experiments.speed.__main__ import COMMANDS
from s1jax import train
from s1jax.networks import CnpConfig, Mlp3Config, Mlp10Config
from s1jax.networks.inputs import CHANNELS
from s1jax.networks.mlp import init_mlp, mlp_loss, mlp_network
from s1jax.networks.model import init, network
from s1jax.train import State, TrainConfig, rows_per_batch
from tests.worlds.sequence import CNP, DATES, world

pytestmark = pytest.mark.slow

needs_torch = pytest.mark.skipif(
    find_spec("torch") is None, reason="torch is not installed (extra `bench`)"
)
MLP10 = Mlp10Config(hidden=(16, 8), dropout=(0.2,), train=TrainConfig(epochs=4))
TINY = replace(CNP, width=4, dilations=(1,), chunk=16)
SMALL = {"rows": 256, "batch_rows": 64, "epochs": 2, "repeats": 1, "pixels": 40}


@pytest.fixture(scope="module")
def part():
    """A fold of planted series."""
    train_, val, test = (world(seed, pixels=24)[0] for seed in range(3))
    label = test.ndvi.astype(np.float64)
    hidden = {"T2a": np.zeros(label.shape, bool)}
    return bed.Part("one", jax.random.key(0), train_, val, {"T2a": test}, label, hidden)


@pytest.fixture(scope="module")
def config():
    return bench.NetworksBench(mlp10=MLP10, cnp=TINY, **SMALL)


def test_flop_are_those_that_xla_counts():
    cnp = replace(CnpConfig(pretrained=False), dilations=(1, 2))
    pixels, dates = 4, 30
    variables = init(jax.random.key(0), cnp)
    net = network(cnp)
    x = jnp.zeros((dates, pixels, CHANNELS))
    run = jax.jit(lambda params, x: net.apply({"params": params}, x))
    program = run.lower(variables.params["net"], x).compile()
    counted = program.cost_analysis()["flops"] / pixels
    assert bench.flop(cnp, dates) == pytest.approx(counted, rel=0.1)


def test_flop_by_hand():
    cnp = replace(CNP, width=2, dilations=(1,))
    # 3 dates: 18 numbers in and 4 out of 2 channels; one block: 3 x 3 + 1 + 3 products of 2 x 2
    assert bench.flop(cnp, 3) == 2 * (3 * 2 * 22 + 13 * 4)
    with pytest.raises(ValueError, match="net: got 'gru', expected 'tcn'"):
        bench.flop(replace(CNP, net="gru"), 3)


def test_rate_of_a_product(monkeypatch):
    monkeypatch.setattr(bench.beds, "best", lambda run, repeats: (2.0, run()))
    assert bench.matmul_rate(8, "float32") == 8**3
    assert bench.matmul_rate(8, "bfloat16") == 8**3


def test_stored_rows_are_those_looked_up(part):
    data, validation = bench.looked_up(MLP10, part.train, part.val, 100)
    kept = bench.stored(MLP10, data)
    x = np.asarray(kept.rows[0])
    assert x.shape == (100, 10)
    np.testing.assert_allclose(x.mean(0), 0, atol=1e-3)
    np.testing.assert_allclose(x.std(0), 1, atol=1e-2)
    variables = init_mlp(jax.random.key(0), MLP10, jnp.float32)
    for key in (None, jax.random.key(1)):
        want = mlp_loss(MLP10)(key, variables, data)
        got = bench.loss_of_stored(MLP10)(key, variables, kept)
        for a, b in zip(jax.tree.leaves(got), jax.tree.leaves(want), strict=True):
            np.testing.assert_allclose(a, b, atol=1e-5)
    assert len(validation.rows.ndvi) > 0
    with pytest.raises(ValueError, match=r"got [\d,]+ in training .* expected 1,000,000"):
        bench.looked_up(MLP10, part.train, part.val, 1_000_000)


def test_epochs_go_on_from_each_other():
    seen = []

    def _fit(key, variables):
        seen.append((int(variables), jax.random.key_data(key).tolist()))
        history = jnp.full((1, 2), 10.0 - variables)
        return State(variables + 1, None, None, None, None, None, None, history)

    one = bench.trainer(_fit, jax.random.key(0), jnp.asarray(3))
    passes = [one(), one()]
    assert [p.loss for p in passes] == [7.0, 6.0]
    assert all(p.seconds >= 0 for p in passes)
    assert [number for number, _ in seen] == [3, 4]
    assert seen[0][1] != seen[1][1]


def test_in_turn_drops_the_warm_up():
    order = []

    def _of(name, seconds):
        left = iter(seconds)
        return lambda: order.append(name) or next(left)

    trained = {"a": _of("a", [9.0, 1.0, 2.0]), "b": _of("b", [8.0, 3.0, 4.0])}
    assert bench.in_turn(trained, 2) == {"a": [1.0, 2.0], "b": [3.0, 4.0]}
    assert order == ["a", "b"] * 3


def test_table_and_figures(part, config, tmp_path, monkeypatch):
    monkeypatch.setattr(bench.beds, "load", lambda *_: bed.Bed("planted", "none", (part,)))
    monkeypatch.setattr(bench, "find_spec", lambda name: None)
    monkeypatch.setattr(bench, "matmul_rate", lambda size, dtype: 1e12)
    folder = bench.bench(replace(config, out=tmp_path, peers=True, bfloat16=True))
    content = json.loads((folder / "metrics.json").read_text())
    assert content["missing"] == ["torch is not installed: its rows are left out (extra `bench`)"]
    rows = {(row["name"], row["dtype"]): row for row in content["rows"]}
    assert set(rows) == {
        ("s1jax mlp10", "float32"), ("s1jax mlp10, stored", "float32"), ("s1jax cnp", "float32"),
        ("s1jax cnp, whole", "float32"), ("cnp predict", "float32"), ("cnp predict", "bfloat16"),
    }  # fmt: skip
    ours = rows["s1jax mlp10", "float32"]
    assert (ours["rows"], ours["batch_rows"]) == (256, 64)
    assert ours["times_ours"] == 1.0
    cnp = rows["s1jax cnp", "float32"]
    assert cnp["rows"] == int(part.train.ndvi_valid.any(1).sum())
    assert cnp["batch_rows"] == rows_per_batch(cnp["rows"], TINY.train)
    row = rows["cnp predict", "float32"]
    assert row["pixels"] == 40
    assert row["px_per_s"] == pytest.approx(40 / row["seconds"])
    flop = bench.flop(TINY, DATES)
    assert row["share_of_matmul"] == pytest.approx(flop * row["px_per_s"] / 1e12)
    assert row["scene_s"] == pytest.approx(671 * 893 / row["px_per_s"])
    assert row["kb_per_px"] > 4 * DATES * TINY.width / 1e3
    text = (folder / "table.md").read_text()
    assert "cnp, all of its training from random weights: " in text
    assert "| s1jax mlp10, stored |" in text


def test_the_subcommand_is_registered():
    assert COMMANDS["networks"] == (bench.NetworksBench, bench.bench)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"rows": 32}, "rows: got 32, expected a batch of 64"),
        ({"epochs": 0}, "epochs, repeats: got 0, 1"),
        ({"cnp": replace(CNP, net="window")}, "net: got 'window'"),
    ],
)
def test_what_cannot_be_timed_is_refused(config, options, words, tmp_path):
    with pytest.raises(ValueError, match=words):
        bench.bench(replace(config, out=tmp_path / "none", **options))
    assert not (tmp_path / "none").exists()


@needs_torch
def test_beside_a_gpu_torch_is_told_to_use_one(part, monkeypatch):
    import torch

    if torch.cuda.is_available():
        pytest.skip("there is one")
    stored = bench.stored(MLP10, bench.looked_up(MLP10, part.train, part.val, 128)[0])
    start = init_mlp(jax.random.key(0), MLP10, jnp.float32)
    monkeypatch.setattr(bench.jax, "default_backend", lambda: "gpu")
    with (
        bench.in_torch(["resident"], MLP10, start, stored) as others,
        pytest.raises(RuntimeError, match=r"(?is)PyTorch, resident: .*(cuda|nvidia)"),
    ):
        others["resident"]()


def test_whole_training_is_timed_and_told(part):
    cnp = replace(TINY, train=replace(TINY.train, epochs=2, batch_rows=8, batches=3))
    told = bench.whole_training(cnp, part, seed=0)
    assert told["seconds"] > 0.0
    assert "from random weights: 6 steps of 8 of 24 pixels in" in told["words"]
    assert told["words"].endswith("compiling included")


def test_compile_is_left_out_without_a_compiler(config, monkeypatch):
    monkeypatch.setattr(bench, "find_spec", lambda name: name)
    monkeypatch.setattr(bench.shutil, "which", lambda name: None)
    names, missing = bench._peers(replace(config, peers=True))
    assert names == ["document", "document, no workers", "resident"]
    assert "compiler" in missing[0]
    assert bench._peers(config) == ([], [])


@pytest.fixture
def pair():
    """The network in flax with statistics of its own, and the same in PyTorch."""
    from experiments.speed.peers import torch as with_torch

    config = replace(MLP10, hidden=(24, 16, 8), dropout=(0.0, 0.0))
    start = init_mlp(jax.random.key(3), config, jnp.float32)
    rng = np.random.default_rng(0)
    moved = jax.tree.map(
        lambda leaf: leaf + jnp.asarray(rng.uniform(0.0, 0.1, leaf.shape), leaf.dtype), start
    )
    options = {"hidden": [24, 16, 8], "dropout": [], "batch_norm": True, "tanh": False}
    net = with_torch.copied(with_torch.network(10, **options), bench.arrays(moved))
    x, y = rng.normal(size=(64, 10)).astype("f4"), rng.normal(size=64).astype("f4")
    return mlp_network(config), moved, net, x, y


@needs_torch
def test_torch_has_the_same_network(pair):
    import torch

    flax_net, variables, net, x, _ = pair
    want = flax_net.apply(variables._asdict(), jnp.asarray(x), training=False)
    with torch.no_grad():
        got = net.eval()(torch.from_numpy(x))[:, 0].numpy()
    assert got.std() > 0.01
    np.testing.assert_allclose(got, want, atol=1e-5)


@needs_torch
def test_torch_has_the_same_gradient(pair):
    import torch

    flax_net, variables, net, x, y = pair

    def _loss(params):
        tree = {"params": params, "batch_stats": variables.batch_stats}
        out, _ = flax_net.apply(tree, jnp.asarray(x), training=True, mutable=["batch_stats"])
        return ((out - y) ** 2).mean()

    want = flax.traverse_util.flatten_dict(jax.grad(_loss)(variables.params), sep="/")
    loss = torch.nn.MSELoss()(net.train()(torch.from_numpy(x)), torch.from_numpy(y)[:, None])
    loss.backward()
    dense = [layer for layer in net if isinstance(layer, torch.nn.Linear)]
    for k, layer in enumerate(dense):
        np.testing.assert_allclose(layer.weight.grad.T, want[f"Dense_{k}/kernel"], atol=1e-4)
    norms = [layer for layer in net if isinstance(layer, torch.nn.BatchNorm1d)]
    assert (len(dense), len(norms)) == (4, 3)
    for k, layer in enumerate(norms):
        np.testing.assert_allclose(layer.weight.grad, want[f"BatchNorm_{k}/scale"], atol=1e-4)


@needs_torch
def test_torch_takes_the_same_step(part):
    import torch

    from experiments.speed.peers import torch as with_torch

    rate = {"learning_rate": 0.01, "weight_decay": 1e-5}
    options = TrainConfig(batch_rows=128, batches=1, epochs=1, **rate)
    config = replace(MLP10, dropout=(), train=options)
    data = [bench.stored(config, some) for some in bench.looked_up(
        config, part.train, part.val, 128
    )]  # fmt: skip
    start = init_mlp(jax.random.key(0), config, jnp.float32)
    loss = bench.loss_of_stored(config)
    one = bench.trainer(
        lambda key, start: train.fit(key, loss, start, *data, config=options),
        jax.random.key(1),
        start,
    )
    x, y = (torch.from_numpy(np.array(leaf)) for leaf in data[0].rows)
    net = with_torch.network(10, hidden=[16, 8], dropout=[], batch_norm=True, tanh=False)
    net = with_torch.copied(net, bench.arrays(start))
    other = with_torch.loop("resident", net, x, y[:, None], batch_rows=128, **rate)
    # all rows in one batch: the second loss is that after one step of AdamW
    want, got = [one().loss for _ in range(2)], [other() for _ in range(2)]
    assert want[1] < want[0] - 1e-3
    np.testing.assert_allclose(got, want, rtol=1e-4)


@needs_torch
def test_layers_of_torch():
    from torch import nn

    from experiments.speed.peers import torch as with_torch

    net = with_torch.network(3, hidden=[8, 4], dropout=[0.3], batch_norm=False, tanh=True)
    kinds = [nn.Linear, nn.ReLU, nn.Dropout, nn.Linear, nn.ReLU, nn.Linear, nn.Tanh]
    assert [type(layer) for layer in net] == kinds
    assert net[2].p == 0.3


@needs_torch
@pytest.mark.parametrize("name", ["document, no workers", "resident"])
def test_loops_learn_from_every_row(name):
    import torch

    from experiments.speed.peers import torch as with_torch

    torch.manual_seed(0)
    rng = np.random.default_rng(0)
    x = torch.from_numpy(rng.normal(size=(256, 3)).astype("f4"))
    y = x[:, :1] - 0.5 * x[:, 1:2]
    net = with_torch.network(3, hidden=[16], dropout=[], batch_norm=True, tanh=False)
    epoch = with_torch.loop(name, net, x, y, batch_rows=64, learning_rate=0.02, weight_decay=1e-5)
    losses = [epoch() for _ in range(30)]
    assert losses[-1] < 0.1 * losses[0]
    steps = int(net[1].num_batches_tracked)
    assert steps == 30 * 4
    with pytest.raises(ValueError, match="loop: got 'none'"):
        with_torch.loop("none", net, x, y, batch_rows=1, learning_rate=1.0, weight_decay=0.0)


@needs_torch
def test_epochs_of_the_other_process(part):
    stored = bench.stored(MLP10, bench.looked_up(MLP10, part.train, part.val, 128)[0])
    start = init_mlp(jax.random.key(0), MLP10, jnp.float32)
    with bench.in_torch(["resident", "none"], MLP10, start, stored) as others:
        assert others["resident"]().loss == pytest.approx(1, abs=0.5)
        with pytest.raises(RuntimeError, match=r"(?s)PyTorch, none: .*expected one of"):
            others["none"]()
    residual = replace(MLP10, residual=True)
    with (
        pytest.raises(ValueError, match="residual: got True"),
        bench.in_torch([], residual, start, stored),
    ):
        pass


def test_names_of_the_loops_agree():
    if find_spec("torch") is not None:
        from experiments.speed.peers import torch as with_torch

        assert set(bench.PEERS) == set(with_torch.WORKERS) | set(with_torch.RESIDENT)
    assert Mlp3Config().train == Mlp10Config().train
    assert Table(bench.EPOCHS, []).markdown().startswith("| name |")
