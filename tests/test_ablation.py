"""Ablations: what was measured is not measured again, and noise is not taken for a result."""

import itertools
import json
import shutil
from dataclasses import replace

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from tiny_photos import make_photos

import dirl_lib.ablation
from dirl_lib.ablation import (
    GROUPS,
    VARIANTS,
    Ablation,
    Images,
    ablate,
    claims,
    read_ablation,
    sign_flip_p,
)
from dirl_lib.cli import main
from dirl_lib.data.dataset import MaskedPhotos
from dirl_lib.evaluation import Evaluation, EvaluationError, ImageScore
from dirl_lib.losses import bce_loss, iou_loss, paper_losses
from dirl_lib.plotting import ablation_chart
from dirl_lib.recipes import TrainingRecipe, losses_of, override
from dirl_lib.types import Localization

RECIPE = TrainingRecipe(width=0.125, size=32, epochs=1, milestones=(), batch_size=4, log_every=1)


def evaluation(ious, *, variant="x", per_photo=1):
    """One image a score; AP and F1 are the IoU's half and double."""
    images = (
        ImageScore(
            variant, f"{n}", "", f"photo {n // per_photo}", None, 0.2, float(iou) / 2, 2 * float(iou), float(iou), 0.1
        )
        for n, iou in enumerate(ious)
    )
    return Evaluation(tuple(images), "paper", "some images")


def ablation(**variants):
    """Of each variant the scores of its seeds."""
    scores = {name.replace("_", "-"): dict(enumerate(map(evaluation, seeds))) for name, seeds in variants.items()}
    return Ablation(scores, "paper")


# The test of differences -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(3))
def test_signs_flipped_in_every_way_by_hand(seed):
    differences = np.random.default_rng(seed).normal(0.3, 1, 8)
    ways = np.array(list(itertools.product((1, -1), repeat=8)))
    flipped = abs((ways * differences).sum(axis=1))
    expected = np.mean(flipped >= abs(differences.sum()) - 1e-9)
    assert sign_flip_p(differences, range(8)) == pytest.approx(expected)


def test_many_images_of_one_photograph_are_one_witness():
    differences = np.random.default_rng(0).normal(0.3, 1, 8)
    once = sign_flip_p(differences, range(8))
    assert sign_flip_p(differences.repeat(10), np.arange(8).repeat(10)) == pytest.approx(once)
    assert sign_flip_p(differences.repeat(10), range(80)) < 0.5 * once  # were they independent


def test_no_difference_has_probability_one():
    assert sign_flip_p(np.zeros(30), range(30)) == 1


def test_under_equals_small_probabilities_are_as_rare_as_they_say():
    rng = np.random.default_rng(0)
    found = [sign_flip_p(rng.normal(0, 1, 12), range(12)) for _ in range(200)]
    assert 0.01 <= np.mean([p < 0.05 for p in found]) <= 0.10


# Tables and comparisons --------------------------------------------------------------------------------------------

RNG = np.random.default_rng(1)
WEAK = [RNG.normal(0.30, 0.05, 40) for _ in range(3)]
STRONG = [RNG.normal(0.50, 0.05, 40) for _ in range(3)]


def test_a_line_holds_means_over_images_and_seeds_and_the_spread_of_seeds():
    (line,) = ablation(row_03=[[0.1, 0.2, 0.3], [0.3, 0.4, 0.8]]).lines()
    assert (line.variant, line.seeds, line.images) == ("row-03", (0, 1), 3)
    assert line.iou.mean == pytest.approx(2.1 / 6)
    assert (line.ap.mean, line.f1.mean) == pytest.approx((2.1 / 12, 4.2 / 6))
    assert line.spread.iou == pytest.approx(np.std([0.2, 0.5], ddof=1))
    assert (line.printed.ap, line.printed.f1, line.printed.iou) == (0.7799, 0.7131, 0.6619)
    assert line.iou.low < line.iou.mean < line.iou.high
    assert [scores.iou for scores in line.by_seed] == pytest.approx([0.2, 0.5])
    assert [scores.f1 for scores in line.by_seed] == pytest.approx([0.4, 1.0])


def test_the_table_says_one_seed_and_what_the_paper_does_not_have():
    table = ablation(bce=[WEAK[0]], row_10=STRONG).table().splitlines()
    assert "| bce | 1 | - | - | - |" in table[2]
    assert table[2].endswith("| one seed |")
    assert "| row-10 | 3 | 80.02 | 0.7317 | 67.85 |" in table[3]


