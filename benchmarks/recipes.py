"""Recipes side by side: what several trainings know, on the same composites, and what they mark where nothing is wrong.

python benchmarks/recipes.py DATA build/runs/at_once build/runs/stage1 build/runs/stage2
python benchmarks/recipes.py DATA RUN... --json results/recipes.json

DATA holds the folders lalonde_efros, ecssd and coco_mini. Their validation photographs are recoloured once at three
times 64 pixels and shrunk, as files are; each run's last weights answer them and the untouched photographs behind them.
And the same for the sample data, eight photographs of another kind than those of any training.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import torch
from torch.utils.data import DataLoader

from dirl_lib.commands.train import photos_of
from dirl_lib.data.composing import ComposedScenes
from dirl_lib.data.sample import list_samples, load_sample
from dirl_lib.metrics import mean_scores, score_images
from dirl_lib.provenance import write_record
from dirl_lib.types import Sample
from dirl_lib.weights import about, load_model

TABLES = ("lalonde_efros/index.csv:natural", "ecssd/index.csv", "coco_mini/index.csv")
SIZE, OVERSAMPLE = 64, 3


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, metavar="DATA")
    parser.add_argument("runs", type=Path, nargs="+", metavar="RUN")
    parser.add_argument("--json", type=Path, metavar="FILE", help="store the figures with their provenance")
    options = parser.parse_args()
    torch.set_num_threads(1)
    photos = photos_of([str(options.data / table) for table in TABLES], "val")
    sets = {
        "validation": list(DataLoader(ComposedScenes(photos, SIZE, oversample=OVERSAMPLE), 16)),
        "sample": [_as_batch(load_sample(record.name)) for record in list_samples()],
    }
    results = {run.name: measure(run / "last.safetensors", sets) for run in options.runs}
    print(f"{'':12}{'composites':>12}{'':>14}{'AP %':>8}{'F1':>8}{'IoU %':>8}{'marked %':>10}{'of untouched %':>16}")
    for name, found in results.items():
        for which in sets:
            line = found[which]
            scores = f"{100 * line['ap']:8.1f}{line['f1']:8.3f}{100 * line['iou']:8.1f}"
            marked = f"{100 * line['marked']:10.1f}{100 * line['marked_untouched']:16.1f}"
            print(f"{name:12}{found['images_seen']:12,.0f}{which:>14}{scores}{marked}")
    if options.json:
        counts = {which: sum(len(batch.name) for batch in batches) for which, batches in sets.items()}
        write_record(options.json, {"benchmark": "recipes", "composites": counts, "size_px": SIZE, "results": results})


def measure(weights: Path, sets: dict[str, list[Sample]]) -> dict[str, Any]:
    """Of each set the means over the composites; shares of the picture above 0.5."""
    model = load_model(weights)
    found = {which: _means(model, batches) for which, batches in sets.items()}
    return {"images_seen": about(weights)["images_seen"], **found}


@torch.no_grad()
def _means(model: torch.nn.Module, batches: list[Sample]) -> dict[str, float | None]:
    found = [model(batch.image).mask for batch in batches]
    means = mean_scores([score_images(mask, batch.mask) for mask, batch in zip(found, batches, strict=True)])
    marked, untouched = (
        torch.cat([(mask > 0.5).float().mean(dim=(1, 2, 3)) for mask in masks]).mean().item()
        for masks in (found, [model(batch.real).mask for batch in batches])
    )
    return {"ap": means.ap, "f1": means.f1, "iou": means.iou, "marked": marked, "marked_untouched": untouched}


def _as_batch(sample: Sample) -> Sample:
    return Sample([sample.name], sample.image[None], sample.mask[None], sample.real[None])


if __name__ == "__main__":
    main()
