"""Whether a fit computes by kernels in C++. It is decided once, before the first step: their numbers differ in rounding."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Literal

from torch import nn

from vispec.kernels.native.library import build, compiler, loaded, place

Native = Literal["auto", "on", "off"]
LATER = """\
import os, sys
from vispec.kernels.native.library import build, place
hasattr(os, "nice") and os.nice(19)
text = sys.stdin.read()
build(text, place(text))
"""


def texts(module: type[nn.Module]) -> list[str]:
    """The C++ texts that the file of an emitted class carries."""
    return [text for name, text in module.__init__.__globals__.items() if name.endswith("_CPP") and isinstance(text, str)]


def decided(module: type[nn.Module], asked: Native, device: str, say: Callable[[str], None]) -> Native:
    """ "on" or "off": for "on" what is missing is built now; for "auto", beside the fit and for the next one. say: a line why
    torch's kernels take their place where they do."""
    wanted = texts(module)
    chosen = os.environ.get("VISPEC_NATIVE", "auto") if asked == "auto" else asked
    if not wanted or device != "cpu" or chosen == "off":
        return "off"
    missing = [text for text in wanted if not place(text).exists()]
    if missing and compiler() is None:
        say("torch's kernels are used: there is no C++ compiler for the native ones, which are faster")
        return "off"
    if missing and chosen != "on":
        say("torch's kernels are used: the native ones, which are faster, are being built for the next fit")
        for text in missing:
            later(text)
        return "off"
    if missing:
        say("building native kernels, once on this machine")
    try:
        for text in missing:
            build(text, place(text))
    except (OSError, subprocess.SubprocessError) as error:
        say(f"torch's kernels are used: {error}")
        return "off"
    return "on" if all(loaded(text, False) for text in wanted) else "off"


def later(text: str) -> None:
    """Builds beside this process and longer than it, in silence: where that fails, `--native on` says why."""
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "start_new_session": True}
    process = subprocess.Popen([sys.executable, "-P", "-c", LATER], stdin=subprocess.PIPE, text=True, **quiet)  # type: ignore[call-overload]
    assert process.stdin is not None
    process.stdin.write(text)
    process.stdin.close()
    process.returncode = 0  # nobody waits for it


@contextmanager
def used(native: Native) -> Iterator[None]:
    """Modules compute as a fit has decided."""
    before = os.environ.get("VISPEC_NATIVE")
    os.environ["VISPEC_NATIVE"] = native
    try:
        yield
    finally:
        if before is None:
            del os.environ["VISPEC_NATIVE"]
        else:
            os.environ["VISPEC_NATIVE"] = before
