"""Say what in the notebooks does not keep to docs/NOTEBOOKS.md; nothing is executed.

python tools/check_notebooks.py            # all notebooks
python tools/check_notebooks.py 04         # one of them
"""

import argparse
import sys

from course.conventions import problems
from course.notebooks import CourseError, select


def main(arguments: list[str] | None = None) -> int:
    """Print one line a problem; 0 if there is none, 1 if there are some, 2 if a notebook does not exist."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", metavar="NAME", nargs="*", help="number or name of a notebook (default: all)")
    try:
        paths = select(parser.parse_args(arguments).names)
    except CourseError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    found = [f"{path.name}: {problem}" for path in paths for problem in problems(path)]
    print("\n".join(found) if found else f"{len(paths)} notebooks keep to the conventions")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
