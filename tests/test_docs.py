"""Figures in the documents are those that were measured."""

import itertools
import json
import re
from pathlib import Path

import model_card
import pytest
from course.notebooks import read

from dirl_lib.ablation import Ablation, claims, read_ablation
from dirl_lib.evaluation import read_evaluation
from dirl_lib.weights import about

ROOT = Path(__file__).resolve().parents[1]
DATA = (ROOT / "docs" / "DATA.md").read_text(encoding="utf-8")


def record(name: str) -> dict:
    return json.loads((ROOT / "results" / f"{name}.json").read_text(encoding="utf-8"))


def row(start: str) -> list[str]:
    """The cells of the one table line of the last section that begins so."""
    section = DATA[DATA.index("## What was measured") :]
    return [
        [cell.strip() for cell in line.split("|")[2:-1]]
        for line in section.splitlines()
        if line.startswith(f"| {start} |")
    ]


@pytest.mark.parametrize("size", ["640 x 480", "4272 x 2848"])
def test_the_rates_of_the_store(size):
    rates = record("data")["results"][size]
    (cells,) = row(size)
    files, store = rates["files, released augmentation"], rates["store, released augmentation"]
    expected = [
        f"{files:.1f}",
        f"{store:.0f}",
        f"{store / files:.0f} x",
        f"{rates['store, as it is'] / rates['files, resized']:.0f} x",
        f"{rates['decoding at the decoder' + chr(39) + 's scale'] / rates['decoding whole']:.1f} x",
    ]
    assert cells == expected


@pytest.mark.parametrize("method", ["reinhard", "xiao_ma", "histogram", "idt"])
def test_the_rates_of_the_transfers_and_the_published_example(method):
    speed, example = row(method)
    rates = record("synthesis")["results"]
    for cell, area in zip(speed, ("5%", "20%", "50%"), strict=True):
        assert float(cell) == pytest.approx(rates[f"{method}, {area}"]["per second, median"], rel=0.02, abs=0.5)
    figures = record("hcoco_example")["results"][method]
    rounded = [
        " ".join(f"{value:.0f}" for value in figures[f"{what}, {whose}"])
        for what in ("mean", "spread")
        for whose in ("published", "ours")
    ]
    assert example[:4] == rounded
    ends = ("difference, mean", "difference, 0 to 4 px from the outline", "difference, 16 to 1000 px from the outline")
    assert [float(cell) for cell in example[4:]] == [figures[end] for end in ends]


@pytest.mark.parametrize("path", sorted((ROOT / "results").glob("*.json")), ids=lambda path: path.stem)
def test_a_result_has_its_provenance(path):
    result = json.loads(path.read_text(encoding="utf-8"))
    assert {"command", "date", "commit", "hardware", "versions"} <= result.keys()
    assert re.fullmatch(r"[0-9a-f]{12}", result["commit"])


def test_the_lines_to_paste_name_what_exists():
    import importlib

    for module, names in re.findall(r"from (dirl_lib[\w.]*) import ([\w, ]+)", DATA):
        for name in names.split(", "):
            assert hasattr(importlib.import_module(module), name)


@pytest.mark.parametrize("name", model_card.blocks())
def test_the_model_card_shows_what_is_stored(name):
    begin, end = model_card.markers(name)
    _, _, rest = model_card.CARD.read_text(encoding="utf-8").partition(begin)
    assert rest.partition(end)[0] == model_card.blocks()[name]


@pytest.mark.parametrize("folder", sorted((ROOT / "results/dirl_small").iterdir()), ids=lambda folder: folder.name)
def test_the_scores_of_the_model_in_the_box_follow_from_its_images(folder):
    summary = json.loads((folder / "summary.json").read_text(encoding="utf-8"))
    rows = read_evaluation(folder).table().rows
    assert [row.ap.mean for row in rows] == pytest.approx([row["ap"]["mean"] for row in summary["table"]])
    assert [row.iou.low for row in rows] == pytest.approx([row["iou"]["low"] for row in summary["table"]])
    assert summary["images_seen"] == about()["images_seen"]
    assert "/" not in summary["command"].replace("benchmarks/", "").replace("../", "")


