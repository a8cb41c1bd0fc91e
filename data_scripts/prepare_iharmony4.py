"""Check a folder of iHarmony4, write its lists, and, with --store, resize everything once.

python data_scripts/prepare_iharmony4.py ROOT                        # the check alone: dirl data check ROOT
python data_scripts/prepare_iharmony4.py ROOT --store cache/256      # and a store: dirl data prepare ROOT cache/256
"""

import argparse
import sys
from pathlib import Path

from dirl_lib.commands.data import (
    add_check_options,
    add_store_options,
    check_data_set,
    iharmony4_records,
    prepare_store,
)
from dirl_lib.commands.shared import run


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_check_options(parser)
    parser.add_argument("--store", type=Path, help="new folder for the resized images")
    add_store_options(parser)
    options = parser.parse_args()
    return run(check_and_prepare, options)


def check_and_prepare(options: argparse.Namespace) -> int:
    code = check_data_set(options)
    if options.store is None or (code and not options.keep_going):
        return code
    problems: list[str] | None = [] if options.keep_going else None
    records = iharmony4_records(options.root, "all", options.lists, problems)
    return max(code, prepare_store(records, options, options.store, problems))


if __name__ == "__main__":
    sys.exit(main())
