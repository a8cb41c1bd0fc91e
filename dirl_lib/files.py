"""Files that appear in one step."""

from __future__ import annotations

import os
import secrets
from pathlib import Path

__all__ = ["write_in_one_step"]


def write_in_one_step(path: Path, content: bytes) -> None:
    """Write a file so that a kill leaves the old one or the new one, never half; a leftover is called `.<name>.*.part`.

    Raises:
        OSError: the folder is missing, read-only or full; the old file is then still there.
    """
    # Beside the target, as os.replace is one step only within a file system; "xb" keeps the user's usual rights.
    part = path.with_name(f".{path.name}.{secrets.token_hex(4)}.part")
    try:
        with part.open("xb") as file:
            file.write(content)
        os.replace(part, path)  # noqa: PTH105 (the name says that an old file is replaced)
    finally:
        part.unlink(missing_ok=True)
