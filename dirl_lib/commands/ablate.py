"""`dirl ablate`: variants of one recipe, several seeds, on the same images; the same command goes on."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from dirl_lib.commands.shared import Topics, add_command
from dirl_lib.commands.train import add_recipe_values, load_data, read_recipe_values

if TYPE_CHECKING:
    from dirl_lib.ablation import Ablation, Images
    from dirl_lib.data.dataset import MaskedPhotos
    from dirl_lib.recipes import TrainingRecipe

__all__ = ["add_to"]

PER_REGION = 2
"""Composites of one region for testing: what counts is how many photographs there are."""

EPILOG = """\
the supplement's Table 1, and a smaller question:
  dirl ablate --recipe paper --data IHARMONY4 --out runs/ablation
  dirl ablate --recipe small --data photos/index.csv --variants loss row-10 --seeds 0 1 --out runs/losses"""


def add_to(topics: Topics[argparse.ArgumentParser]) -> None:
    """Declare the command."""
    command = add_command(topics, "ablate", _ablate, "compare variants of the network or the recipe, over seeds")
    command.formatter_class = argparse.RawDescriptionHelpFormatter
    command.epilog = EPILOG
    command.add_argument("--recipe", required=True, help="what all variants share: as of `dirl train`")
    data_help = "as of `dirl train`; what is measured are the images of the split test"
    command.add_argument("--data", required=True, nargs="+", metavar="SOURCE", help=data_help)
    command.add_argument("--out", required=True, type=Path, metavar="FOLDER", help="one that is there goes on")
    variants_help = "or groups: rows, loss, lambda, gates, start, size (default: rows, the ten of the supplement)"
    command.add_argument("--variants", nargs="+", default=["rows"], metavar="NAME", help=variants_help)
    command.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2], metavar="N", help="default: 0 1 2")
    cache_help = "a store of iHarmony4; of tables a folder for stores, one for each size"
    command.add_argument("--cache", type=Path, metavar="FOLDER", help=cache_help)
    command.add_argument(
        "--start-from", type=Path, metavar="FOLDER", help="--out of an earlier stage of the same networks"
    )
    keep_help = (
        "make the composites of a seed once for all variants, and keep them there with 8 bits (16 kB each at 64)"
    )
    command.add_argument("--keep-composites", type=Path, metavar="FOLDER", help=keep_help)
    workers_help = "loading processes beside the training (default: 0)"
    command.add_argument("--workers", type=int, default=0, metavar="N", help=workers_help)
    command.add_argument("--accelerator", default="auto", help="for training: auto, cpu, gpu or mps (default: auto)")
    command.add_argument("--device", help="for measuring (default: a GPU where there is one, else cpu)")
    add_recipe_values(command)


def _ablate(options: argparse.Namespace) -> int:
    from dirl_lib.ablation import GROUPS, ablate
    from dirl_lib.devices import best_device

    recipe = read_recipe_values(options)
    variants = list(dict.fromkeys(name for given in options.variants for name in GROUPS.get(given, [given])))
    found = ablate(
        recipe,
        variants,
        seeds=options.seeds,
        data=lambda changed: _images(options, changed),
        out=options.out,
        start_from=options.start_from,
        workers=options.workers,
        accelerator=options.accelerator,
        device=options.device or best_device(),
        progress=True,
        tell=lambda line: print(line, flush=True),
    )
    print(f"\n{found.table()}")
    _tell_differences(found)
    print(f"scores of every image: {options.out / 'scores'}")
    return 0


def _tell_differences(found: Ablation) -> None:
    from dirl_lib.ablation import claims

    for better, than in claims(found):
        compared = found.compare(better, than)
        seeds = "" if compared.by_seeds is None else f", over seeds {compared.by_seeds:.3f}"
        print(
            f"{better} against {than}: IoU {100 * compared.difference.mean:+.1f} points, "
            f"p over photographs {compared.by_photographs:.3f}{seeds}: {compared.verdict}"
        )


def _images(options: argparse.Namespace, recipe: TrainingRecipe) -> Images:
    from dirl_lib.ablation import Images
    from dirl_lib.commands.shared import bar
    from dirl_lib.data.composing import ComposedScenes
    from dirl_lib.data.frozen import freeze
    from dirl_lib.data.iharmony4 import IHarmony4

    sources, workers = options.data, options.workers
    if len(sources) == 1 and Path(sources[0]).is_dir():
        train, validation = load_data(sources, recipe, options.cache)
        return Images(train, validation, IHarmony4(sources[0], "test", size=recipe.size))
    store = None if options.cache is None else options.cache / f"{recipe.size * (recipe.oversample + 1)}"
    train, validation = load_data(sources, recipe, store)
    if options.keep_composites is not None and isinstance(train, ComposedScenes):
        with bar("composing", recipe.epochs * len(train)) as shown:
            train = freeze(train, options.keep_composites, recipe.epochs, workers=workers, progress=shown.update)
    return Images(train, validation, _composites(sources, recipe, options.out))


def _composites(sources: list[str], recipe: TrainingRecipe, out: Path) -> MaskedPhotos:
    """The photographs of the split test, recoloured once in the way of the training's, the same for every variant."""
    from dirl_lib.commands.shared import bar
    from dirl_lib.commands.train import photos_of
    from dirl_lib.data.composing import ComposedScenes
    from dirl_lib.data.dataset import MaskedPhotos
    from dirl_lib.data.frozen import write_composites

    scenes = ComposedScenes(photos_of(sources, "test"), recipe.size, oversample=recipe.oversample)
    with bar("composing", PER_REGION * len(scenes)) as shown:
        return MaskedPhotos(write_composites(scenes, out / "test", PER_REGION, progress=shown.update), recipe.size)
