"""A tensor of the emitted code: its text, its named axes, its event dimensions, and the form its numbers are in."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from vispec.model.types import Dim

Form = Literal["value", "logit", "logits", "log", "raw"]
"""value: as is. logit: log-odds of a unit. logits: unnormalised log-probabilities of a simplex. log: normalised ones.
raw: before another link function (softplus of a positive, the lower triangle of a cholesky, ...)."""


@dataclass(frozen=True)
class Value:
    """`code` is an atom (a name, an attribute, a literal). Axes come first, in the plan's order, then the event dimensions.

    mask: which elements of a sequence count, its event the sequence's plate; for values of star type.
    enumerates: the axis along which this value is simply 0, 1, ... (an enumerated latent).
    """

    code: str
    axes: tuple[str, ...] = ()
    event: tuple[Dim, ...] = ()
    form: Form = "value"
    mask: "Value | None" = None
    enumerates: str | None = None
    done: str | None = None  # a plate that a log-density is already summed over
    scalar: bool = False  # a Python number, not a tensor
    integer: bool = False  # an int64 tensor
    truth: bool = False  # a bool tensor; a bit is a number, 0 or 1, unless it is a comparison

    def __str__(self) -> str:
        return self.code

    @property
    def rank(self) -> int:
        return len(self.axes) + len(self.event)

    def shape(self) -> str:
        """For a comment: "(n, c, D)"."""
        return "(" + ", ".join(map(str, (*self.axes, *self.event))) + ("," if self.rank == 1 else "") + ")"


def union(values: Sequence[Value], order: Sequence[str]) -> tuple[str, ...]:
    """All axes of the values, in the plan's order."""
    return tuple(sorted({axis for value in values for axis in value.axes}, key=order.index))


def align(value: Value, axes: Sequence[str], event_rank: int | None = None) -> str:
    """Text of the value with singleton dimensions so that it broadcasts to `axes` + an event of the given rank.

    Leading dimensions may stay missing; its own axes must be in the order of `axes`.
    """
    own = [axis for axis in axes if axis in value.axes]
    assert own == list(value.axes), f"{value} has axes {value.axes}, wanted {axes}"
    if value.scalar or not own:
        return value.code
    extra = max(0, (len(value.event) if event_rank is None else event_rank) - len(value.event))
    items = [":" if axis in own else "None" for axis in axes[list(axes).index(own[0]) :]]
    items += ["None"] * extra + [":"] * len(value.event)
    while items[-1] == ":":
        items.pop()
        if not items:
            return value.code
    return f"{value.code}[{', '.join(items)}]"


def base_of(name: str) -> str:
    """The base's draw among the writer's bound values."""
    return f"base of {name}"


def gain_of(name: str) -> str:
    """log |∂ draw / ∂ base| among the writer's bound values."""
    return f"gain of {name}"


POSTFIX = re.compile(r"[\w.]+(\[[^\[\]]*\]|\([^()]*\)|\.\w+)*")


def paren(code: str) -> str:
    """The text where a method is called on it: in parentheses unless it is a name with calls, attributes and indices."""
    return code if POSTFIX.fullmatch(code) else f"({code})"
