"""Write scores and curves of dirl-small and its twin from results/ into docs/MODEL_CARD.md, between their markers.

python tools/model_card.py
"""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
CARD = ROOT / "docs" / "MODEL_CARD.md"
SCORES = ROOT / "results" / "dirl_small"
TWIN = ROOT / "results" / "dirl_small_da"
TRAINING = ROOT / "results" / "dirl_small_training"
RECIPES = ROOT / "results" / "recipes.json"
SETS = {
    "lalonde_efros-composites": "Lalonde and Efros, recoloured",
    "lalonde_efros-untouched": "the same, untouched (control)",
    "ecssd-composites": "ECSSD, recoloured",
    "ecssd-untouched": "the same, untouched (control)",
    "coco_mini-composites": "COCO, recoloured",
    "coco_mini-untouched": "the same, untouched (control)",
    "lalonde_efros-pasted": "Lalonde and Efros, pasted by people",
    "iharmony4_samples": "iHarmony4, 56 genuine files",
    "real_composites": "pasted by people, other sources",
}
STEPS = (6_976, 13_952, 20_928, 27_904, 34_880, 41_856, 83_712, 125_568, 195_328, 223_232, 247_648)
"""Composites seen at the lines of the curves that are shown."""
SYSTEMS = ("dirl-small", "dirl-small-da", "centre prior", "all of it")


def main() -> None:
    text = CARD.read_text(encoding="utf-8")
    for name, block in blocks().items():
        begin, end = markers(name)
        before, _, rest = text.partition(begin)
        text = before + begin + block + end + rest.partition(end)[2]
    CARD.write_text(text, encoding="utf-8")


def markers(name: str) -> tuple[str, str]:
    return f"<!-- {name}: made by tools/model_card.py -->\n", f"<!-- end of {name} -->"


def blocks() -> dict[str, str]:
    """What is written, by the name of its place."""
    return {"scores": table(), "curves": curves(), "other photographs": other_photographs()}


def curves() -> str:
    """Markdown: each way on the same composites; what was not reached or not measured stays empty."""
    first = json.loads(RECIPES.read_text(encoding="utf-8"))["results"]["stage1"]
    staged = {first["images_seen"]: first["validation"]} | _later_stages(first["images_seen"], "stage2", "stage3")
    twin = _later_stages(first["images_seen"], "da-stage2", "da-stage3")
    lines = [
        "| composites seen | at once: AP % | IoU % | in stages: AP % | IoU % | the twin: AP % | IoU % |",
        "|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for seen in STEPS:
        cells = [
            f"{100 * float(curve[seen][score]):.1f}" if seen in curve else ""
            for curve in (_validation("at_once"), staged, twin)
            for score in ("ap", "iou")
        ]
        lines.append(f"| {seen:,} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def other_photographs() -> str:
    """Markdown: what each stage knows of the sample data, which no training saw."""
    results = json.loads(RECIPES.read_text(encoding="utf-8"))["results"]
    lines = ["| after | AP % | IoU % | marked % | marked of untouched % |", "|---|---:|---:|---:|---:|"]
    for number in (1, 2, 3):
        found = results[f"stage{number}"]["sample"]
        cells = [f"{100 * found[key]:.1f}" for key in ("ap", "iou", "marked", "marked_untouched")]
        lines.append(f"| stage {number} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def _later_stages(before: int, second: str, third: str) -> dict[int, dict[str, Any]]:
    """Lines of two stages by what was seen in all, `before` among it."""
    lines = {before + seen: line for seen, line in _validation(second).items()}
    return lines | {max(lines) + seen: line for seen, line in _validation(third).items()}


def _validation(run: str) -> dict[int, dict[str, Any]]:
    with (TRAINING / f"{run}-validation.csv").open(newline="") as file:
        return {int(line["images"]): line for line in csv.DictReader(file)}


def table() -> str:
    """Markdown of every set that was run; the others say so."""
    lines = [
        "| test images | number | system | AP % | F1 | IoU % | marked % |",
        "|---|---:|---|---:|---:|---:|---:|",
    ]
    for folder, title in SETS.items():
        path = SCORES / folder / "summary.json"
        if not path.is_file():
            lines.append(f"| {title} | | not run | | | | |")
            continue
        rows = _rows(TWIN / folder / "summary.json") | _rows(path)
        for number, system in enumerate(SYSTEMS):
            row = rows[system]
            first = f"{title} | {row['images']}" if number == 0 else " | "
            scores = f"{_cell(row['ap'], 100, 1)} | {_cell(row['f1'], 1, 3)} | {_cell(row['iou'], 100, 1)}"
            lines.append(f"| {first} | {system} | {scores} | {100 * row['predicted_area']:.1f} |")
    return "\n".join(lines) + "\n"


def _rows(path: Path) -> dict[str, dict[str, Any]]:
    """Means over all images, by system."""
    table = json.loads(path.read_text(encoding="utf-8"))["table"]
    return {row["system"]: row for row in table if row["part"] == "all"}


def _cell(estimate: dict[str, Any], factor: float, digits: int) -> str:
    mean, low, high = (factor * estimate[key] for key in ("mean", "low", "high"))
    return f"{mean:.{digits}f} [{low:.{digits}f}, {high:.{digits}f}]"


if __name__ == "__main__":
    main()
