"""One fit in one folder: a lock that dies with its process, so that a killed fit can be resumed."""

import os
from contextlib import suppress
from pathlib import Path
from types import TracebackType

from filelock import FileLock, Timeout

from vispec.train.errors import RunError

FILE = ".lock"


class Claim:
    """The folder that a process fits in, once it is known; given back at the end of a `with`, or with the process."""

    def __init__(self) -> None:
        self.folder: Path | None = None
        self.lock: FileLock | None = None

    def take(self, folder: Path) -> None:
        """Make the folder where it is not; RunError where another process fits in it."""
        if self.folder == folder:
            return
        self.release()
        folder.mkdir(parents=True, exist_ok=True)
        lock = FileLock(str(folder / FILE), timeout=0)
        try:
            lock.acquire()
        except Timeout:
            raise RunError(f"{folder} is being fitted by {holder(folder)}; wait for it, or name another --out") from None
        self.folder, self.lock = folder, lock
        with suppress(OSError):  # where a locked file cannot be written through another handle
            (folder / FILE).write_text(f"{os.getpid()}\n")

    def release(self) -> None:
        """Let others in."""
        if self.lock is not None:
            self.lock.release()
        self.folder = self.lock = None

    def __enter__(self) -> "Claim":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.release()


def holder(folder: Path) -> str:
    """Who fits there, as far as the lock's file says it."""
    with suppress(OSError, ValueError):
        return f"process {int((folder / FILE).read_text())}"
    return "another process"
