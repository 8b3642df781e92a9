"""Hashes of data files, so that a file whose size and time are known is not read again."""

import hashlib
import json
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

NAME = "digests.json"
Known = dict[str, tuple[int, int, str]]
KNOWN: Known = {}
"""Size, time of the last change in ns, and SHA-256, by the file's whole path: of those that this process knows."""


def digest(path: str, folder: Path) -> str:
    """Of a file; what `folder` remembers of it holds while its size and time do."""
    known = known_digest(path)
    if known is None:
        with suppress(OSError, ValueError):
            KNOWN.update({name: (each[0], each[1], each[2]) for name, each in json.loads((folder / NAME).read_text()).items()})
        known = known_digest(path)
    if known is None:
        with open(path, "rb") as file:
            known = hashlib.file_digest(file, "sha256").hexdigest()
        found = Path(path).stat()
        KNOWN[str(Path(path).resolve())] = (found.st_size, found.st_mtime_ns, known)
    return known


def known_digest(path: str) -> str | None:
    """Of a file that has been hashed and not been changed since."""
    found, known = Path(path).stat(), KNOWN.get(str(Path(path).resolve()))
    return known[2] if known is not None and known[:2] == (found.st_size, found.st_mtime_ns) else None


def remember(paths: Iterable[str], text: str) -> str:
    """What to keep of these files beside what was kept."""
    before: dict[str, object] = {}
    with suppress(ValueError):
        before = json.loads(text)
    names = [str(Path(path).resolve()) for path in paths]
    return json.dumps(before | {name: KNOWN[name] for name in names if name in KNOWN}, indent=0)
