"""Unpack an archive of a data set, and nothing but its files, into one folder.

    unpack("HFlickr.zip", "iHarmony4", skip=["real_images"])

An archive says itself where its files go, how large they are and what they link to. None of it is believed: names
are checked before anything is written, bytes are counted while they are written, and the folder gets to see the
files only after the last of them came out whole.
"""

from __future__ import annotations

import bz2
import contextlib
import gzip
import io
import lzma
import secrets
import shutil
import stat
import struct
import tarfile
import time
import unicodedata
import zipfile
import zlib
from collections.abc import Callable, Collection, Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import IO, NamedTuple

from dirl_lib.data.lists import path_problem
from dirl_lib.images import file_size, printable, what_is_in

__all__ = ["ArchiveError", "unpack"]

# iHarmony4 unpacked has up to 125 GB, of which HAdobe5k has up to 110: room for all of it in one archive, and no more
# than a disk of today can lose.
MAX_BYTES = 200 * 10**9

# iHarmony4 has 190 thousand files. Empty files count no bytes and still fill a disk's table of files.
MAX_MEMBERS = 1_000_000

# tarfile reads a header in one go, however large it says it is: 200 GB for the name of one file, if the archive wants.
MAX_READ = 4 * 1024 * 1024
CHUNK = 1024 * 1024

# Stays free on the disk, so that unpacking never brings a machine to a stop.
RESERVE = 500 * 10**6

PART_NAME = ".unpack-{}.part"

UNPACKERS: dict[bytes, Callable[[Path], io.BufferedIOBase]] = {
    b"\x1f\x8b": gzip.GzipFile,
    b"BZh": bz2.BZ2File,
    b"\xfd7zXZ\x00": lzma.LZMAFile,
}

# What the readers raise for bytes that are not what they should be.
DAMAGE = (
    zipfile.BadZipFile,
    tarfile.TarError,
    zlib.error,
    lzma.LZMAError,
    struct.error,
    EOFError,
    NotImplementedError,  # a zip packed by a method that zipfile lacks
    UnicodeError,
)


class ArchiveError(ValueError):
    """An archive cannot be used. The message is one line: which archive, what is wrong with it, what to do."""


class Member(NamedTuple):
    """One entry of an archive."""

    name: str
    """As it is written in the archive."""
    kind: str
    """"file", "folder", or in words what else it is."""
    size: int
    """Bytes, by its own account."""
    open: Callable[[], IO[bytes]]
    """Gives a file's content; of a tar only until the next member is asked for."""


class Allowance:
    """Bytes that may still be used up; the one that is too many raises the message."""

    def __init__(self, size: int, message: str) -> None:
        self.left = size
        self.message = message

    def take(self, size: int) -> None:
        self.check(size)
        self.left -= size

    def check(self, size: int) -> None:
        if size > self.left:
            raise ArchiveError(self.message)


