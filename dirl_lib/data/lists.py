"""List files of data sets, as iHarmony4's `le50_test.txt`: one relative path in each line.

    for entry in read_list(root / "le50_test.txt"):
        image = read_image(inside(root, entry))

A list comes from somewhere else, and each of its lines opens a file. What could lead out of the data set's folder is
refused, and so is what would bend a score in silence: a line that stands there twice counts double in every mean.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from itertools import zip_longest
from pathlib import Path

from dirl_lib.files import write_in_one_step
from dirl_lib.images import file_size, printable

__all__ = ["ListFileError", "inside", "path_problem", "read_list", "write_list"]

# A list of a million images takes about this much; a larger file is an archive or an image under a wrong name.
MAX_LIST_BYTES = 64 * 1024 * 1024

MAX_PATH_LENGTH = 4096  # PATH_MAX of Linux; other systems stop earlier

CONTROL_CHARACTER = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")  # Unicode's Cc, and its two line ends Zl and Zp


class ListFileError(ValueError):
    """A list cannot be used. The message is one line: which list and line, what is wrong with it, what to do."""


def read_list(path: str | Path, *, problems: list[str] | None = None) -> list[str]:
    r"""Read a list of relative paths; "/" separates folders.

    UTF-8 with or without a byte order mark; lines end with LF, CRLF or CR; blank lines, blanks around an entry, "./"
    and doubled slashes do not matter, and a Windows "\" is a "/".

    Args:
        path: the list file.
        problems: None stops at the first line that cannot be used; a list collects one message for each and the
            reading goes on without these lines.

    Returns:
        The entries in the order of the file, no two alike.

    Raises:
        ListFileError: the file is missing, too large, not UTF-8 or without a single entry; or, without `problems`, a
            line holds an absolute path, "..", an address, control characters, or an entry for the second time.
    """
    path = Path(path)
    size = file_size(path, ListFileError, "a list with one path in each line")
    if size > MAX_LIST_BYTES:
        raise ListFileError(
            f"{printable(path)}: found {size} bytes, expected a list of at most {MAX_LIST_BYTES}; "
            "name the .txt file of the data set, or split it"
        )
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ListFileError(f"{printable(path)}: cannot be read ({error.strerror}); check its access rights") from error
    return _parse(data, printable(path), problems)


def write_list(path: str | Path, entries: Iterable[str]) -> None:
    """Write a list that `read_list` gives back as it is: UTF-8, LF, in one step (the old file or the new one).

    Raises:
        ListFileError: `read_list` would refuse the entries or return others, or the folder is not there.
    """
    path, entries = Path(path), list(entries)
    name = printable(path)
    try:
        data = "".join(f"{entry}\n" for entry in entries).encode()
    except UnicodeEncodeError as error:
        raise ListFileError(
            f"{name}: found '{printable(error.object[error.start])}', which UTF-8 cannot hold; rename the file"
        ) from None
    for number, (entry, again) in enumerate(zip_longest(entries, _parse(data, name, None)), start=1):
        if entry != again:
            written, read = printable(entry or "", 80), printable(again or "", 80)
            raise ListFileError(
                f"{name}: entry {number} '{written}' would be read as '{read}'; "
                "write it without blanks around it, backslashes, './' and line ends"
            )
    if not path.parent.is_dir():
        raise ListFileError(f"{name}: the folder {printable(path.parent)} does not exist; create it first")
    write_in_one_step(path, data)


def inside(root: Path, relative: str) -> Path:
    """`root / relative`, after a look at where it really lies: links are followed and may not lead out of `root`.

    The path comes back as it was asked for, links and all, since a file's name tells photo and mask.

    Raises:
        ListFileError: it lies outside `root`, or no file system could hold it.
    """
    path = root / relative
    try:
        lies_inside = path.resolve().is_relative_to(root.resolve())
    except (OSError, ValueError, RuntimeError) as error:  # too long; a NUL; links in a circle (until Python 3.12)
        raise ListFileError(
            f"{printable(relative, 80)}: no path below {printable(root)} "
            f"({printable(str(error), 80)}); mend the list or the link"
        ) from None
    if not lies_inside:
        raise ListFileError(
            f"{printable(relative, 80)}: lies outside {printable(root)}, expected a file of the data set; "
            "name it from that folder, or copy what a link points to"
        )
    return path


def path_problem(relative: str) -> str | None:
    """Why a path out of a list or an archive must not be followed on some system; None where it is harmless."""
    if len(relative) > MAX_PATH_LENGTH:
        return f"found {len(relative)} characters"
    if CONTROL_CHARACTER.search(relative):
        return "found a control character"
    if re.match(r"[A-Za-z][A-Za-z0-9+.-]*://", relative):
        return "found an address"
    if re.match(r"[A-Za-z]:", relative):
        return "found a drive letter"
    if relative.startswith(("/", "\\")):
        return "found an absolute path"
    # Windows drops dots and blanks at the end of a name, so that ".. " is ".." there.
    if any(part != "." and part and not part.strip(". ") for part in re.split(r"[/\\]", relative)):
        return "found '..'"
    return None


def _parse(data: bytes, name: str, problems: list[str] | None) -> list[str]:
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        bad = data[: error.start].count(b"\n") + 1
        raise ListFileError(f"{name}, line {bad}: found bytes that are not UTF-8; save the list as UTF-8") from None
    first_seen: dict[str, int] = {}
    # Not str.splitlines, which also cuts at letters that may stand in a name.
    for number, line in enumerate(re.split("\r\n|\r|\n", text), start=1):
        written = line.strip(" \t")
        if not written:
            continue
        entry = "/".join(part for part in written.replace("\\", "/").split("/") if part not in ("", "."))
        problem = path_problem(written) or path_problem(entry)  # "./C:" becomes a drive letter only now
        if problem is None and not entry:
            problem = "found the folder itself"
        if problem is not None:
            problem += ", expected a path relative to the data set's folder; mend or remove the line"
        elif entry in first_seen:
            problem = f"stands in line {first_seen[entry]} already and would count double; remove one of the two"
        if problem is None:
            first_seen[entry] = number
            continue
        message = f"{name}, line {number}: '{printable(written, 80)}': {problem}"
        if problems is None:
            raise ListFileError(message)
        problems.append(message)
    if not first_seen:
        raise ListFileError(f"{name}: found no usable entry, expected one path in each line; get the list again")
    return list(first_seen)
