"""`dirl train`: by a recipe, on composites made on the fly or on iHarmony4; the same command goes on."""

from __future__ import annotations

import argparse
import ast
import itertools
from pathlib import Path
from typing import TYPE_CHECKING

from dirl_lib.commands.shared import Topics, add_command, positive

if TYPE_CHECKING:
    from torch.utils.data import Dataset

    from dirl_lib.data.folders import MaskedPhoto
    from dirl_lib.recipes import TrainingRecipe
    from dirl_lib.types import Sample

__all__ = ["add_recipe_values", "add_to", "load_data", "photos_of", "read_recipe_values"]

EPILOG = """\
one device, several, several machines:
  dirl train --recipe small --data photos/index.csv --out runs/small
  dirl train --recipe released --data IHARMONY4 --cache cache/256 --devices 4 --out runs/released
  torchrun --nnodes 2 --nproc-per-node 4 ... -m dirl_lib.cli train ... --devices 4 --nodes 2
every value of the recipe can be given, as --learning-rate 3e-4 or --milestones 30,40"""


def add_to(topics: Topics[argparse.ArgumentParser]) -> None:
    """Declare the command."""
    command = add_command(topics, "train", _train, "train a network by a recipe, or go on with a training")
    command.formatter_class = argparse.RawDescriptionHelpFormatter
    command.epilog = EPILOG
    command.add_argument("--recipe", required=True, help="paper, released, quick, small, or a JSON file of its values")
    command.add_argument(
        "--data",
        required=True,
        nargs="+",
        metavar="SOURCE",
        help="a folder of iHarmony4; or tables of photographs with masks, recoloured on the fly: index.csv, or "
        "index.csv:natural where it lists several kinds. Splits train and val",
    )
    command.add_argument(
        "--out", required=True, type=Path, metavar="RUN", help="folder of the run; one that is there goes on"
    )
    command.add_argument("--start-from", metavar="WEIGHTS", help="weights to begin with (default: random)")
    command.add_argument("--cache", type=Path, metavar="STORE", help="resized photographs; made when it is not there")
    command.add_argument(
        "--workers", type=int, default=0, metavar="N", help="loading processes of each device (default: 0)"
    )
    command.add_argument("--accelerator", default="auto", help="auto, cpu, gpu or mps (default: auto)")
    command.add_argument("--devices", type=positive, default=1, metavar="N", help="of this machine (default: 1)")
    command.add_argument("--nodes", type=positive, default=1, metavar="N", help="machines (default: 1)")
    command.add_argument("--compile", action="store_true", help="let torch.compile fuse operations; pays on a GPU")
    command.add_argument("--minutes", type=float, metavar="M", help="stop after so long, with everything saved")
    add_recipe_values(command)


def add_recipe_values(command: argparse.ArgumentParser) -> None:
    """An option for each value of a recipe, read by `read_recipe_values`."""
    values = command.add_argument_group("values of the recipe")
    for name, help_line in _fields():
        values.add_argument(f"--{name.replace('_', '-')}", dest=f"recipe_{name}", metavar="VALUE", help=help_line)


def _fields() -> list[tuple[str, str]]:
    """Fields of a recipe and what stands under them, read from the source: help must not wait for torch to load."""
    tree = ast.parse((Path(__file__).parents[1] / "recipes.py").read_text(encoding="utf-8"))
    (recipe,) = (node for node in tree.body if isinstance(node, ast.ClassDef) and node.name == "TrainingRecipe")
    return [
        (field.target.id, str(ast.literal_eval(text.value)).replace("%", "%%"))
        for field, text in itertools.pairwise(recipe.body)
        if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name) and isinstance(text, ast.Expr)
    ]