def unpack(
    archive: str | Path, into: str | Path, *, skip: Collection[str] = (), max_bytes: int = MAX_BYTES
) -> list[Path]:
    """Unpack a .zip or a .tar, plain or packed with gzip, bzip2 or xz; the content decides, not the name.

    Files of an earlier run stay as they are if they are the same, so that a second run does no harm; a different file
    is never replaced. New files appear at the end, each new folder in one step with everything below it. Rights,
    owners and times that the archive names are not taken over.

    Args:
        archive: the file.
        into: the folder that receives the files; made if it is not there.
        skip: names of folders to leave out wherever they stand, as "real_images", which localization does not need.
        max_bytes: most that may come out of the archive.

    Returns:
        The files in the archive's order, with those that were there already.

    Raises:
        ArchiveError: the archive is missing, damaged, encrypted, or too large for `max_bytes` or the disk; it has no
            files; it names a path that leads out of `into`, a link, a device, or two paths that some file system takes
            for one; or something else of that name is in `into`. Then nothing new is in `into`.
    """
    if isinstance(skip, str):
        raise TypeError(f"found skip={skip!r}, expected a list of folder names; write skip=[{skip!r}]")
    archive, into = Path(archive), Path(into).expanduser().absolute()
    file_size(archive, ArchiveError, "a zip or tar archive")
    name = printable(archive)
    if into.exists() and not into.is_dir():
        raise ArchiveError(f"{name}: {printable(into)} is a file, expected a folder to unpack into; choose another")
    new_folders = [folder for folder in (into, *into.parents) if not folder.exists()]
    # Not beside `into`: that may be the top of a disk of its own, and a move is one step only within a disk.
    part = into / PART_NAME.format(secrets.token_hex(4))
    try:
        part.mkdir(parents=True)
        _remove_abandoned(into)
        allowed = Allowance(
            max_bytes,
            f"{name}: more than {max_bytes} bytes come out of it, the most that was expected; "
            "check that it is the right archive, and if you trust it pass a larger max_bytes",
        )
        with _members(archive, part) as members:
            files = _write(_wanted(members, frozenset(skip), name), into, part, allowed, name)
        _move(part, into, name)
    except ArchiveError:
        raise
    except DAMAGE as error:
        raise _damaged(name, error) from error
    except OSError as error:
        if error.errno is None:  # gzip and bz2 say so that their data are wrong; the system's errors have a number
            raise _damaged(name, error) from error
        raise ArchiveError(
            f"{name}: cannot unpack into {printable(into)} ({error.strerror}); "
            "check rights, free space and the length of names there"
        ) from error
    finally:
        shutil.rmtree(part, ignore_errors=True)
        for folder in new_folders:
            with contextlib.suppress(OSError):  # only an empty folder can be removed: after success none is
                folder.rmdir()
    return files


def _damaged(name: str, error: Exception) -> ArchiveError:
    reason = printable(" ".join(str(error).split()) or type(error).__name__, 200)
    return ArchiveError(f"{name}: the archive is damaged or cut short ({reason}); download it again")


def _remove_abandoned(into: Path) -> None:
    """Clear away what killed runs left behind; a part folder younger than a day may belong to a run still at work."""
    for left in into.glob(PART_NAME.format("*")):
        if time.time() - left.stat().st_mtime > 24 * 3600:
            shutil.rmtree(left, ignore_errors=True)


@contextlib.contextmanager
def _members(archive: Path, part: Path) -> Iterator[Iterable[Member]]:
    """What an archive holds: of a zip the whole table, of a tar one after the other as it is read."""
    with archive.open("rb") as file:
        start = file.read(6)
    if start.startswith((b"PK\x03\x04", b"PK\x05\x06")):  # the second is a zip without any file
        with zipfile.ZipFile(archive) as pack:
            yield [_zip_member(pack, info) for info in pack.infolist()]
        return
    packed = next((unpacker for magic, unpacker in UNPACKERS.items() if start.startswith(magic)), None)
    with packed(archive) if packed else archive.open("rb") as raw:
        stream = Forward(raw)
        try:
            tar = tarfile.open(fileobj=stream, mode="r:")  # noqa: SIM115 (`stream` is all there is to close)
        except tarfile.ReadError as error:
            found = "found a packed file without a whole tar in it" if packed else what_is_in(archive)
            raise ArchiveError(
                f"{printable(archive)}: {found}, expected a zip or tar archive ({printable(str(error), 80)}); "
                "download it again"
            ) from None
        yield _tar_members(tar, stream, part)


def _zip_member(pack: zipfile.ZipFile, info: zipfile.ZipInfo) -> Member:
    mode = stat.S_IFMT(info.external_attr >> 16)  # 0 where the archive was made on Windows
    if mode == stat.S_IFLNK:
        kind = "a link"
    elif mode not in (0, stat.S_IFREG, stat.S_IFDIR):
        kind = "a device or pipe"
    elif info.flag_bits & 0x1:
        kind = "an encrypted file"
    else:
        kind = "folder" if info.orig_filename.endswith("/") else "file"
    # The original name: zipfile cuts the other one at a NUL, behind which something else may stand.
    return Member(info.orig_filename, kind, info.file_size, partial(pack.open, info))


