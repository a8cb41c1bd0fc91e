"""Where the large data sets are on this machine, if they are."""

from __future__ import annotations

import os
from pathlib import Path

from dirl_lib.data.sample import default_root

__all__ = ["local_data"]

VARIABLES = {"iHarmony4": "IHARMONY4_ROOT", "lalonde_efros": "LALONDE_EFROS_ROOT"}


def local_data(name: str) -> Path | None:
    """The folder of a data set: what its environment variable names, else `data/<name>` of the checkout, else None.

    Args:
        name: "iHarmony4" (variable IHARMONY4_ROOT) or "lalonde_efros" (LALONDE_EFROS_ROOT).

    Raises:
        ValueError: another name.
        FileNotFoundError: the variable names a folder that is not there; a spelling mistake must not look like no data.
    """
    if name not in VARIABLES:
        raise ValueError(f"found the data set {name!r}, expected one of {', '.join(VARIABLES)}")
    named = os.environ.get(VARIABLES[name])
    if named:
        folder = Path(named).expanduser()
        if not folder.is_dir():
            raise FileNotFoundError(f"{folder}: no such folder; mend or unset the variable {VARIABLES[name]}")
        return folder
    folder = default_root().parent / name
    return folder if folder.is_dir() else None
