"""The prepared store: every image and mask resized once, so that an epoch never decodes a 12-megapixel JPEG again.

    prepare(records, "cache/256", Resize(256))          # once; killed at any moment, run again
    PreparedStore("cache/256")["c35030_434421_1"]       # uint8 (3, 256, 256), bool (1, 256, 256)

The format is safetensors, up to 256 images a file: mapped into memory, readable in any order or straight through, and
never unpickled. For each image `<name>/image` is uint8 (3, h, w) and `<name>/mask` uint8 (h, ceil(w / 8)), eight pixels
a byte; the header holds the recipe, and of every entry a CRC-32 and a stamp of the two files it was made of.
`store.json` comes last: a folder without it is not finished. The same files and recipe give the same bytes,
interrupted or not.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import zlib
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from dirl_lib.data.folders import MaskedPhoto, read_pair, stamp
from dirl_lib.data.transforms import Resize
from dirl_lib.files import write_in_one_step
from dirl_lib.images import ImageFileError

__all__ = ["PreparedStore", "StoreError", "prepare"]

FORMAT = 1
MOST_IN_A_SHARD = 256
SHARD_BYTES = 64 * 1024 * 1024
INDEX = "store.json"
COMPARED = 64
"""Of so many records the stamps are compared when a store is opened, evenly spread: a store of other files differs in
nearly all of them."""


class StoreError(ValueError):
    """A store cannot be used. The message is one line: which file or entry, what is wrong with it, what to do."""


def prepare(
    records: Sequence[MaskedPhoto],
    out: str | Path,
    resize: Resize,
    *,
    workers: int | None = None,
    problems: list[str] | None = None,
    progress: Callable[[int], object] | None = None,
) -> PreparedStore:
    """Resize every record into a store at `out`; what an interrupted run finished is kept.

    Args:
        records: any records of this kit, of different names.
        out: a new or empty folder, or an earlier store of these names and this recipe. Where source files have changed,
            as a bad file that was mended, their part of the store is made again.
        resize: the recipe.
        workers: threads that decode; None takes one for each core.
        problems: None stops at the first bad file; a list collects one line for each, and the store leaves it out and
            lists it under `excluded`.
        progress: called now and then with the number of records done since the last call.

    Raises:
        StoreError: no records, two of one name; `out` holds other things, or a store of another recipe or other names.
        ImageFileError: a bad file, without `problems`.
    """
    out = Path(out)
    if not records:
        raise StoreError(f"{out}: found no records, expected at least one image with its mask")
    if len({record.name for record in records}) < len(records):
        raise StoreError(f"{out}: found two records of one name, expected each once; prepare the folders separately")
    try:
        fingerprint = _fingerprint(records, resize)
    except UnicodeEncodeError as error:
        raise StoreError(f"{out}: found the name {error.object!r}, expected UTF-8; rename the file") from None
    _claim(out, fingerprint)

    def entry(record: MaskedPhoto) -> tuple[Tensor, Tensor] | str:
        try:
            return resize(*read_pair(record, at_least=resize.decode_at_least))
        except ImageFileError as error:
            if problems is None:
                raise
            return str(error)

    headers: list[dict[str, Any]] = []
    length = _shard_length(resize)
    with ThreadPoolExecutor(workers or os.cpu_count()) as pool:
        try:
            for number, start in enumerate(range(0, len(records), length)):
                shard, part = _shard_path(out, number), records[start : start + length]
                stamps = dict(zip((record.name for record in part), pool.map(stamp, part), strict=True))
                header = _finished_shard(shard, fingerprint)
                if header is None or not _serves(shard, header, stamps, keep_excluded=problems is not None):
                    entries: dict[str, tuple[Tensor, Tensor] | str] = {}
                    for record, one in zip(part, pool.map(entry, part), strict=True):
                        entries[record.name] = one
                        if progress is not None:
                            progress(1)
                    header = _write_shard(shard, entries, fingerprint, stamps)
                elif progress is not None:
                    progress(len(part))
                headers.append(header)
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
    excluded = {name: line for header in headers for name, line in header["excluded"].items()}
    if problems is not None:
        problems += excluded.values()
    index = {
        "format": FORMAT,
        "fingerprint": fingerprint,
        "resize": asdict(resize),
        "count": sum(len(header["crc32"]) for header in headers),
        "excluded": excluded,
        "shards": [list(header["crc32"]) for header in headers],
    }
    write_in_one_step(out / INDEX, json.dumps(index, indent=0, sort_keys=True).encode())
    for left in out.glob(".*.part"):  # of runs that were killed
        left.unlink(missing_ok=True)
    return PreparedStore(out)


class PreparedStore:
    """Entries of a finished store by name, each checked against its sum as it is read.

    Raises:
        StoreError: no store, not finished, or of a newer format.
    """

    def __init__(self, root: str | Path) -> None:
        self.root = Path(root)
        index = _read_index(self.root)
        self.resize = Resize(**index["resize"])
        self.fingerprint: str = index["fingerprint"]
        self.excluded: dict[str, str] = index["excluded"]
        """Name and reason of each record that was left out."""
        self._shard_of = {name: number for number, names in enumerate(index["shards"]) for name in names}
        self._open: dict[int, tuple[Any, dict[str, Any]]] = {}

    def __len__(self) -> int:
        return len(self._shard_of)

    def __iter__(self) -> Iterator[str]:
        return iter(self._shard_of)

    def __contains__(self, name: object) -> bool:
        return name in self._shard_of

    def __getstate__(self) -> dict[str, Any]:
        # Open files do not travel to other processes; each opens its own.
        return self.__dict__ | {"_open": {}}

    def __getitem__(self, name: str) -> tuple[Tensor, Tensor]:
        """uint8 (3, h, w) and bool (1, h, w).

        Raises:
            KeyError: no entry of this name.
            StoreError: the entry or its file is damaged.
        """
        path = _shard_path(self.root, self._shard_of[name])
        tensors, header = self._shard(self._shard_of[name])
        image, packed = tensors.get_tensor(f"{name}/image"), tensors.get_tensor(f"{name}/mask")
        if _crc(image, packed) != header["crc32"][name]:
            raise StoreError(f"{path}: the entry {name} is damaged; delete this file and prepare the store again")
        bits = np.unpackbits(packed.numpy(), axis=1, count=image.shape[2])
        return image, torch.from_numpy(bits)[None].bool()

    def check_holds(self, records: Sequence[MaskedPhoto], resize: Resize | None) -> None:
        """Refuse what this store cannot serve.

        Args:
            records: what will be asked for. Some of them, evenly spread, are compared with the files that the store was
                made of, where these are still there.
            resize: how they must have been resized; None takes any.

        Raises:
            StoreError: an entry is missing, was made of another file, or was resized otherwise.
        """
        missing = [record.name for record in records if record.name not in self]
        if missing:
            bad = sum(name in self.excluded for name in missing)
            raise StoreError(
                f"{self.root}: {len(missing)} of {len(records)} images are not in this store, the first {missing[0]} "
                f"({bad} were left out as bad files); prepare a store of these very files, or give problems=[]"
            )
        if resize is not None and resize != self.resize:
            raise StoreError(f"{self.root}: found a store of {self.resize}, expected {resize}; prepare one like that")
        for record in records[:: -(-len(records) // COMPARED)]:
            if not record.image_path.is_file() or not record.mask_path.is_file():
                continue  # a store may travel without its sources
            _, header = self._shard(self._shard_of[record.name])
            if header["stamps"][record.name] != stamp(record):
                raise StoreError(
                    f"{self.root}: the entry {record.name} was made of other files than {record.image_path} and its "
                    "mask; prepare a store of these"
                )

    def _shard(self, number: int) -> tuple[Any, dict[str, Any]]:
        if number not in self._open:
            path = _shard_path(self.root, number)
            header = _finished_shard(path, self.fingerprint)
            if header is None:
                raise StoreError(f"{path}: the file is missing or damaged; delete it and prepare the store again")
            self._open[number] = _safe_open(path), header
        return self._open[number]


def _fingerprint(records: Sequence[MaskedPhoto], resize: Resize) -> str:
    """SHA-256 over the recipe, its version, and the names in their order: what one folder can hold."""
    digest = hashlib.sha256(json.dumps([FORMAT, _shard_length(resize), asdict(resize)], sort_keys=True).encode())
    for record in records:
        digest.update(f"{record.name}\n".encode())
    return digest.hexdigest()


def _shard_length(resize: Resize) -> int:
    """Images in a file: 256, or fewer where they are large, so that one file in the making fits into any memory."""
    # Three bytes a pixel and a bit; a picture that keeps its shape has about a third more.
    return max(1, min(MOST_IN_A_SHARD, SHARD_BYTES // (4 * resize.size**2)))


def _claim(out: Path, fingerprint: str) -> None:
    """Make the folder ours, or refuse what is in it; the claim is written first, so that a resumed run can tell."""
    claim = out / "recipe.txt"
    with contextlib.suppress(FileNotFoundError):
        if claim.read_text(encoding="utf-8").strip() == fingerprint:
            return
        raise StoreError(f"{out}: holds a store of other names or of another recipe; choose a new folder or delete it")
    # A kill while the claim was written leaves a part of it and nothing else.
    if out.exists() and (not out.is_dir() or any(not file.name.startswith(".recipe.txt.") for file in out.iterdir())):
        raise StoreError(f"{out}: holds other files, expected a new or empty folder for the store")
    out.mkdir(parents=True, exist_ok=True)
    for left in out.glob(".*.part"):
        left.unlink()
    write_in_one_step(claim, f"{fingerprint}\n".encode())


def _write_shard(
    path: Path, entries: dict[str, tuple[Tensor, Tensor] | str], fingerprint: str, stamps: dict[str, list[int]]
) -> dict[str, Any]:
    from safetensors.torch import save

    tensors: dict[str, Tensor] = {}
    header: dict[str, Any] = {"fingerprint": fingerprint, "crc32": {}, "excluded": {}, "stamps": stamps}
    for name, entry in entries.items():
        if isinstance(entry, str):
            header["excluded"][name] = entry
            continue
        image, mask = entry
        packed = torch.from_numpy(np.packbits(mask[0].numpy(), axis=1))
        tensors |= {f"{name}/image": image.contiguous(), f"{name}/mask": packed}
        header["crc32"][name] = _crc(image, packed)
    # One key only: safetensors writes several in an order that changes from run to run.
    write_in_one_step(path, save(tensors, {"dirl": json.dumps(header)}))
    return header


def _finished_shard(path: Path, fingerprint: str) -> dict[str, Any] | None:
    """The header of a shard of this very store; None where there is none, or half of one."""
    from safetensors import SafetensorError

    try:
        header: dict[str, Any] = json.loads((_safe_open(path).metadata() or {})["dirl"])
    except (OSError, SafetensorError, KeyError, ValueError):
        return None
    return header if header.get("fingerprint") == fingerprint else None


def _serves(path: Path, header: dict[str, Any], stamps: dict[str, list[int]], *, keep_excluded: bool) -> bool:
    """Whether a shard was made of the files as they are now, and every entry has the sum in its header."""
    if header["stamps"] != stamps or (header["excluded"] and not keep_excluded):
        return False
    tensors = _safe_open(path)
    return all(
        _crc(tensors.get_tensor(f"{name}/image"), tensors.get_tensor(f"{name}/mask")) == crc
        for name, crc in header["crc32"].items()
    )


def _safe_open(path: Path) -> Any:
    from safetensors import safe_open

    return safe_open(str(path), framework="pt")


def _read_index(root: Path) -> dict[str, Any]:
    path = root / INDEX
    if not root.is_dir():
        raise StoreError(f"{root}: no such store; make it with  dirl data prepare")
    if not path.is_file():
        raise StoreError(f"{root}: the store is not finished; run  dirl data prepare  again, it goes on")
    try:
        index: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        found = index["format"]
    except (ValueError, KeyError, TypeError):
        raise StoreError(f"{path}: damaged; delete it and prepare the store again, which is quick") from None
    if found != FORMAT:
        raise StoreError(f"{path}: found format {found}, expected {FORMAT}; prepare the store again")
    return index


def _shard_path(root: Path, number: int) -> Path:
    return root / f"shard-{number:05d}.safetensors"


def _crc(image: Tensor, packed: Tensor) -> int:
    return zlib.crc32(packed.numpy().data, zlib.crc32(image.contiguous().numpy().data))
