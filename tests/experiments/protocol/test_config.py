"""Flags win over presets, unknown ones are errors, help names units."""

import pytest

from experiments.protocol import config
from experiments.protocol.config import METHODS, USUAL, parse


def test_defaults_are_the_head_to_head():
    found = parse([])
    assert found.methods == USUAL
    assert found.training_pixels <= 6000
    assert found.seeds == (0,)


def test_flags_win_over_the_preset():
    found = parse(["--preset", "quick", "--mlp10.train.epochs", "7", "--training-pixels", "33"])
    assert found.mlp10.train.epochs == 7
    assert found.training_pixels == 33
    assert found.mlp3.train.epochs == config.PRESETS["quick"].mlp3.train.epochs
    assert found.scene.height == config.PRESETS["quick"].scene.height


def test_yardsticks_always_run_and_all_means_all():
    assert parse(["--methods", "mogpr"]).methods == (*METHODS[:4], "mogpr")
    assert parse(["--methods", "all"]).methods == METHODS


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--methods", "mlp33"], r"methods: got \('mlp33',\), expected names among"),
        (["--tasks", "T9"], r"tasks: got \('T9',\)"),
        (["--save-cube", "map.tif"], r"save_cube: got map.tif"),
        (["--methods", "mlp3", "--save-method", "mogpr"], r"save_method: got 'mogpr'"),
        (["--save-cube", "a.nc", "--tasks", "T1"], r"save_cube: got tasks"),
        (["--start", "2023-11-01"], r"start, step: got them without a cube"),
    ],
)
def test_bad_values_are_told(arguments, message):
    with pytest.raises(ValueError, match=message):
        parse(arguments)


@pytest.mark.parametrize(
    "arguments", [["--mlp10.width", "3"], ["--split", "pixels"], ["--preset", "x"]]
)
def test_unknown_fields_and_choices_are_errors(arguments, capsys):
    with pytest.raises(SystemExit) as stop:
        parse(arguments)
    assert stop.value.code == 2
    assert capsys.readouterr().err


def test_help_explains_each_option_with_its_unit(capsys):
    with pytest.raises(SystemExit):
        parse(["--help"])
    text = " ".join(capsys.readouterr().out.replace("│", " ").split())
    for words in ("--cube", "--mask", "--start", "--step", "--split", "--save-cube", "metres",
                  "Length of a period, days", "--mogpr.latents", "--mlp10.train.learning-rate",
                  "--boosting.window", "--whittaker.order", "Share of units dropped"):  # fmt: skip
        assert words in text, words