def read_recipe_values(options: argparse.Namespace) -> TrainingRecipe:
    """The recipe that `--recipe` names, with the values that were given.

    Raises:
        ValueError: see `recipes.read_recipe` and `recipes.override`.
    """
    from dirl_lib.recipes import override, read_recipe

    given = {name.removeprefix("recipe_"): value for name, value in vars(options).items() if name.startswith("recipe_")}
    return override(read_recipe(options.recipe), {name: value for name, value in given.items() if value is not None})


def _train(options: argparse.Namespace) -> int:
    import torch

    from dirl_lib.training import fit

    recipe = read_recipe_values(options)
    train, validation = load_data(options.data, recipe, options.cache)
    trained = fit(
        recipe,
        train,
        validation,
        out=options.out,
        start_from=options.start_from,
        workers=options.workers,
        accelerator=options.accelerator,
        devices=options.devices,
        nodes=options.nodes,
        compile_network=options.compile,
        minutes=options.minutes,
        progress=True,
    )
    if torch.distributed.is_initialized() and torch.distributed.get_rank() > 0:
        return 0  # the first process speaks for all
    last = trained.log[-1]
    best = "" if trained.best is None else f", best IoU in validation {trained.best:.4f}"
    print(f"{last['images']:,.0f} images seen, loss {last['total']:.4f}{best}: {options.out}")
    if not trained.finished:
        print("not at its end; the same command goes on")
    return 0


def load_data(
    sources: list[str], recipe: TrainingRecipe, cache: Path | None
) -> tuple[Dataset[Sample], Dataset[Sample]]:
    """Training and validation images of the sources, as the recipe wants them.

    Args:
        sources: one folder of iHarmony4, or tables of photographs, `index.csv` or `index.csv:kind`.
        recipe: size, crops and shares of the training images.
        cache: a store; for tables it is made where it is not there. None decodes every file when it is first needed.

    Raises:
        ValueError: a source that is neither, or a table without one of the two splits.
    """
    from dirl_lib.data.composing import ComposedScenes
    from dirl_lib.data.iharmony4 import IHarmony4

    if len(sources) == 1 and Path(sources[0]).is_dir():
        train = IHarmony4(sources[0], "train", size=recipe.size, augment="released", cache=cache, seed=recipe.seed)
        return train, IHarmony4(sources[0], "val", size=recipe.size, cache=None)
    photos = {split: photos_of(sources, split) for split in ("train", "val")}
    scenes = ComposedScenes(
        photos["train"],
        recipe.size,
        seed=recipe.seed,
        cache=_store(photos["train"], recipe, cache),
        crop=recipe.crop,
        light=recipe.light,
        untouched=recipe.untouched,
        foreign=recipe.foreign,
        oversample=recipe.oversample,
    )
    val = ComposedScenes(photos["val"], recipe.size, seed=recipe.seed, oversample=recipe.oversample)
    return scenes, val


def photos_of(sources: list[str], split: str) -> list[MaskedPhoto]:
    """The photographs of one split in all tables, `index.csv` or `index.csv:kind`.

    Raises:
        ValueError: there are none.
    """
    found = [photo for source in sources for photo in _photos(source, split)]
    if not found:
        raise ValueError(f"{', '.join(sources)}: found no photographs of the split {split!r}, expected some")
    return found


def _photos(source: str, split: str) -> list[MaskedPhoto]:
    from dirl_lib.data.folders import read_table

    table, colon, kind = source.rpartition(":")
    if colon and table.lower().endswith(".csv"):
        return read_table(table, kind=kind, split=split)
    return read_table(source, split=split)


def _store(photos: list[MaskedPhoto], recipe: TrainingRecipe, cache: Path | None) -> Path | None:
    from dirl_lib.commands.shared import bar
    from dirl_lib.data.cache import prepare
    from dirl_lib.data.transforms import Resize

    if cache is None:
        return None
    with bar("preparing", len(photos)) as shown:
        resize = Resize((recipe.oversample + 1) * recipe.size, keep_aspect=True, antialias=True)
        prepare(photos, cache, resize, progress=shown.update)
    return cache