def _tar_members(tar: tarfile.TarFile, stream: Forward, part: Path) -> Iterator[Member]:
    while (info := tar.next()) is not None:
        if info.issym() or info.islnk():
            kind = "a link"
        elif info.isreg() or info.isdir():
            kind = "file" if info.isreg() else "folder"
        else:
            kind = "a device or pipe"
        yield Member(info.name, kind, info.size, partial(_tar_content, tar, info, part))
    # tarfile takes any block that is no header for the end, also the one where a download broke off.
    if stream.last != bytes(tarfile.BLOCKSIZE):
        raise tarfile.ReadError("no end mark")
    stream.read(MAX_READ)  # what fills the last block up; at its end gzip compares its checksum


def _tar_content(tar: tarfile.TarFile, info: tarfile.TarInfo, part: Path) -> IO[bytes]:
    if hasattr(tarfile, "data_filter"):  # from Python 3.11.4 on: the standard's own opinion on the name and the kind
        tarfile.data_filter(info, str(part))
    content = tar.extractfile(info)
    assert content is not None, "extractfile gives None for folders and devices, which come here as no file"
    return content


class Forward(io.RawIOBase):
    """A stream read once from front to back, in pieces that fit into memory.

    A packed tar can only be read forwards; its readers answer a step back by unpacking all of it once more.
    """

    def __init__(self, raw: io.BufferedIOBase) -> None:
        self.raw = raw
        self.position = 0
        self.last = b""
        """What the latest `read` gave."""

    def read(self, size: int = -1, /) -> bytes:
        if not 0 <= size <= MAX_READ:
            raise tarfile.ReadError(f"a header of {size} bytes")
        self.last = self.raw.read(size)
        self.position += len(self.last)
        return self.last

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        if whence != io.SEEK_SET or offset < self.position:
            raise tarfile.ReadError("members that overlap")
        while self.position < offset and self.read(min(CHUNK, offset - self.position)):
            pass
        return self.position

    def tell(self) -> int:
        return self.position


def _wanted(members: Iterable[Member], skip: frozenset[str], name: str) -> Iterable[tuple[tuple[str, ...], Member]]:
    """The checked members with their paths in parts, without the folders to skip; of a zip all before the first."""
    wanted = _checked(members, skip, name)
    return list(wanted) if isinstance(members, list) else wanted


def _checked(members: Iterable[Member], skip: frozenset[str], name: str) -> Iterator[tuple[tuple[str, ...], Member]]:
    seen: dict[str, tuple[str, bool]] = {}
    for number, member in enumerate(members, start=1):
        shown = printable(member.name, 80)
        if number > MAX_MEMBERS:
            raise ArchiveError(f"{name}: found more than {MAX_MEMBERS} members, expected a data set; unpack it by hand")
        problem = path_problem(member.name) or ("found a backslash" if "\\" in member.name else None)
        if problem is not None:
            raise ArchiveError(
                f"{name}: '{shown}': {problem}, expected a path below the folder to unpack into; "
                "get the archive from its authors"
            )
        parts = tuple(part for part in member.name.split("/") if part not in ("", "."))
        if skip.intersection(parts if member.kind == "folder" else parts[:-1]):
            continue
        if member.kind not in ("file", "folder"):
            raise ArchiveError(
                f"{name}: '{shown}': found {member.kind}, expected plain files and folders; get an archive without it"
            )
        if parts:
            _refuse_collision(seen, parts, member.kind == "folder", name)
            yield parts, member
        elif member.kind == "file":
            raise ArchiveError(f"{name}: found a file without a name, expected a path; get the archive again")


