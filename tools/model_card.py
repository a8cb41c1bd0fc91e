"""Write the scores of dirl-small from results/dirl_small/ into docs/MODEL_CARD.md, between its two markers.

python tools/model_card.py
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
CARD = ROOT / "docs" / "MODEL_CARD.md"
SCORES = ROOT / "results" / "dirl_small"
BEGIN, END = "<!-- scores: made by tools/model_card.py -->\n", "<!-- end of scores -->"
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
SYSTEMS = ("dirl-small", "centre prior", "all of it")


def main() -> None:
    before, _, rest = CARD.read_text(encoding="utf-8").partition(BEGIN)
    CARD.write_text(before + BEGIN + table() + END + rest.partition(END)[2], encoding="utf-8")


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
        rows = {
            row["system"]: row for row in json.loads(path.read_text(encoding="utf-8"))["table"] if row["part"] == "all"
        }
        for number, system in enumerate(SYSTEMS):
            row = rows[system]
            first = f"{title} | {row['images']}" if number == 0 else " | "
            scores = f"{_cell(row['ap'], 100, 1)} | {_cell(row['f1'], 1, 3)} | {_cell(row['iou'], 100, 1)}"
            lines.append(f"| {first} | {system} | {scores} | {100 * row['predicted_area']:.1f} |")
    return "\n".join(lines) + "\n"


def _cell(estimate: dict[str, Any], factor: float, digits: int) -> str:
    mean, low, high = (factor * estimate[key] for key in ("mean", "low", "high"))
    return f"{mean:.{digits}f} [{low:.{digits}f}, {high:.{digits}f}]"


if __name__ == "__main__":
    main()