def test_both_recipes_were_validated_on_the_same_composites():
    folder = ROOT / "results/dirl_small_training"
    at_once, second = (json.loads((folder / f"{run}-recipe.json").read_text()) for run in ("at_once", "stage2"))
    for value in ("size", "oversample", "seed", "loss", "batch_size"):
        assert at_once["recipe"][value] == second["recipe"][value]
    assert at_once["data"]["names_sha256"] == second["data"]["names_sha256"]


def test_what_notebook_00_says_of_the_model_card_stands_there():
    cells = json.loads((ROOT / "notebooks/00_start_here.ipynb").read_text(encoding="utf-8"))["cells"]
    (text,) = ("".join(cell["source"]) for cell in cells if cell.get("id") == "trained-grade-read")
    (ap,) = re.findall(r"reaches an AP of (\d+) %", text)
    rows = {
        name: json.loads((ROOT / f"results/dirl_small/lalonde_efros-{name}/summary.json").read_text())["table"][0]
        for name in ("composites", "untouched")
    }
    assert int(ap) == round(100 * rows["composites"]["ap"]["mean"])
    assert "half a hundredth of the untouched" in text.replace("\n", " ")
    assert 0.003 < rows["untouched"]["predicted_area"] < 0.007


def notebook(number: str) -> str:
    (path,) = (ROOT / "notebooks").glob(f"{number}_*.ipynb")
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    return " ".join(" ".join("".join(cell["source"]).split()) for cell in cells if cell["cell_type"] == "markdown")


def test_what_is_said_of_the_ablation_stands_in_its_scores():
    found, said = read_ablation(ROOT / "results/ablation"), notebook("09")
    lines = {line.variant: line for line in found.lines()}
    assert all(line.seeds == (0, 1, 2) for line in lines.values())
    agree = [
        (lines[a].ap.mean - lines[b].ap.mean) * (lines[a].printed.ap - lines[b].printed.ap) > 0
        for a, b in itertools.combinations(lines, 2)
    ]
    assert f"{sum(agree)} of {len(agree)} pairs" in said
    steps = [found.compare(*step, "ap") for step in claims(found)]
    assert all(step.by_photographs < 0.05 and step.verdict == "not larger than noise" for step in steps)
    assert f"Even {100 * found.compare('row-10', 'row-07', 'ap').difference.mean:.0f} points of AP" in said
    begun = {name: [scores.iou > 0.3 for scores in line.by_seed] for name, line in lines.items()}
    assert "6 of 6 with supervised maps begin and 3 of 12 without" in said
    assert [sum(begun[name]) for name in ("row-09", "row-10")] == [3, 3]
    lucky = [name for name, seeds in begun.items() if seeds == [False, False, True]]
    assert lucky == ["row-01", "row-03", "row-07"]
    assert all(scores.iou < 0.01 for line in lines.values() for scores in line.by_seed if scores.iou < 0.3)


def test_the_model_card_tells_the_difference_between_the_twins():
    runs = {
        folder: {0: read_evaluation(ROOT / f"results/{folder}/lalonde_efros-composites").only(folder.replace("_", "-"))}
        for folder in ("dirl_small", "dirl_small_da")
    }
    both = Ablation(runs, "paper")
    for metric, unit in (("ap", "points of AP"), ("iou", "of IoU")):
        mean, low, high = (100 * x for x in both.compare("dirl_small", "dirl_small_da", metric).difference)
        assert f"{mean:.1f} {unit} [{low:.1f}, {high:.1f}]" in model_card.CARD.read_text(encoding="utf-8").replace(
            "\n", " "
        )


@pytest.mark.parametrize("path", sorted((ROOT / "notebooks").glob("*.ipynb")), ids=lambda path: path.stem)
def test_notebook_00_lists_every_notebook_with_its_minutes(path):
    (way,) = [cell for cell in read(ROOT / "notebooks/00_start_here.ipynb").cells if cell.id == "way"]
    (row,) = re.findall(rf"^\| \[?\*\*{path.name[:2]}\*\*.*\| (\d+) \|$", way.source, re.MULTILINE)
    assert row == re.search(r"reading: (\d+) min", read(path).cells[0].source)[1]
