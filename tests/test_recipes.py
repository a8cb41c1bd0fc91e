"""Recipes: every number of a training, refused where it cannot be."""

import dataclasses
import json

import pytest
import torch

from dirl_lib.cli import main
from dirl_lib.models import create_model
from dirl_lib.recipes import RECIPES, TrainingRecipe, losses_of, override, read_recipe


def test_the_paper_and_the_released_code():
    paper, released = RECIPES["paper"], RECIPES["released"]
    for recipe in (paper, released):
        assert (recipe.optimizer, recipe.learning_rate, recipe.weight_decay) == ("adam", 1e-4, 1e-4)
        assert (recipe.batch_size, recipe.epochs, recipe.imagenet) == (8, 60, True)
    assert (paper.size, paper.loss, paper.attention_weight, paper.milestones) == (256, "paper", 0.1, (30,))
    assert (released.size, released.loss, released.attention_weight) == (224, "released", 1.0)
    assert released.milestones == (30, 40, 50, 55)


def test_the_released_schedule_in_numbers():
    rates = [RECIPES["released"].learning_rate_at(epoch * 8031, 8031) for epoch in (0, 29, 30, 39, 40, 50, 55, 59)]
    assert rates == [1e-4, 1e-4, 5e-5, 5e-5, 2.5e-5, 1.25e-5, 6.25e-6, 6.25e-6]


def test_warm_up_and_cool_down_are_straight_lines():
    recipe = TrainingRecipe(learning_rate=1.0, milestones=(), epochs=10, warmup_steps=4, cooldown_epochs=2)
    assert [recipe.learning_rate_at(step, 5) for step in range(5)] == [0.25, 0.5, 0.75, 1.0, 1.0]
    assert [recipe.learning_rate_at(step, 5) for step in (39, 40, 45, 49)] == pytest.approx([1.0, 1.0, 0.5, 0.1])


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"loss": "mse"}, "loss must be one of paper, released, bce, .*; found 'mse'"),
        ({"epochs": 0}, "epochs must be above 0; found 0"),
        ({"learning_rate": float("nan")}, "learning_rate must be above 0; found nan"),
        ({"clip_norm": -1.0}, "clip_norm must not be negative; found -1.0"),
        ({"average": 1.0}, r"average must lie in \[0, 1\); found 1.0"),
        ({"model": "unet"}, "model must be one of paper, released, .*; found 'unet'"),
        ({"batch_size": 8, "accumulate": 3}, "batch_size 8 cannot be divided into 3 parts"),
        ({"untouched": 0.6, "foreign": 0.6}, "shares of one whole; found 0.6"),
        ({"epochs": 2, "cooldown_epochs": 3}, "cooldown_epochs 3 does not fit into 2 epochs"),
        ({"imagenet": True, "width": 0.5}, "ImageNet weights fit width 1 only; found width 0.5"),
    ],
)
def test_what_cannot_be_is_refused(values, message):
    with pytest.raises(ValueError, match=message):
        TrainingRecipe(**values)


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("epochs", "3", 3),
        ("learning_rate", "3e-4", 3e-4),
        ("learning_rate", "1", 1.0),
        ("imagenet", "True", True),
        ("milestones", "30,40", (30, 40)),
        ("milestones", "[]", ()),
        ("milestones", "", ()),
        ("loss", "released", "released"),
    ],
)
def test_a_command_line_gives_text(name, text, value):
    changed = getattr(override(TrainingRecipe(), {name: text}), name)
    assert changed == value
    assert type(changed) is type(value)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"epoch": "3"}, "a recipe has no 'epoch'; perhaps you meant 'epochs'"),
        ({"epochs": "three"}, "epochs: found 'three', expected a whole number"),
        ({"epochs": 2.5}, "epochs: found 2.5, expected a whole number"),
        ({"epochs": True}, "epochs: found True, expected a whole number"),
        ({"imagenet": "1"}, "imagenet: found 1, expected true or false"),
        ({"milestones": "30,x"}, "milestones: found '30,x', expected whole numbers, as 30,40"),
        ({"learning_rate": "fast"}, "learning_rate: found 'fast', expected a number"),
        ({"loss": 3}, "loss: found 3, expected a word"),
    ],
)
def test_a_wrong_value_is_told_what_was_expected(values, message):
    with pytest.raises(ValueError, match=message):
        override(TrainingRecipe(), values)


def test_a_file_changes_a_preset(tmp_path):
    path = tmp_path / "mine.json"
    path.write_text(json.dumps({"recipe": "small", "epochs": 150, "milestones": [100]}))
    assert read_recipe(path) == dataclasses.replace(RECIPES["small"], epochs=150, milestones=(100,))


@pytest.mark.parametrize("text", ["", "[]", '{"recipe": "huge"}', '{"epoch": 3}'])
def test_a_file_that_is_no_recipe_is_named(tmp_path, text):
    (tmp_path / "mine.json").write_text(text)
    with pytest.raises(ValueError, match=r"mine.json: not a recipe"):
        read_recipe(tmp_path / "mine.json")


def test_an_unknown_recipe_is_told_which_there_are():
    with pytest.raises(ValueError, match="huge: no such recipe; expected paper, released, quick, small, or a"):
        read_recipe("huge")


def test_every_field_is_an_option_that_explains_itself(capsys):
    with pytest.raises(SystemExit):
        main(["train", "--help"])
    said = " ".join(capsys.readouterr().out.split())
    for field in dataclasses.fields(TrainingRecipe):
        assert f"--{field.name.replace('_', '-')} VALUE" in said
    assert "Longest gradient; longer ones are shortened." in said


def test_attention_is_held_against_the_mask_only_where_the_preset_says_so():
    torch.manual_seed(0)
    found = create_model("paper", width=0.125)(torch.rand(2, 3, 32, 32))
    mask = (torch.rand(2, 1, 32, 32) > 0.5).float()
    supervised = losses_of(TrainingRecipe(width=0.125), found, mask)
    alone = losses_of(TrainingRecipe(model="row-08", width=0.125), found, mask)
    assert supervised["total"].item() == pytest.approx(alone["total"].item() + 0.1 * supervised["attention"].item())
    assert "attention" not in alone
