"""A measured result as a file: what was measured, by which command, on which machine, with which versions."""

from __future__ import annotations

import datetime
import importlib.metadata
import json
import os
import platform
import subprocess
import sys
from pathlib import Path

__all__ = ["write_record"]

PACKAGES = ("torch", "torchvision", "numpy", "pillow", "scipy", "safetensors")


def write_record(path: Path, figures: dict[str, object]) -> None:
    """Write `figures` with their provenance as JSON.

    Args:
        path: the file, usually in `results/`.
        figures: anything that JSON can hold.
    """
    record = {
        **figures,
        "command": " ".join(["python", *sys.argv]),
        "date": datetime.datetime.now(tz=datetime.UTC).date().isoformat(),
        "commit": _commit(),
        "hardware": {"processor": _processor(), "cores": os.cpu_count()},
        "versions": {"python": platform.python_version()}
        | {package: importlib.metadata.version(package) for package in PACKAGES},
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")


def _commit() -> str:
    """The commit, marked where files differ from it; a figure of changed code cannot be had again from the commit."""
    command = ["git", "describe", "--always", "--dirty", "--abbrev=12"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.stdout.strip() or "no git"


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()
