"""A failing spec made shorter while it fails in the same manner: blocks and lines dropped, then parts of expressions."""

import re
from collections.abc import Callable, Iterator

Fails = Callable[[str], bool]


def shrunk(text: str, fails: Fails, tries: int = 600) -> str:
    """The shortest text found in so many tries."""
    left = tries
    while True:
        for smaller in candidates(text):
            left -= 1
            if left < 0:
                return text
            if fails(smaller):
                text = smaller
                break
        else:
            return text


def candidates(text: str) -> Iterator[str]:
    """Shorter texts, the shortest first among those without some line."""
    lines = text.rstrip("\n").split("\n")
    ends = [_end(lines, i) for i in range(len(lines))]
    for i in sorted(range(len(lines)), key=lambda i: i - ends[i]):
        yield "\n".join([*lines[:i], *lines[ends[i] :]]) + "\n"
    for i, line in enumerate(lines):
        if ends[i] > i + 1:  # a block's header alone
            yield (
                "\n".join([*lines[:i], *(inner.removeprefix("    ") for inner in lines[i + 1 : ends[i]]), *lines[ends[i] :]])
                + "\n"
            )
        for simpler in _simpler(line):
            yield "\n".join([*lines[:i], simpler, *lines[i + 1 :]]) + "\n"


def _end(lines: list[str], start: int) -> int:
    """Where the block that begins at a line ends."""
    depth = len(lines[start]) - len(lines[start].lstrip())
    end = start + 1
    while end < len(lines) and len(lines[end]) - len(lines[end].lstrip()) > depth:
        end += 1
    return end


def _simpler(line: str) -> Iterator[str]:
    """The line with one part of its law or value left out, or a number in its place."""
    head, mark, law = line.partition(" ~ ") if " ~ " in line else line.partition(" = ")
    if not mark or head.lstrip().startswith(("size", "net")):
        return
    pieces = law.split(" then ")
    if len(pieces) > 1:
        yield from (f"{head}{mark}{' then '.join([*pieces[:i], *pieces[i + 1 :]])}" for i in range(len(pieces)))
    for start, end in sorted(_spans(law), key=lambda span: span[0] - span[1]):
        part = law[start:end]
        for other in ("0.5", "1"):
            if part != other and len(part) > 1:
                yield f"{head}{mark}{law[:start]}{other}{law[end:]}"
        if found := re.fullmatch(r"\w+\((.*)\)", part):
            yield f"{head}{mark}{law[:start]}{found[1]}{law[end:]}"
        if " if " in part and " else " in part:
            yield f"{head}{mark}{law[:start]}{part.split(' if ')[0]}{law[end:]}"
            yield f"{head}{mark}{law[:start]}{part.split(' else ')[-1]}{law[end:]}"
        for sign in (" + ", " - ", " * "):
            if sign in part:
                left, _, right = part.partition(sign)
                yield f"{head}{mark}{law[:start]}{left}{law[end:]}"
                yield f"{head}{mark}{law[:start]}{right}{law[end:]}"


def _spans(text: str) -> list[tuple[int, int]]:
    """Arguments between brackets and commas, and the whole."""
    spans: set[tuple[int, int]] = {(0, len(text))}
    stack: list[int] = []
    for i, character in enumerate(text):
        if character in "([":
            stack.append(i + 1)
        elif character == "," and stack:
            spans.add((stack[-1], i))
            stack[-1] = i + 2
        elif character in ")]" and stack:
            spans.add((stack.pop(), i))
    return [(a, b) for a, b in spans if b > a]
