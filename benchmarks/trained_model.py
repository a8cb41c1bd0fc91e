"""The scores of a trained model on photographs that it has never seen: what docs/MODEL_CARD.md reports.

python benchmarks/trained_model.py DATA
python benchmarks/trained_model.py DATA --weights runs/small/last.safetensors --out build/scores

DATA holds the folders lalonde_efros, ecssd, coco_mini, iharmony4_samples and real_composites; those that are missing
are left out, and said so. Of the first three the test split is recoloured once by `synthesize` with seed 0, and the
untouched photographs with the same masks are the control: a model that knows harmony marks nothing there.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

import torch
from tqdm import tqdm

from dirl_lib.data.check import check
from dirl_lib.data.dataset import MaskedPhotos
from dirl_lib.data.folders import MaskedPhoto, read_table
from dirl_lib.data.iharmony4 import IHarmony4
from dirl_lib.data.synthesize import synthesize
from dirl_lib.evaluation import evaluate
from dirl_lib.images import read_soft_mask
from dirl_lib.weights import about, load_model

SIZE = 224
COMPOSITES = Path("build/test_composites")
PHOTOS = {"lalonde_efros": "natural", "ecssd": None, "coco_mini": None}
"""Tables of untouched photographs, and the kind of line that is meant."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, metavar="DATA")
    parser.add_argument("--weights", default="dirl-small", help="default: the model in the box")
    parser.add_argument("--out", type=Path, default=Path("results/dirl_small"), metavar="FOLDER")
    parser.add_argument("--split", default="test", choices=("val", "test"), help="of the tables (default: test)")
    options = parser.parse_args()
    torch.set_num_threads(1)
    model, facts = load_model(options.weights), about(options.weights)
    for name, load in sets(options.data, options.split).items():
        try:
            data = load()
        except (OSError, ValueError) as error:
            print(f"{name}: left out ({error})")
            continue
        with tqdm(total=len(data), desc=name, unit="image", leave=False) as bar:
            scores = evaluate(model, data, name=Path(options.weights).stem, floors=True, progress=bar.update)
        scores.write(options.out / name, set=name, images_seen=facts.get("images_seen"), size_px=SIZE)
        print(f"{name}\n{scores.table()}\n")


def sets(data: Path, split: str) -> dict[str, Callable[[], MaskedPhotos]]:
    """Name to loader of every set."""
    loaders: dict[str, Callable[[], MaskedPhotos]] = {}
    for name in PHOTOS:
        loaders[f"{name}-composites"] = lambda name=name: composites(data, name, split)  # type: ignore[misc]
        loaders[f"{name}-untouched"] = lambda name=name: MaskedPhotos(photos(data, name, split), SIZE)  # type: ignore[misc]
    table = data / "lalonde_efros" / "index.csv"
    real = {"kind": "composite", "split": split}
    loaders["lalonde_efros-pasted"] = lambda: MaskedPhotos(half(read_table(table, **real)))
    loaders["iharmony4_samples"] = lambda: samples(data / "iharmony4_samples")
    loaders["real_composites"] = lambda: MaskedPhotos(half(read_table(data / "real_composites" / "index.csv")))
    return loaders


def photos(data: Path, name: str, split: str) -> list[MaskedPhoto]:
    """Untouched photographs whose region covers at most half of them."""
    return half(read_table(data / name / "index.csv", kind=PHOTOS[name], split=split))


def composites(data: Path, name: str, split: str) -> IHarmony4:
    """The same regions recoloured, one composite by each of the four transfers."""
    out = COMPOSITES / f"{name}-{split}"
    synthesize(photos(data, name, split), out, seed=0)
    return IHarmony4(out, "all", size=SIZE)


def samples(root: Path) -> IHarmony4:
    """Genuine files of iHarmony4, by lists that the check makes outside their folder."""
    lists = COMPOSITES / "iharmony4_samples-lists"
    check(root, lists)
    return IHarmony4(root, "all", size=SIZE, lists=lists)


def half(records: list[MaskedPhoto]) -> list[MaskedPhoto]:
    """The paper's rule: regions of at most half of the picture."""
    return [record for record in records if 0 < (read_soft_mask(record.mask_path) > 127).mean() <= 0.5]


if __name__ == "__main__":
    main()
