"""Machine code of a C++ text: built once per machine, and kept under what it depends on."""

import ctypes
import hashlib
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import warnings
from functools import cache
from pathlib import Path

FLAGS = ("-std=c++17", "-O3", "-march=native", "-fno-math-errno", "-fno-trapping-math", "-pthread", "-fPIC", "-shared")


def library(text: str) -> ctypes.CDLL | None:
    """The functions of a C++ text; None where torch is to be used instead.

    The environment variable VISPEC_NATIVE is "on" (built where it is not there yet, which takes some seconds), "off", or "auto"
    (default: what is there). Where something fails a warning says what."""
    asked = os.environ.get("VISPEC_NATIVE", "auto")
    return None if asked == "off" else loaded(text, asked == "on")


@cache
def loaded(text: str, wanted: bool) -> ctypes.CDLL | None:
    path = place(text)
    try:
        if wanted and not path.exists():
            build(text, path)
        return ctypes.CDLL(str(path)) if path.exists() and own(path) else None
    except (OSError, subprocess.SubprocessError) as error:
        warnings.warn(f"no native kernels, torch's take their place: {error}", stacklevel=2)
        return None


def place(text: str) -> Path:
    """Where the library of a text is kept: by text, flags, compiler and processor."""
    told = "\n".join([text, *flags(), compiler() or "", processor()])
    return cache_folder() / f"{hashlib.sha256(told.encode()).hexdigest()[:24]}.so"


def cache_folder() -> Path:
    """Where programs of this user keep what they can make again."""
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local") / "vispec" / "Cache"
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "vispec"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "vispec"


def flags() -> list[str]:
    """Those of the compiler, and what CXXFLAGS adds."""
    return [*FLAGS, *os.environ.get("CXXFLAGS", "").split()]


def compiler() -> str | None:
    """The path of the C++ compiler that CXX names, else of the usual ones."""
    names = [os.environ["CXX"]] if os.environ.get("CXX") else ["c++", "g++", "clang++"]
    return next((found for name in names if (found := shutil.which(name))), None)


def processor() -> str:
    """What -march=native depends on."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.platform() + platform.processor()
    return "\n".join(sorted({line for line in lines if line.startswith(("flags", "Features", "model name"))}))


def own(path: Path) -> bool:
    """Whether nobody else can have written the file. What another user can write is not run."""
    found = path.stat()
    return not hasattr(os, "getuid") or (found.st_uid == os.getuid() and not found.st_mode & 0o022)


def build(text: str, path: Path) -> None:
    """Compiles, beside the place, and moves the result there at once: two processes that build do each other no harm.

    Raises OSError where there is no compiler, where it fails, and where nothing can be written."""
    tool = compiler()
    if tool is None:
        raise OSError("there is no C++ compiler")
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=path.parent, prefix="build-") as folder:
        source, made = Path(folder) / "kernel.cpp", Path(folder) / "kernel.so"
        source.write_text(text)
        done = subprocess.run([tool, *flags(), str(source), "-o", str(made)], capture_output=True, text=True, timeout=600)
        if done.returncode:
            raise OSError(f"{tool} failed: {(done.stderr.strip() or 'it said nothing').splitlines()[0]}")
        made.chmod(0o700)
        made.replace(path)
