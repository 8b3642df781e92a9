"""python("package.module:Class", features=F, ...): the user's own module as the trunk."""

from __future__ import annotations

from keyword import iskeyword
from typing import TYPE_CHECKING, Any

from vispec.catalog import Network, Option

if TYPE_CHECKING:
    from vispec.model.types import Dim
    from vispec.torch.nets.stream import Stream


def python(stream: Stream, path: str, features: Dim, **settings: Any) -> None:
    """Class(features=F, **settings) is called with the net's arguments and their masks, and returns (*B, F).

    For a net that gives sequences, (*B, T, F)."""
    package, _, name = path.partition(":")
    stream.net.imports[f"from {package} import {name}"] = None
    keywords = "".join(f", {key}={value!r}" for key, value in settings.items())
    module = stream.module(f"{name}(features={features}{keywords})")
    stream.replace(f"{module}({', '.join(stream.net.arguments)})", features, sequence=stream.starred)


def misplaced(position: int, path: str, **_: object) -> str | None:
    """It takes the net's arguments, and must be importable."""
    if position:
        return "`python` must come first: its class takes the arguments themselves"
    package, colon, name = path.partition(":")
    names = [*package.split("."), name]
    if colon and path.isascii() and all(each.isidentifier() and not iskeyword(each) for each in names):
        return None
    return f'`{path}` is not of the form "package.module:Class", of names that Python can import'


ENTRY = Network(
    "python",
    python,
    {"path": Option("text", required=True), "features": Option("size", required=True)},
    open_options=True,
    causal=False,
    problem=misplaced,
)