def _refuse_collision(seen: dict[str, tuple[str, bool]], parts: tuple[str, ...], is_folder: bool, name: str) -> None:
    """Refuse a path that is there already: itself, or on macOS and Windows another spelling of it."""
    for depth in range(1, len(parts) + 1):
        path, folder = "/".join(parts[:depth]), is_folder or depth < len(parts)
        # Windows drops dots and blanks at the end of a name.
        key = unicodedata.normalize("NFC", "/".join(part.rstrip(". ") for part in parts[:depth])).casefold()
        if key in seen and not (folder and seen[key] == (path, True)):
            raise ArchiveError(
                f"{name}: found '{printable(seen[key][0], 80)}' and '{printable(path, 80)}', expected names that are "
                "different files everywhere; get the archive again or unpack it by hand"
            )
        seen[key] = (path, folder)


def _write(
    wanted: Iterable[tuple[tuple[str, ...], Member]], into: Path, part: Path, allowed: Allowance, name: str
) -> list[Path]:
    """Put the files that `into` lacks into `part`, and compare the others."""
    free = shutil.disk_usage(part).free
    room = Allowance(
        free - RESERVE,
        f"{name}: does not fit on the disk of {printable(into)}, where {free} bytes are free and {RESERVE} shall stay "
        "so; make room, choose another disk, or skip folders",
    )
    if isinstance(wanted, list):  # a zip has a table of sizes: better refused now than after an hour
        allowed.check(sum(member.size for _, member in wanted))
        room.check(sum(member.size for parts, member in wanted if not into.joinpath(*parts).exists()))
    files: list[Path] = []
    for parts, member in wanted:
        _refuse_obstacle(into, parts, member.kind == "folder", name)
        fresh, target = part.joinpath(*parts), into.joinpath(*parts)
        if member.kind == "folder":
            fresh.mkdir(parents=True, exist_ok=True)
            continue
        with member.open() as content:
            if target.exists():
                _compare(content, target, allowed, name)
            else:
                fresh.parent.mkdir(parents=True, exist_ok=True)
                with fresh.open("xb") as file:
                    while chunk := content.read(CHUNK):
                        allowed.take(len(chunk))
                        room.take(len(chunk))
                        file.write(chunk)
        files.append(target)
    if not files:
        raise ArchiveError(f"{name}: found no file, apart from folders to skip, expected a data set; get another one")
    return files


def _refuse_obstacle(into: Path, parts: tuple[str, ...], is_folder: bool, name: str) -> None:
    """Refuse to write through a link that leads elsewhere, and to mix up files and folders."""
    path = into
    for depth, step in enumerate(parts, start=1):
        path /= step
        folder = is_folder or depth < len(parts)
        if path.is_symlink() or (path.exists() and path.is_dir() != folder):
            raise ArchiveError(
                f"{name}: {printable(path)} is in the way, expected {'a folder' if folder else 'no folder'} and no "
                "link there; move it away or unpack into another folder"
            )


def _compare(content: IO[bytes], target: Path, allowed: Allowance, name: str) -> None:
    with target.open("rb") as old:
        same = True
        while same and (chunk := content.read(CHUNK)):
            allowed.take(len(chunk))
            same = old.read(len(chunk)) == chunk
        if not same or old.read(1):
            raise ArchiveError(
                f"{name}: {printable(target)} is there with another content, expected the same or none; "
                "move it away or unpack into another folder"
            )


def _move(part: Path, into: Path, name: str) -> None:
    """Move what is new into place; of a folder that is there already, what it lacks."""
    for fresh in sorted(part.iterdir()):
        target = into / fresh.name
        if fresh.is_dir() and target.is_dir() and not target.is_symlink():
            _move(fresh, target, name)
        elif target.exists() or target.is_symlink():
            raise ArchiveError(f"{name}: {printable(target)} appeared meanwhile; unpack again when nothing else writes")
        else:
            fresh.rename(target)