def test_a_difference_counts_where_photographs_and_seeds_say_so():
    found = ablation(row_01=WEAK, row_10=STRONG)
    up, down = found.compare("row-10", "row-01"), found.compare("row-01", "row-10")
    assert (up.verdict, down.verdict) == ("better", "worse")
    assert up.difference.mean == pytest.approx(np.mean(STRONG) - np.mean(WEAK))
    assert up.difference.low > 0.15
    assert up.by_photographs < 0.001
    assert up.by_seeds < 0.01
    assert found.compare("row-10", "row-01", "f1").difference.mean == pytest.approx(2 * up.difference.mean)


def test_a_difference_between_photographs_that_the_seeds_do_not_confirm_is_noise():
    lucky = ablation(row_01=[WEAK[0], WEAK[0] + 0.2], row_10=[WEAK[0] + 0.05, WEAK[0] + 0.25])
    compared = lucky.compare("row-10", "row-01")
    assert compared.by_photographs < 0.001
    assert compared.by_seeds > 0.5
    assert compared.verdict == "not larger than noise"


def test_one_seed_decides_nothing():
    assert ablation(row_01=[WEAK[0]], row_10=STRONG).compare("row-10", "row-01").verdict == "one seed: not decided"


def test_where_no_seed_differs_from_another_the_answer_is_plain():
    zeros, ones = np.zeros(40), np.ones(40)
    found = ablation(row_01=[zeros, zeros], row_02=[zeros, zeros], row_10=[ones, ones])
    assert found.compare("row-02", "row-01").by_seeds == 1
    assert found.compare("row-02", "row-01").verdict == "not larger than noise"
    assert found.compare("row-10", "row-01").by_seeds == 0
    assert found.compare("row-10", "row-01").verdict == "better"


def test_agreement_is_kendalls_tau_with_the_papers_order():
    levels = {"row_01": 0.1, "row_02": 0.2, "row_03": 0.3, "row_10": 0.4, "bce": 0.9}
    assert ablation(**{name: [[level] * 3] for name, level in levels.items()}).agreement() == 1
    swapped = levels | {"row_01": 0.2, "row_02": 0.1}
    assert ablation(**{name: [[level] * 3] for name, level in swapped.items()}).agreement() == pytest.approx(4 / 6)
    assert ablation(bce=[[0.1]]).agreement() is None
    assert ablation(row_01=[[0.0, 0.0]], row_02=[[0.0, 0.0]]).agreement() is None


def test_the_chart_shows_means_intervals_and_every_seed():
    found = ablation(row_01=WEAK, bce=STRONG[:1])
    lines = {line.variant: line for line in found.lines()}
    fig = ablation_chart({"row-10": None} | lines, "iou", labels={"bce": "no SSIM"}, floor=0.2)
    left, right = fig.axes
    assert [text.get_text() for text in left.get_yticklabels()] == ["row-10", "row-01", "no SSIM"]
    assert sorted(left.lines[0].get_xdata()) == pytest.approx([64.74, 67.85])
    assert [text.get_text() for text in right.texts] == ["not run"]
    points = [list(line.get_xdata()) for line in right.lines]
    assert points[1] == pytest.approx([100 * np.mean(scores) for scores in WEAK])
    assert points[0] == pytest.approx([100 * np.mean(WEAK)])
    assert points[3] == pytest.approx([100 * np.mean(STRONG[0])])
    (low, _), (high, _) = right.collections[0].get_segments()[0]
    assert (low, high) == pytest.approx((100 * lines["row-01"].iou.low, 100 * lines["row-01"].iou.high))
    assert [20, 20] in [list(line.get_xdata()) for line in right.lines]
    assert len(ablation_chart({"bce": lines["bce"]}, "f1").axes) == 1
    for bad in (({}, "iou"), (lines, "mae")):
        with pytest.raises(ValueError, match="expected one of ap, f1, iou"):
            ablation_chart(*bad)
    plt.close("all")


def test_only_steps_whose_rows_were_run_are_claims():
    assert claims(ablation(row_01=WEAK, row_02=WEAK, row_10=WEAK, row_09=WEAK)) == [
        ("row-02", "row-01"),
        ("row-10", "row-09"),
    ]


# Variants ----------------------------------------------------------------------------------------------------------


