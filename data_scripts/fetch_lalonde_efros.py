"""Fetch the photographs and composites of Lalonde and Efros (ICCV 2007) from GitHub: about 280 MB, no account.

python data_scripts/fetch_lalonde_efros.py data/lalonde_efros                        # by git
python data_scripts/fetch_lalonde_efros.py data/lalonde_efros --source my/clone      # from a clone or unpacked zip

A run that is interrupted can be started again by the same line.
"""

import argparse
import sys
from collections import Counter
from pathlib import Path

from dirl_lib.data.lalonde_efros import SPLITS, URL, fetch_and_convert, is_current


class Progress:
    """git's progress on one line of a terminal; in a file, one line for each new phase."""

    def __init__(self) -> None:
        self.phase = ""

    def __call__(self, line: str) -> None:
        if sys.stderr.isatty():
            print(f"\r\x1b[2K{line[:100]}", end="\n" if line.endswith("done.") else "", file=sys.stderr, flush=True)
        elif (phase := line.split(":")[0]) != self.phase:
            self.phase = phase
            print(line, file=sys.stderr, flush=True)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", metavar="OUT", type=Path, help="a new or empty folder, or one with an earlier result")
    parser.add_argument("--url", default=URL, help="git repository to fetch from (default: %(default)s)")
    parser.add_argument("--source", metavar="FOLDER", type=Path, help="a clone or unpacked zip on disk, not a download")
    arguments = parser.parse_args()
    out: Path = arguments.out
    if is_current(out):
        print(f"the database is already there: {out}; delete the folder to fetch it again")
        return 0
    try:
        counts, left_out = fetch_and_convert(out, arguments.url, arguments.source, Progress())
    except (OSError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(f"{sum(counts.values())} images with masks: {out}")
    for kind in ("natural", "composite"):
        numbers = ", ".join(f"{counts[kind, split]} {split}" for split in SPLITS)
        print(f"  {kind}: {numbers}")
    print(f"{len(left_out)} images left out, all listed in {out / 'problems.txt'}")
    for reason, number in Counter(one.reason for one in left_out).most_common():
        print(f"  {number} x {reason}")
    for one in left_out[:5]:
        print(f"  {one.line}")
    print(
        "licence: research data without a licence for the images; cite Lalonde and Efros, ICCV 2007; do not publish it"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
