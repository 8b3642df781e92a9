"""Does what the pages of docs/models and docs/applied.md show, and refreshes what it prints: `python docs/make_outputs.py`.

A block of the language that begins with `# NAME.vispec` is that file, as is any block below `<!-- file: NAME -->`. Blocks of
`sh` and `python` run in their order, those of a page in one folder, in which `specs` is that of the repository. A block of text
below `<!-- output -->` has what the block above prints, of commands on standard output; below `<!-- output: about -->` the same
where numbers depend on the machine, below `<!-- output: drawn -->` where all does but the number of lines.
"""

import contextlib
import io
import os
import re
import shlex
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from click.testing import CliRunner

from vispec.cli.main import main

ROOT = Path(__file__).parents[1]
PAGES = (ROOT / "docs" / "applied.md", ROOT / "docs" / "tutorial.md", *sorted((ROOT / "docs" / "models").glob("*.md")))
BLOCK = re.compile(r"((?:<!-- (?:output(?:: about|: drawn)?|file: [\w.]+) -->\n)?)```(\w+)\n(.*?)```", re.S)
FILE = re.compile(r"# (\w+\.vispec)\n")
NUMBER = re.compile(r"-?\d+(?:\.\d+)?(?:e-?\d+)?")
# How near a maximum is, and which starts came where, are matters of rounding.
ROUNDING = re.compile(r"at most \S+ nats|; \d+ starts: .*")


def played(page: str, folder: Path) -> str:
    """The page with what its blocks print now; folder: an empty one, to run them in."""
    (folder / "specs").symlink_to(ROOT / "specs")
    names: dict[str, Any] = {}
    printed = ""

    def play(block: re.Match[str]) -> str:
        nonlocal printed
        kind, text = block[2], block[3]
        if block[1].startswith("<!-- file"):
            (folder / block[1].split()[2]).write_text(text, encoding="utf-8")
            return block[0]
        if block[1]:
            return f"{block[1]}```{kind}\n{printed.rstrip()}\n```"
        if kind == "vispec" and (name := FILE.match(text)):
            (folder / name[1]).write_text(text, encoding="utf-8")
        elif kind == "sh":
            printed = "".join(map(command, text.splitlines()))
        elif kind == "python":
            printed = python(text, names)
        return block[0]

    with inside(folder):
        return BLOCK.sub(play, page)


@contextlib.contextmanager
def inside(folder: Path) -> Iterator[None]:
    """In this folder, whose modules can be imported, and without what verifies fits beside them."""
    before, known, environment = Path.cwd(), {*sys.modules}, dict(os.environ)
    os.chdir(folder)
    os.environ["VISPEC_NO_VERIFY"] = "1"
    sys.path.insert(0, str(folder))
    try:
        yield
    finally:
        sys.path.remove(str(folder))
        os.environ.clear()
        os.environ.update(environment)
        os.chdir(before)
        for name in {*sys.modules} - known:
            if str(getattr(sys.modules[name], "__file__", "")).startswith(str(folder)):
                del sys.modules[name]


def command(line: str) -> str:
    """What a line of a shell prints: a command of vispec, perhaps `| head -3`, `| tail -3` or `| grep -E WORDS` of it."""
    first, *filters = re.sub(r"  +#.*", "", line).split(" | ")
    program, *words = shlex.split(first)
    assert program == "vispec", line
    result = CliRunner().invoke(main, words)
    assert result.exit_code == 0, result.output
    shown = result.stdout.splitlines()
    for each in filters:
        name, *_, word = shlex.split(each)
        part = {"head": lambda w: slice(int(w[1:])), "tail": lambda w: slice(-int(w[1:]), None)}.get(name)
        shown = shown[part(word)] if part else [line for line in shown if re.search(word, line)]
    return "".join(f"{line.rstrip()}\n" for line in shown)


def python(text: str, names: dict[str, Any]) -> str:
    """What a program prints; names: what those before it left."""
    out = io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(io.StringIO()):
        exec(text, names)
    return out.getvalue()


def lasting(page: str) -> str:
    """The page without what may differ between machines."""

    def plain(block: re.Match[str]) -> str:
        shown = ROUNDING.sub("", block[3])
        if "drawn" in block[1]:
            shown = re.sub(r"[^\n]+", "#", shown)
        return f"{block[1]}{re.sub(r' +', ' ', NUMBER.sub('#', shown)) if 'about' in block[1] else shown}"

    return BLOCK.sub(lambda block: plain(block) if "output" in block[1] else block[0], page)


if __name__ == "__main__":
    for each in PAGES:
        with tempfile.TemporaryDirectory() as place:
            each.write_text(played(each.read_text(encoding="utf-8"), Path(place)), encoding="utf-8")
