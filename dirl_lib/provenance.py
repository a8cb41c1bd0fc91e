"""Where a number comes from: command, date, commit, machine and versions, beside what was measured."""

from __future__ import annotations

import contextlib
import datetime
import functools
import importlib.metadata
import json
import os
import platform
import shlex
import subprocess
import sys
from pathlib import Path

from dirl_lib import __version__
from dirl_lib.files import write_in_one_step

__all__ = ["provenance", "write_record"]

PACKAGES = ("torch", "torchvision", "numpy", "pillow", "scipy", "safetensors")


def provenance() -> dict[str, object]:
    """What somebody needs to get a number again: the keys `command`, `date`, `commit`, `hardware`, `versions`.

    `commit` is the kit's own, marked "-dirty" where files differ from it; installed without git it is the version.
    """
    return {
        "command": _command(),
        "date": datetime.datetime.now(tz=datetime.UTC).date().isoformat(),
        "commit": _commit(),
        "hardware": _hardware(),
        "versions": {"python": platform.python_version()}
        | {package: importlib.metadata.version(package) for package in PACKAGES},
    }


def write_record(path: Path, figures: dict[str, object]) -> None:
    """Write `figures` with their provenance as JSON.

    Args:
        path: the file, usually in `results/`; its folder is made.
        figures: anything that JSON can hold.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    write_in_one_step(path, (json.dumps({**figures, **provenance()}, indent=1) + "\n").encode())


def _command() -> str:
    """The command line without this machine's folders in the program's name."""
    program = Path(sys.argv[0])
    if program.suffix != ".py":
        return shlex.join([program.name, *sys.argv[1:]])
    with contextlib.suppress(ValueError):
        program = program.resolve().relative_to(Path(__file__).resolve().parents[1])
    return shlex.join(["python", str(program), *sys.argv[1:]])


@functools.cache  # what a program writes must not mark its later numbers dirty
def _commit() -> str:
    command = ["git", "describe", "--always", "--dirty", "--abbrev=12"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=Path(__file__).parent)
    except FileNotFoundError:
        return f"version {__version__}"
    return done.stdout.strip() or f"version {__version__}"


def _hardware() -> dict[str, object]:
    machine: dict[str, object] = {"processor": _processor(), "cores": os.cpu_count()}
    torch = sys.modules.get("torch")  # a number that torch had no part in needs no GPU's name
    if torch is not None and torch.cuda.is_available():
        machine["gpu"] = torch.cuda.get_device_name()
    return machine


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()
