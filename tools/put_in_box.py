"""The weights of a finished training as the model that comes with the kit.

python tools/put_in_box.py RUN...           # runs one after another, each begun from the weights of the one before
python tools/put_in_box.py RUN... --name dirl-small-da

In half precision; what each run was goes into the file (`dirl_lib.weights.about`).
"""

from __future__ import annotations

import argparse
from pathlib import Path

from dirl_lib.models.dirl import DIRLConfig
from dirl_lib.provenance import provenance
from dirl_lib.weights import about, load_network, save_model

TRAINED = Path(__file__).resolve().parents[1] / "dirl_lib" / "trained"
LICENCE = (
    "MIT for the weights; the photographs it learned from are research data of others (docs/MODEL_CARD.md), "
    "and whoever sells what the model makes should look at their licences"
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="+", type=Path, metavar="RUN")
    parser.add_argument("--name", default="dirl-small", help="default: dirl-small")
    options = parser.parse_args()
    target = TRAINED / f"{options.name}.safetensors"
    runs = [run / "last.safetensors" for run in options.runs]
    stories = [about(run) for run in runs]
    network, working_size = load_network(runs[-1])
    save_model(
        target,
        network,
        DIRLConfig(**stories[-1]["config"]),
        working_size=working_size,
        half=True,
        stages=[{key: story[key] for key in ("recipe", "data", "images_seen")} for story in stories],
        images_seen=sum(story["images_seen"] for story in stories),
        licence=LICENCE,
        made=provenance(),
    )
    print(f"{target.name}: {target.stat().st_size / 1e6:.1f} MB, {about(target)['images_seen']:,} composites seen")


if __name__ == "__main__":
    main()
