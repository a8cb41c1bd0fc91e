"""Make the sample data of the course: real photographs, recoloured regions, iHarmony4's layout.

python data_scripts/make_sample_data.py                # where the library looks for it
python data_scripts/make_sample_data.py my/folder      # somewhere else
"""

import argparse
import sys
import time
from collections import Counter
from pathlib import Path

from dirl_lib.data.sample import build_sample_data, default_root, read_index
from dirl_lib.data.sample_build import is_current


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "out",
        metavar="OUT",
        nargs="?",
        type=Path,
        default=default_root(),
        help="a new or empty folder, or one with an earlier build (default: %(default)s)",
    )
    out: Path = parser.parse_args().out
    started = time.perf_counter()
    if is_current(out):
        print(f"the sample data is up to date: {out}")
        return 0
    try:
        root = build_sample_data(out, progress=lambda line: print(line, flush=True))
    except (OSError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    records = read_index(root)
    splits = Counter(record.split for record in records)
    photos = len({record.photo for record in records})
    print(
        f"{len(records)} composites ({splits['train']} train, {splits['test']} test) of {photos} photographs "
        f"in {time.perf_counter() - started:.1f} s: {root}"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
