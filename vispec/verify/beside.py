"""Verification beside a fit: one process of the lowest priority, whose result is kept by spec and version.

The process gets the spec by a pipe, and ends when the pipe does: with the fit, however that ends.
"""

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any, Literal

import vispec
from vispec.kernels.native.library import cache_folder
from vispec.source import Source

State = Literal["agrees", "differs", "not finished", "failed"]
PATIENCE = 5.0  # seconds that a fit which has ended waits for it
LOWEST = 19  # of priorities
OFF = "VISPEC_NO_VERIFY"
COMMAND = (sys.executable, "-m", "vispec.verify.beside")


@dataclass(frozen=True)
class Verdict:
    """state: "failed" where verification itself could not be done, and `error` says why. report: of the comparisons, as `verify
    --json` prints it. kept: whether it is an earlier one of the same spec and version."""

    state: State
    report: Mapping[str, Any] = field(default_factory=dict)
    error: str = ""
    kept: bool = False

    @property
    def wrong(self) -> list[str]:
        """What differs, a line each, with its numbers."""
        found = []
        for check in self.report.get("checks", ()):
            if check["verdict"] == "DIFFERS":
                error, tolerance = check["error"], check["tolerance"]
                found.append(f"{check['check']}: {check['note'] or f'off by {error:.1e}, where {tolerance:.0e} is allowed'}")
        return found

    def __str__(self) -> str:
        """One line."""
        verdicts = [check["verdict"] for check in self.report.get("checks", ())]
        counts = ((verdicts.count("ok"), "agree"), (verdicts.count("DIFFERS"), "differ"))
        told = ", ".join(
            f"{count} {word}" for count, word in (*counts, (verdicts.count("not checked"), "not checked")) if count
        )
        text = {
            "agrees": f"verified at tiny sizes: {told}",
            "differs": f"verified at tiny sizes: {told}",
            "not finished": "verification had not finished when the fit had",
            "failed": f"verification could not be done: {self.error}",
        }[self.state]
        return text + (" (kept from before)" if self.kept else "")

    def as_json(self) -> dict[str, Any]:
        return {**asdict(self), "text": str(self)}


def wanted() -> bool:
    """Whether the environment lets fits be verified."""
    return os.environ.get(OFF, "") in ("", "0")


class Beside:
    """The verification of one spec, begun at once; or what is kept of it."""

    def __init__(self, source: Source):
        self.source, self.path = source, cache_folder() / "verify" / f"{key(source)}.json"
        self.verdict = kept(self.path)
        self.process: subprocess.Popen[bytes] | None = None
        if self.verdict is None:
            environment = {**os.environ, "CUDA_VISIBLE_DEVICES": ""}
            self.process = subprocess.Popen(
                COMMAND,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                env=environment,
                start_new_session=True,
            )
            self.thread = threading.Thread(target=self._watch, args=(self.process,), daemon=True)
            self.thread.start()

    def _watch(self, process: subprocess.Popen[bytes]) -> None:
        """Wait for the result; in a thread of its own."""
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            process.stdin.write(json.dumps({"name": self.source.name, "text": self.source.text}).encode() + b"\n")
            process.stdin.flush()
            told = process.stdout.read()
        except (OSError, ValueError):
            return
        try:
            found = Verdict(**json.loads(told))
        except (ValueError, TypeError):
            found = Verdict("failed", error="its process ended without a result")
        if found.state in ("agrees", "differs"):
            keep(self.path, found)
        self.verdict = found

    @property
    def differs(self) -> bool:
        """Whether it is known that something does."""
        return self.verdict is not None and self.verdict.state == "differs"

    def finish(self, patience: float | None = None) -> Verdict:
        """The result, for which no longer is waited than so many seconds, or PATIENCE."""
        if self.process is not None:
            self.thread.join(PATIENCE if patience is None else patience)
        return self.verdict or Verdict("not finished")

    def close(self) -> None:
        """End the process, if it runs."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            for pipe in (self.process.stdin, self.process.stdout):
                if pipe is not None:
                    with suppress(OSError):
                        pipe.close()

    def __enter__(self) -> "Beside":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


# ---- what is kept


def key(source: Source) -> str:
    """By the spec's text and the version: its number, and the files that are installed, which a developer changes."""
    root = Path(vispec.__file__).parent
    files = sorted((str(path.relative_to(root)), path.stat().st_mtime_ns) for path in root.rglob("*.py"))
    return sha256(repr((vispec.__version__, source.text, files)).encode()).hexdigest()[:32]


def kept(path: Path) -> Verdict | None:
    """What the cache holds; None where it holds nothing that can be read."""
    try:
        return Verdict(**{**json.loads(path.read_bytes()), "kept": True})
    except (OSError, ValueError, TypeError):
        return None


def keep(path: Path, verdict: Verdict) -> None:
    """Keep a result, where that is possible; without it, the next fit verifies anew."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary.write_text(json.dumps(asdict(verdict)))
        temporary.replace(path)
    except OSError:
        temporary.unlink(missing_ok=True)


# ---- the process


def main() -> None:
    """Read a spec from standard input, verify it, print the verdict."""
    if hasattr(os, "nice"):
        os.nice(LOWEST)
    asked = json.loads(sys.stdin.buffer.readline())
    threading.Thread(target=end_with_the_pipe, daemon=True).start()
    import torch

    torch.set_num_threads(1)
    print(json.dumps(asdict(judge(Source(asked["name"], asked["text"])))))


def end_with_the_pipe() -> None:
    """Wait for the fit to end."""
    sys.stdin.buffer.read()
    os._exit(0)


def judge(source: Source) -> Verdict:
    """The verdict on a spec; a spec that cannot be had at tiny sizes, or a fault of verification, is none of the module."""
    from vispec.verify.verify import verify

    began = time.monotonic()
    try:
        report = verify(source).to_dict()
    except Exception as error:  # the fit goes on, and says so
        return Verdict("failed", error=f"{type(error).__name__}: {next(iter(str(error).splitlines()), '')}")
    return Verdict("agrees" if report["ok"] else "differs", {**report, "seconds": time.monotonic() - began})


if __name__ == "__main__":
    main()
