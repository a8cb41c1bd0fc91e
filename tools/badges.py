"""Let the notebooks open in Colab: write into each, and into README.md, the badge and the repository it belongs to.

python tools/badges.py                     # this checkout's remote "origin", branch main
python tools/badges.py owner/name main     # a fork
python tools/badges.py --undo              # no badge, no repository: as the course is delivered

Only title and bootstrap cells are touched, and no bootstrap that somebody changed by hand.
`make badges REPO=owner/name BRANCH=main` does the same.
"""

import argparse
import json
import subprocess
import sys
from pathlib import Path

from course.colab import Source, bootstrap, named_source, parse_source, with_badge
from course.notebooks import ROOT, CourseError, select

from dirl_lib.files import write_in_one_step


def main(arguments: list[str] | None = None) -> int:
    """Write the badges; 0 if all is well, 2 with one line on stderr if not."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("repository", metavar="REPO", nargs="?", default="", help='(default: the remote "origin")')
    parser.add_argument("branch", metavar="BRANCH", nargs="?", default="", help="(default: main)")
    parser.add_argument("--undo", action="store_true", help="remove what this program wrote")
    parser.add_argument("--root", type=Path, default=ROOT, metavar="DIR", help="checkout (default: this one)")
    options = parser.parse_args(arguments)
    try:
        source = (
            None if options.undo else parse_source(options.repository or origin(options.root), options.branch or "main")
        )
        edited = badged(options.root, source)
        changed = {path: text for path, text in edited.items() if path.read_bytes() != text.encode()}
        for path, text in changed.items():
            write_in_one_step(path, text.encode())
    except (CourseError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    what = f"open {source.address} in Colab, branch {source.branch}" if source else "name no repository"
    print(f"{len(edited) - 1} notebooks and README.md {what}; {len(changed)} files changed")
    if source and is_unknown(source.branch, options.root):
        print(
            f"warning: git knows no branch {source.branch} here; Colab opens nothing unless {source.address} has it",
            file=sys.stderr,
        )
    return 0


def origin(checkout: Path) -> str:
    """The address of the remote "origin".

    Raises:
        CourseError: if there is none, or no git.
    """
    try:
        done = subprocess.run(
            ["git", "remote", "get-url", "origin"], cwd=checkout, capture_output=True, text=True, check=True
        )
    except (OSError, subprocess.CalledProcessError) as error:
        raise CourseError(
            "git knows no remote called origin; name the repository: make badges REPO=owner/name"
        ) from error
    return done.stdout.strip()


def is_unknown(branch: str, checkout: Path) -> bool:
    """Whether git knows no branch, here or at a remote, and no tag of this name; False where there is no git."""
    command = ["git", "for-each-ref", "--format=%(refname)", "refs/heads", "refs/remotes", "refs/tags"]
    try:
        done = subprocess.run(command, cwd=checkout, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return False
    names = (line.removeprefix("refs/") for line in done.stdout.splitlines())
    # heads/NAME, tags/NAME, remotes/REMOTE/NAME
    return branch not in {name.split("/", 2 if name.startswith("remotes/") else 1)[-1] for name in names}


def badged(checkout: Path, source: Source | None) -> dict[Path, str]:
    """README.md and every notebook as they should be; nothing is written.

    Args:
        checkout: holds README.md and notebooks/.
        source: None for no badges.

    Raises:
        CourseError: if a file cannot be read or has no place for a badge; the message names it.
    """
    paths = select([], checkout / "notebooks")
    texts = {path: _badged_notebook(path, source) for path in paths}
    readme = checkout / "README.md"
    stored = _text(readme)
    try:
        texts[readme] = with_badge(stored, paths[0].name, source)
    except CourseError as error:
        raise CourseError(f"{readme.name}: {error}") from error
    return texts


def _badged_notebook(path: Path, source: Source | None) -> str:
    # Not by nbformat, which would bring the rest of the file into its own order.
    stored = _text(path)
    try:
        notebook = json.loads(stored)
        cells = {each.get("id"): each for each in notebook["cells"]}
        sources = {cell_id: "".join(each["source"]) for cell_id, each in cells.items()}
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        raise CourseError(f"{path.name} is not a readable notebook: {type(error).__name__}: {error}") from error
    if not {"title", "bootstrap"} <= set(cells):
        raise CourseError(f"{path.name}: two cells should have the ids title and bootstrap")
    if sources["bootstrap"] != bootstrap(named_source(sources["bootstrap"])):
        raise CourseError(
            f"{path.name}: its bootstrap cell was changed by hand, which this program would undo; "
            f"put your lines into a cell of their own and take the bootstrap from another notebook"
        )
    try:
        text = with_badge(sources["title"], path.name, source)
    except CourseError as error:
        raise CourseError(f"{path.name}: {error}") from error
    cells["title"]["source"] = text.splitlines(keepends=True)
    cells["bootstrap"]["source"] = bootstrap(source).splitlines(keepends=True)
    return json.dumps(notebook, indent=1, ensure_ascii=False) + "\n"


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise CourseError(f"{path.name} cannot be read: {error}") from error


if __name__ == "__main__":
    sys.exit(main())
