"""How much faster an epoch is from a prepared store than from the files, as ratios within one run.

python benchmarks/data.py
python benchmarks/data.py --json results/data.json

The files are the sample photographs, enlarged to the sizes of iHarmony4: 640 x 480 as in HCOCO, 4272 x 2848 as in
HAdobe5k. One process and one thread, the case of a laptop whose other cores are busy with the network. The files are
read from the page cache, which flatters them: from a disk the store gains more.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

import numpy as np
import torch
from PIL import Image

from dirl_lib.data.cache import prepare
from dirl_lib.data.dataset import MaskedPhotos
from dirl_lib.data.folders import MaskedPhoto
from dirl_lib.data.sample import list_samples
from dirl_lib.data.transforms import Resize
from dirl_lib.images import read_image, read_mask
from dirl_lib.provenance import write_record

SIZE = 224
SHAPES = {"640 x 480": ((640, 480), 24), "4272 x 2848": ((4272, 2848), 8)}
REPEATS = 5


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, metavar="FILE", help="store the figures with their provenance")
    options = parser.parse_args()
    torch.set_num_threads(1)
    results = {}
    with tempfile.TemporaryDirectory() as folder:
        for name, (size, count) in SHAPES.items():
            records = enlarged_samples(Path(folder, name.replace(" ", "")), size, count)
            results[name] = measure(records, Path(folder, f"store-{count}"))
            show(name, results[name])
    if options.json:
        write_record(options.json, {"benchmark": "data", "size_px": SIZE, "results": results})


def measure(records: list[MaskedPhoto], store: Path) -> dict[str, float]:
    """Images a second for each way of reading, the median over repeats taken in turns."""
    prepare(records, store, Resize(SIZE))
    ways = {
        "files, released augmentation": MaskedPhotos(records, SIZE, augment="released"),
        "store, released augmentation": MaskedPhotos(records, SIZE, augment="released", cache=store),
        "files, resized": MaskedPhotos(records, SIZE),
        "files, resized with antialiasing": MaskedPhotos(records, Resize(SIZE, antialias=True)),
        "store, as it is": MaskedPhotos(records, SIZE, cache=store),
    }
    passes: dict[str, Callable[[], None]] = {name: lambda data=data: one_pass(data) for name, data in ways.items()}
    photos = [record.image_path for record in records]
    passes["decoding whole"] = lambda: [read_image(path) for path in photos] and None
    passes["decoding at the decoder's scale"] = lambda: (
        [read_image(path, at_least=2 * SIZE) for path in photos] and None
    )
    seconds: dict[str, list[float]] = {name: [] for name in passes}
    for _ in range(REPEATS):
        for name, run in passes.items():
            started = time.perf_counter()
            run()
            seconds[name].append(time.perf_counter() - started)
    return {name: len(records) / median(times) for name, times in seconds.items()}


def one_pass(data: MaskedPhotos) -> None:
    for index in range(len(data)):
        data[index]


def show(name: str, rates: dict[str, float]) -> None:
    print(f"{name}: images a second, one core, at {SIZE} px")
    for way, rate in rates.items():
        print(f"  {way:34s} {rate:9.1f}")
    augmented = rates["store, released augmentation"] / rates["files, released augmentation"]
    plain = rates["store, as it is"] / rates["files, resized"]
    decoding = rates["decoding at the decoder's scale"] / rates["decoding whole"]
    print(f"  store against files: {augmented:.1f} x with augmentation, {plain:.1f} x without")
    print(f"  the decoder's own scaling: {decoding:.1f} x")


def enlarged_samples(folder: Path, size: tuple[int, int], count: int) -> list[MaskedPhoto]:
    """Composites of the sample data at another size, as JPEG and PNG files."""
    folder.mkdir(parents=True)
    records = []
    for sample in list_samples()[:count]:
        image, mask = folder / f"{sample.name}.jpg", folder / f"{sample.name}.png"
        Image.fromarray(read_image(sample.image_path)).resize(size, Image.Resampling.BICUBIC).save(image, quality=95)
        small = Image.fromarray(read_mask(sample.mask_path).astype(np.uint8) * 255)
        small.resize(size, Image.Resampling.NEAREST).save(mask)
        records.append(MaskedPhoto(sample.name, image, mask, sample.photo))
    return records


if __name__ == "__main__":
    main()
