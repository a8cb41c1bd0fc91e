"""Recipes side by side: what several trainings know, on the same composites, and what they mark where nothing is wrong.

python benchmarks/recipes.py DATA build/runs/at_once build/runs/stage1 build/runs/stage2
python benchmarks/recipes.py DATA RUN... --json results/recipes.json

DATA holds the folders lalonde_efros, ecssd and coco_mini. Their validation photographs are recoloured once at three
times 64 pixels and shrunk, as files are; each run's last weights answer them and the untouched photographs behind them.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from torch.utils.data import DataLoader

from dirl_lib.commands.train import photos_of
from dirl_lib.data.composing import ComposedScenes
from dirl_lib.metrics import mean_scores, score_images
from dirl_lib.provenance import write_record
from dirl_lib.weights import about, load_network

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
    scenes = list(DataLoader(ComposedScenes(photos, SIZE, oversample=OVERSAMPLE), 16))
    results = {run.name: measure(run / "last.safetensors", scenes) for run in options.runs}
    print(f"{'':16}{'composites':>12}{'AP %':>8}{'F1':>8}{'IoU %':>8}{'marked %':>10}{'of untouched %':>16}")
    for name, found in results.items():
        scores = f"{100 * found['ap']:8.1f}{found['f1']:8.3f}{100 * found['iou']:8.1f}"
        marked = f"{100 * found['marked']:10.1f}{100 * found['marked_untouched']:16.1f}"
        print(f"{name:16}{found['images_seen']:12,.0f}{scores}{marked}")
    if options.json:
        facts = {"benchmark": "recipes", "composites": sum(len(batch.name) for batch in scenes), "size_px": SIZE}
        write_record(options.json, {**facts, "results": results})


@torch.no_grad()
def measure(weights: Path, scenes: list) -> dict[str, float]:
    """Means over the composites; shares of the picture above 0.5."""
    network = load_network(weights)[0].eval()
    found = [network(batch.image).mask for batch in scenes]
    untouched = torch.cat([network(batch.real).mask for batch in scenes])
    means = mean_scores([score_images(mask, batch.mask) for mask, batch in zip(found, scenes, strict=True)])
    return {
        "images_seen": about(weights)["images_seen"],
        "ap": means.ap,
        "f1": means.f1,
        "iou": means.iou,
        "marked": (torch.cat(found) > 0.5).float().mean().item(),
        "marked_untouched": (untouched > 0.5).float().mean().item(),
    }


if __name__ == "__main__":
    main()