def test_every_variant_is_a_change_of_a_recipe_and_stands_in_one_group():
    base = TrainingRecipe()
    for values in VARIANTS.values():
        assert override(base, values)
    grouped = [name for group in GROUPS.values() for name in group]
    assert sorted(grouped) == sorted(VARIANTS)
    for group in GROUPS.values():
        changed = [override(replace(base, imagenet=False), VARIANTS[name]) for name in group]
        assert len({json.dumps(vars(recipe)) for recipe in changed}) == len(group)


def test_losses_between_the_papers_and_the_released_ones():
    generator = torch.Generator().manual_seed(0)
    mask = (torch.rand((2, 1, 32, 32), generator=generator) > 0.7).float()
    maps = [torch.rand((2, 1, 32 // 2**k, 32 // 2**k), generator=generator) for k in range(6)]

    def of(loss):
        prediction = maps[0].clone().requires_grad_()
        found = Localization(prediction, tuple(maps[1:]), {})
        losses = losses_of(replace(RECIPE, loss=loss), found, mask)
        losses["total"].backward()
        return losses, prediction.grad

    paper = paper_losses(Localization(maps[0], tuple(maps[1:]), {}), mask)
    bce, gradient = of("bce")
    assert set(bce) == {"bce", "attention", "total"}
    assert bce["total"].item() == pytest.approx((paper["bce"] + 0.1 * paper["attention"]).item())
    alone = maps[0].clone().requires_grad_()
    bce_loss(alone, mask).backward()
    torch.testing.assert_close(gradient, alone.grad)
    more, _ = of("paper+iou")
    assert more["total"].item() == pytest.approx((paper["total"] + iou_loss(maps[0], mask)).item())


# Runs --------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    photos = make_photos(tmp_path_factory.mktemp("photos"), 8)

    def images(recipe):
        return Images(MaskedPhotos(photos, recipe.size), None, MaskedPhotos(photos[:4], recipe.size))

    return images


@pytest.fixture(scope="module")
def finished(data, tmp_path_factory):
    """Two rows with two seeds: what was said, what came out, and the folder."""
    out, said = tmp_path_factory.mktemp("ablation"), []
    return said, ablate(RECIPE, ["row-01", "row-03"], seeds=(0, 1), data=data, out=out, tell=said.append), out


@pytest.fixture
def copied(finished, tmp_path):
    shutil.copytree(finished[2], tmp_path / "out")
    return tmp_path / "out"


def test_runs_go_seed_by_seed_and_differ_where_they_should(finished):
    said, found, out = finished
    assert [line.split(": ")[0] for line in said] == [f"row-0{row}, seed {seed}" for seed in (0, 1) for row in (1, 3)]
    assert [line.seeds for line in found.lines()] == [(0, 1), (0, 1)]
    assert len({image.ap for runs in found.scores.values() for run in runs.values() for image in run.images}) > 12
    assert len((out / "scores/row-01/seed-0/log.csv").read_text().splitlines()) == 3
    summary = json.loads((out / "scores/row-03/seed-1/summary.json").read_text())
    assert (summary["recipe"]["model"], summary["recipe"]["seed"], summary["images_seen"]) == ("row-03", 1, 8)
    assert {"command", "commit", "hardware", "versions"} <= summary.keys()


def test_what_was_measured_is_not_measured_again(data, finished, copied, monkeypatch):
    monkeypatch.setattr(dirl_lib.ablation, "fit", lambda *_, **__: pytest.fail("trained again"))
    again = ablate(RECIPE, ["row-03"], seeds=(1,), data=data, out=copied)
    assert again.scores["row-03"][1] == finished[1].scores["row-03"][1]
    assert read_ablation(copied / "scores").scores == finished[1].scores
    stretched = read_ablation(copied / "scores", protocol="released")
    assert stretched.protocol == "released"
    assert stretched.lines()[0].ap == pytest.approx(finished[1].lines()[0].ap)


def test_what_is_not_finished_is_not_read_unless_it_is_asked_for(copied):
    (copied / "scores/row-01/seed-1/summary.json").unlink()
    shutil.rmtree(copied / "scores/row-03/seed-0")
    (copied / "scores/row-07/seed-0").mkdir(parents=True)
    found = read_ablation(copied / "scores")
    assert {name: list(runs) for name, runs in found.scores.items()} == {"row-01": [0], "row-03": [1]}
    assert list(read_ablation(copied / "scores", variants=["row-03"]).scores["row-03"]) == [1]
    with pytest.raises(FileNotFoundError, match=r"row-01/seed-1/summary\.json: no such file"):
        read_ablation(copied / "scores", variants=["row-01"], seeds=[1])
    with pytest.raises(FileNotFoundError, match="found no scores of an ablation"):
        read_ablation(copied / "scores", variants=["row-07"])


def test_a_run_that_was_stopped_before_it_was_measured_is_measured_without_training(data, finished, copied):
    (copied / "scores/row-01/seed-0/summary.json").unlink()
    assert (copied / "runs/row-01/seed-0/last.safetensors").is_file()
    again = ablate(RECIPE, ["row-01"], seeds=(0,), data=data, out=copied)
    assert again.scores["row-01"][0].images == finished[1].scores["row-01"][0].images


def test_a_second_stage_begins_with_the_weights_of_the_same_variant_and_seed(data, finished, tmp_path, monkeypatch):
    began = []
    monkeypatch.setattr(dirl_lib.ablation, "fit", lambda *_, **given: began.append(given["start_from"]) or _stop())

    def _stop():
        raise KeyboardInterrupt

    for variant, seed in (("row-03", 1), ("row-01", 0)):
        with pytest.raises(KeyboardInterrupt):
            ablate(RECIPE, [variant], seeds=(seed,), data=data, out=tmp_path, start_from=finished[2])
    assert began == [finished[2] / f"runs/{run}/last.safetensors" for run in ("row-03/seed-1", "row-01/seed-0")]
    monkeypatch.undo()
    ablate(RECIPE, ["row-03"], seeds=(1,), data=data, out=tmp_path, start_from=finished[2])
    log = (tmp_path / "scores/row-03/seed-1/log.csv").read_text()
    assert log != (finished[2] / "scores/row-03/seed-1/log.csv").read_text()


def test_scores_of_another_recipe_and_of_other_images_are_refused(data, copied):
    with pytest.raises(ValueError, match=r"row-01/seed-0: holds scores of another recipe \(epochs 1, expected 2\)"):
        ablate(replace(RECIPE, epochs=2), ["row-01"], seeds=(0,), data=data, out=copied)
    path = copied / "scores/row-03/seed-0/per_image.csv"
    path.write_text(path.read_text().replace("photo 3", "photo 9"))
    with pytest.raises(EvaluationError, match="row-03/seed-0: found scores of other images than row-01's"):
        read_ablation(copied / "scores")


def test_unknown_variants_and_empty_folders_meet_one_line(data, tmp_path):
    with pytest.raises(ValueError, match="found the variant 'row-11', expected one of row-01, "):
        ablate(RECIPE, ["row-11"], data=data, out=tmp_path)
    with pytest.raises(FileNotFoundError, match="found no scores of an ablation"):
        read_ablation(tmp_path)


def test_the_command_trains_measures_and_tells_the_difference(tmp_path, capsys):
    photos = make_photos(tmp_path / "photos", 12)
    rows = [
        f"{photo.image_path.name},{photo.mask_path.name},{photo.photo},{('train', 'val', 'test')[number % 3]}"
        for number, photo in enumerate(photos)
    ]
    table = tmp_path / "photos" / "index.csv"
    table.write_text("\n".join(["image,mask,photo,split", *rows]) + "\n")
    options = ["ablate", "--recipe", "quick", "--data", str(table), "--out", str(tmp_path / "out")]
    options += ["--variants", "row-01", "row-02", "--seeds", "0", "--cache", str(tmp_path / "cache")]
    options += ["--size", "32", "--width", "0.125", "--epochs", "1", "--batch-size", "4"]
    assert main(options) == 0
    said = capsys.readouterr().out
    assert "row-02, seed 0: IoU " in said
    assert "| row-01 | 1 | 74.90 | 0.6717 | 64.74 | " in said
    assert "row-02 against row-01: IoU " in said
    assert "one seed: not decided" in said
    assert main(options) == 0
    assert "row-02, seed 0: measured before" in capsys.readouterr().out
    assert main([*options, "--variants", "unet"]) == 1
    assert "found the variant 'unet'" in capsys.readouterr().err

    assert len(list((tmp_path / "out" / "test").glob("*/images/*.png"))) == 2 * 4

    kept = tmp_path / "kept"
    stage = [*options, "--out", str(tmp_path / "second"), "--start-from", str(tmp_path / "out")]
    assert main([*stage, "--keep-composites", str(kept)]) == 0
    assert len(list(kept.iterdir())) == 1  # one seed, two variants
    assert "row-02, seed 0: IoU " in capsys.readouterr().out
