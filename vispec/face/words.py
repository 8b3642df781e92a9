"""What is said to a reader: text that shows itself as it is, and lines that a program may want to hear."""

import warnings

from vispec.diagnostics import plain


class Text(str):
    """Text that a prompt or a notebook shows as it is, and not as a literal."""

    __slots__ = ()

    def __repr__(self) -> str:
        return str(self)


def say(text: str) -> None:
    """A line about data or an answer, which at the shell goes to standard error."""
    warnings.warn(plain(text, keep="\n\t"), UserWarning, stacklevel=2)
