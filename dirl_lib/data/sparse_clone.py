"""One folder of a git repository, and little else of it: a sparse and shallow clone, by the `git` program.

Nothing of the repository is run: no hooks, no filters of its own, no links, no question for a password.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

from dirl_lib.images import printable

__all__ = ["DOWNLOAD", "CloneError", "remove_clone", "sparse_clone"]

DOWNLOAD = ".download"
"""A folder whose name ends so may be replaced: nobody keeps anything else in it."""

TOUCHED_BY_HOOKS = ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_OBJECT_DIRECTORY", "GIT_COMMON_DIR")


class CloneError(ValueError):
    """A repository cannot be had. The message is one line that says what to do."""


def sparse_clone(url: str, folder: str, into_folder: str | Path, progress: Callable[[str], None] | None = None) -> Path:
    """Clone one folder of a repository.

    Args:
        url: what `git clone` takes.
        folder: its path in the repository.
        into_folder: becomes the clone. One that an interrupted call left there is gone on with; anything else stays
            untouched, unless the name ends with `DOWNLOAD` and so says that it may go.
        progress: called with each line of git's progress.

    Returns:
        The clone.

    Raises:
        CloneError: git is missing or too old, the repository cannot be reached, or it has no such folder.
        FileExistsError: `into_folder` holds something else.
    """
    clone = Path(into_folder).absolute()
    progress = progress or _quiet
    clone.parent.mkdir(parents=True, exist_ok=True)
    with _one_at_a_time(clone.parent, progress) as handles:
        git = _Git(url, progress, handles)
        here = ("-C", str(clone))
        tree = ("rev-parse", "--verify", "--quiet", f"HEAD:{folder}")
        # Asked only of a folder that has a .git: git would look in the folders above, and find somebody else's.
        begun = (clone / ".git").is_dir() and git.answer(*here, "config", "--get", "remote.origin.url") == url
        if begun:
            for lock in [*(clone / ".git").glob("*.lock"), *(clone / ".git" / "info").glob("*.lock")]:
                lock.unlink()  # of a git that was killed: each later one would refuse to start
        if not (begun and git.answer(*here, *tree)):
            if clone.suffix != DOWNLOAD and clone.exists() and any(clone.iterdir()):
                raise FileExistsError(
                    f"{printable(clone)}: found files that are no clone of {printable(url)}, expected a new or empty "
                    "folder; choose another one"
                )
            remove_clone(clone)
            # A server that knows no filters sends every file instead; git says so, and all the rest works alike.
            shape = ("--depth", "1", "--filter=blob:none", "--sparse", "--no-checkout")
            git.run("clone", "--progress", "--config", "core.symlinks=false", *shape, "--", url, str(clone))
            if not git.answer(*here, *tree):
                remove_clone(clone)
                raise CloneError(
                    f"{printable(url)}: found no folder {folder!r} in the repository, expected it there; "
                    "check the address of the repository"
                )
        git.run(*here, "sparse-checkout", "set", folder)
        git.run(*here, "checkout", "--progress", "--force", "HEAD")
    return clone


def remove_clone(folder: Path) -> None:
    """Remove a clone: git makes its objects read-only, and Windows deletes no such file."""
    for path in (folder / ".git" / "objects").rglob("*"):
        path.chmod(stat.S_IRWXU)
    shutil.rmtree(folder, ignore_errors=True)


def _quiet(line: str) -> None:
    """No progress wanted."""


@contextlib.contextmanager
def _one_at_a_time(folder: Path, progress: Callable[[str], None]) -> Iterator[tuple[int, ...]]:
    """Wait until no other run downloads into `folder`, nor a git whose run was killed: it would spoil the clone.

    Yields what must be handed on to each git, which then holds its place for as long as it lives.
    """
    if sys.platform == "win32":  # no such locks there
        yield ()
        return
    import fcntl

    handle = os.open(folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            progress("waiting for the end of another run, or of the git that a killed run left")
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield (handle,)
    finally:
        os.close(handle)


class _Git:
    """The `git` command, with everything turned off that a foreign repository could use."""

    def __init__(self, url: str, progress: Callable[[str], None], handles: tuple[int, ...]) -> None:
        program = shutil.which("git")
        if program is None:
            raise CloneError(
                f"git: found no such program, expected it for the download; install git, or download {printable(url)} "
                "as a zip in a browser, unpack it and give --source FOLDER"
            )
        settings = (
            f"core.hooksPath={os.devnull}",
            "core.symlinks=false",
            "core.autocrlf=false",
            "core.fsmonitor=false",
            "submodule.recurse=false",
            "gc.auto=0",
            "maintenance.auto=false",
            # A connection that stands still for a minute is given up; git itself would wait for ever.
            "http.lowSpeedLimit=1000",
            "http.lowSpeedTime=60",
        )
        self.start = [program, *(word for setting in settings for word in ("-c", setting))]
        self.url = url
        self.progress = progress
        self.handles = handles
        self.environment = {name: value for name, value in os.environ.items() if name not in TOUCHED_BY_HOOKS} | {
            "GIT_TERMINAL_PROMPT": "0",
            "GIT_LFS_SKIP_SMUDGE": "1",
            "GIT_ALLOW_PROTOCOL": "https:http:ssh:git:file",
            "LC_ALL": "C",  # "fatal:" is translated otherwise
        }

    def answer(self, *arguments: str) -> str:
        """What a quick command prints; nothing if it fails."""
        done = subprocess.run(
            [*self.start, *arguments],
            env=self.environment,
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
        )
        return done.stdout.strip() if done.returncode == 0 else ""

    def run(self, *arguments: str) -> None:
        """Run a command that takes its time, handing on its progress."""
        complaint = "no reason given"
        with subprocess.Popen(
            [*self.start, *arguments],
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,  # also ends a line at the carriage return of git's counters
            errors="replace",
            pass_fds=self.handles,
        ) as process:
            assert process.stderr is not None
            try:
                for line in process.stderr:
                    line = printable(line.strip(), 300)
                    if line.startswith(("fatal:", "error:")):
                        complaint = line
                    if line:
                        self.progress(line)
            except BaseException:
                process.kill()
                raise
        if process.returncode:
            raise CloneError(
                f"{printable(self.url)}: git could not get the repository ({complaint}), expected a download; check "
                "the network and run again, or download the repository as a zip in a browser, unpack it and give "
                "--source FOLDER"
            )
