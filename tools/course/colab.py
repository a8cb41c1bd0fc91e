"""The course on Colab: the repository it is fetched from, the cell that installs it, the badge that opens a notebook.

Colab opens the notebook file alone. So a notebook must itself say where the library is; as long as nobody has said it
(`tools/badges.py`), the notebooks name no repository and carry no badge.
"""

import re
from dataclasses import dataclass

from course.notebooks import BADGE, CourseError

BOOTSTRAP = """\
import importlib.util
import pathlib
import subprocess
import sys

REPO = ""  # what Colab installs; `make badges` writes these two lines
BRANCH = ""

if importlib.util.find_spec("dirl_lib") is None:
    checkout = pathlib.Path.cwd().parent
    if (checkout / "dirl_lib").is_dir():
        sys.path.insert(0, str(checkout))
    elif "google.colab" in sys.modules and REPO:
        install = [sys.executable, "-m", "pip", "install", "-q", "--no-deps"]
        subprocess.run([*install, f"git+{REPO}@{BRANCH}"], check=True)
        importlib.invalidate_caches()
    else:
        how = "run `make run` first; for Colab, `make badges REPO=owner/name`"
        raise ModuleNotFoundError(f"dirl_lib is not installed: {how}")

from dirl_lib import nb

env = nb.setup(seed=0)
env"""

HOST = "https://github.com/"
NAMES = re.compile(r"[A-Za-z0-9](?:-?[A-Za-z0-9]){0,38}/(?!\.{1,2}$)[A-Za-z0-9._-]{1,100}")
"""What GitHub allows: an account without hyphens at its ends, a slash, a repository."""
BRANCH = re.compile(r"(?!.*(?:\.\.|//|/\.|\.lock(?:/|$)))[A-Za-z0-9_][A-Za-z0-9._/-]*(?<![./])")
"""Names of branches that need no quoting in an address; git allows more."""
REMOTE = re.compile(r"(?:https://(?:[^@/]*@)?github\.com/|(?:ssh://)?git@github\.com[:/])(.+?)/?")


@dataclass(frozen=True)
class Source:
    """Where Colab gets notebooks and library from."""

    address: str
    """https://github.com/, account, slash, repository."""
    branch: str


def parse_source(repository: str, branch: str) -> Source:
    """The source that somebody names.

    Args:
        repository: "owner/name", with a slash at its end or not, or an address of GitHub as `git remote get-url`
            prints it (https or ssh).
        branch: such as "main".

    Raises:
        CourseError: if it is no repository on GitHub, from which alone Colab opens notebooks by a link, or no branch.
    """
    remote = REMOTE.fullmatch(repository)
    names = (remote[1] if remote else repository.removesuffix("/")).removesuffix(".git")
    if not NAMES.fullmatch(names):
        raise CourseError(
            f"found the repository {repository!r}, expected owner/name or its address on github.com, "
            f"the one place from which Colab opens notebooks by a link"
        )
    if not BRANCH.fullmatch(branch):
        raise CourseError(f"found the branch {branch!r}, expected a name of letters, digits and . _ / -")
    return Source(HOST + names, branch)


def bootstrap(source: Source | None) -> str:
    """The second cell of every notebook; None names no repository."""
    if source is None:
        return BOOTSTRAP
    text = BOOTSTRAP.replace('REPO = ""', f'REPO = "{source.address}"', 1)
    return text.replace('BRANCH = ""', f'BRANCH = "{source.branch}"', 1)


def named_source(cell: str) -> Source | None:
    """The source that a bootstrap cell names, or None."""
    named = re.search(r'^REPO = "([^"]+)".*\nBRANCH = "([^"]+)"$', cell, re.MULTILINE)
    return Source(named[1], named[2]) if named else None


def with_badge(text: str, notebook: str, source: Source | None) -> str:
    """Markdown whose title is followed by the badge that opens a notebook in Colab, or by none for no source.

    Args:
        text: begins with a title and a blank line; a badge that is there already is replaced.
        notebook: name of the file in notebooks/.
        source: where it is.

    Raises:
        CourseError: if no title and blank line come first.
    """
    title, blank, rest = BADGE.sub("", text, count=1).partition("\n\n")
    if source is None:
        return title + blank + rest
    if not title.startswith("# ") or not blank:
        raise CourseError("a badge stands below the title, and the text does not begin with a title and a blank line")
    page = source.address.removeprefix(HOST) + f"/blob/{source.branch}/notebooks/{notebook}"
    colab = "https://colab.research.google.com"
    badge = f"[![Open in Colab]({colab}/assets/colab-badge.svg)]({colab}/github/{page})"
    return f"{title}\n\n{badge}\n\n{rest}"
