"""Comparing trees without their spans, and spoiling the text of specs."""

import random
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

SPECS = sorted((Path(__file__).parents[1] / "specs").glob("*.vispec"))
PIECES = (
    *("(", ")", "[", "]", "\n", "    ", " ", "\t", '"', "#", "|", "|>", "~", ":", "*", "<", "=", "->", ",", "..", "^"),
    *("then", "latent", "plate n:", "guide:", "fit:", "if", "else", "not", "where", "1e999", "9" * 5000),
    *("\x00", "\r", "\x0c", "\u2028", "é", "%", "\ufeff", "(" * 400, "-" * 400, "[" * 400, "x + " * 400, "not " * 400),
)


def bare(node: Any) -> Any:
    """A tree as nested tuples, without spans and source."""
    if is_dataclass(node):
        kept = [field.name for field in fields(node) if field.name not in ("span", "head_span", "source", "comments")]
        return (type(node).__name__, *(bare(getattr(node, name)) for name in kept))
    return tuple(map(bare, node)) if isinstance(node, tuple) else node


def spoil(text: str, rng: random.Random) -> str:
    """The text after one to six random edits."""
    for _ in range(rng.randint(1, 6)):
        at, other = rng.randrange(len(text) + 1), rng.randrange(len(text) + 1)
        lines = text.split("\n")
        text = rng.choice(
            (
                text[:at] + rng.choice(PIECES) + text[at:],
                text[:at] + text[at + rng.randint(1, 12) :],
                text[:at] + text[other : other + 30] + text[at:],
                "\n".join([*lines[: at % len(lines)], rng.choice(lines), *lines[at % len(lines) :]]),
                "\n".join(" " * rng.randint(0, 6) + line for line in lines),
                text[: max(at, len(text) // 2)],
            )
        )
    return text
