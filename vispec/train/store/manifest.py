"""manifest.json of a run folder: the hash of each file that is read again, and of the data, so that no change goes unseen.

A file is announced in the manifest before it is replaced, beside what it was before: whatever a kill leaves is known. The
manifest is no signature: who can write the folder can write the manifest.
"""

import hashlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import BinaryIO

from pydantic import BaseModel, ConfigDict, ValidationError

from vispec.train.data.cached.digests import known_digest
from vispec.train.data.files import held
from vispec.train.errors import RunError
from vispec.train.store.files import write_atomic

NAME = "manifest.json"
BLOCK = 1 << 20
GROWS = ".jsonl"  # lines are appended to such files between two seals
WAY_OUT = "--trust takes the folder as it is"


class Seal(BaseModel):
    """Of the first `size` bytes of a file, which is all of it but of metrics.jsonl, which grows."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    size: int
    sha256: str


class Datum(BaseModel):
    """A data file. time: of its last change, ns. sha256: None of what is no regular file, as a pipe."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    size: int
    time: int
    sha256: str | None


class Manifest(BaseModel):
    """files: by name within the folder, what each may be, newest first. data: by the path that the user gave."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    files: dict[str, tuple[Seal, ...]] = {}
    data: dict[str, Datum] = {}


def read_manifest(folder: Path) -> Manifest | None:
    """That of a run; None where it has none, as the runs of 0.1.0. RunError where it is damaged."""
    path = folder / NAME
    try:
        return Manifest.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        return None
    except OSError as error:
        raise RunError(f"cannot read {path}: {error.strerror}") from error
    except ValidationError as error:
        raise RunError(f"{path} is damaged: {error.errors()[0]['msg']}; {WAY_OUT}") from error


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Replace it."""
    write_atomic(folder / NAME, manifest.model_dump_json(indent=1) + "\n")


# ---- files of the folder


def put(folder: Path, contents: Mapping[str, bytes | str], grown: Mapping[str, Seal] | None = None) -> None:
    """Replace files of the folder, in this order; a folder without a manifest stays without. grown: seals of files that others
    have appended to."""
    data = {name: content.encode() if isinstance(content, str) else content for name, content in contents.items()}
    manifest = read_manifest(folder)
    if manifest is not None:
        new = {name: seal_of(content) for name, content in data.items()} | dict(grown or {})
        seals = {name: tuple(dict.fromkeys((seal, *manifest.files.get(name, ())[:1]))) for name, seal in new.items()}
        write_manifest(folder, manifest.model_copy(update={"files": manifest.files | seals}))
    for name, content in data.items():
        write_atomic(folder / name, content)


def settle(folder: Path, anew: Iterable[str] = ()) -> None:
    """Keep of each file the seal that it has, where a kill may have left either. anew: files to be sealed as they are."""
    manifest = read_manifest(folder)
    if manifest is None:
        return
    seals = dict(manifest.files)
    for name, known in manifest.files.items():
        if len(known) > 1 and not name.endswith(GROWS) and (folder / name).exists():
            seals[name] = tuple(seal for seal in known if whole(folder / name, (seal,))) or known
    for name in anew:
        seals[name] = (seal_of_file(folder / name),)
    write_manifest(folder, manifest.model_copy(update={"files": seals}))


def checked(folder: Path, name: str, trust: bool = False) -> Path:
    """The path of a file that is what the manifest says; RunError where it is not. trust: ask nothing."""
    path = folder / name
    manifest = None if trust else read_manifest(folder)
    if manifest is None:
        return path
    known = manifest.files.get(name)
    if known is None:
        raise RunError(f"{path} is not in {NAME}, so it is not of this run; {WAY_OUT}")
    try:
        if whole(path, known):
            return path
    except OSError as error:
        raise RunError(f"cannot read {path}: {error.strerror}") from error
    raise RunError(f"{path} is damaged, or was changed since it was written; {WAY_OUT}")


def whole(path: Path, known: tuple[Seal, ...]) -> bool:
    """Whether a file has one of these seals; one that grows is no shorter than the newest, but where it was cut to an older."""
    size = path.stat().st_size
    if path.suffix == GROWS and size >= known[0].size:
        return seal_of_file(path, known[0].size) == known[0]
    return any(size == seal.size and seal_of_file(path) == seal for seal in known)


def seal_of(content: bytes) -> Seal:
    return Seal(size=len(content), sha256=hashlib.sha256(content).hexdigest())


def seal_of_file(path: Path, size: int | None = None) -> Seal:
    """Of its first `size` bytes, or of all."""
    with path.open("rb") as file:
        digest, count = digest_of(file, size)
    return Seal(size=count, sha256=digest.hexdigest())


def digest_of(file: BinaryIO, size: int | None = None) -> "tuple[hashlib._Hash, int]":
    """The hash of what is left of an open file, or of so many bytes of it, and how many these were."""
    digest, count = hashlib.sha256(), 0
    while size is None or count < size:
        block = file.read(BLOCK if size is None else min(BLOCK, size - count))
        if not block:
            break
        digest.update(block)
        count += len(block)
    return digest, count


# ---- data


def data_of(paths: Iterable[str]) -> dict[str, Datum]:
    """What is kept of data files, which have been read."""
    return {path: datum_of(Path(path)) for path in paths}


def datum_of(path: Path) -> Datum:
    if not path.is_file():
        return Datum(size=0, time=0, sha256=None)
    found = path.stat()
    known = known_digest(str(path))
    return Datum(size=found.st_size, time=found.st_mtime_ns, sha256=known or seal_of_file(path).sha256)


def changed_data(manifest: Manifest, paths: Iterable[str], content: bool = False) -> str | None:
    """Why data are not those of the manifest, None where they are: by sizes and times, by content where these differ or it is
    asked for."""
    for name in paths:
        path, known = Path(name), manifest.data.get(name)
        if known is None:
            return f"{name} was not among its data"
        if name in held():  # whose names tell what they hold
            continue
        if not path.is_file() or known.sha256 is None:
            return f"{name} is no regular file, so nobody can tell whether it gives what it gave"
        found = path.stat()
        same = (found.st_size, found.st_mtime_ns) == (known.size, known.time)
        if (content or not same) and seal_of_file(path).sha256 != known.sha256:
            return f"{name} has changed since the fit began"
    return None
