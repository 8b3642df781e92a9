"""Standard streams that may be closed, full or read by nobody: what is said there ends nothing that is being done."""

import io
import os
import sys
from contextlib import suppress
from typing import Any, TextIO


def open_streams() -> None:
    """Closed descriptors lead nowhere, as the next file that is opened would become standard output; what cannot be written to
    standard error is lost; and what cannot be written to standard output is told under that name."""
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # the lowest that is free, so this one
        if getattr(sys, name) is None:
            setattr(sys, name, open(number, "r" if number == 0 else "w", closefd=False))  # noqa: SIM115
    sys.stdout, sys.stderr = through(sys.stdout, Output, 1), through(sys.stderr, Unheard, 2)


def through(stream: TextIO, kind: "type[Output]", number: int) -> TextIO:
    """The same stream by way of another kind of file; as it is, where it is no stream of the process's own."""
    with suppress(OSError, AttributeError, io.UnsupportedOperation):
        if stream.fileno() == number and not isinstance(getattr(stream.buffer, "raw", None), Output):
            stream.flush()
            buffer = io.BufferedWriter(kind(number, "w", closefd=False))
            lines, at_once = stream.isatty() or number == 2, number == 2
            return io.TextIOWrapper(buffer, stream.encoding, stream.errors, None, lines, at_once)
    return stream


class Output(io.FileIO):
    """Standard output, whose failures say that it is."""

    def write(self, content: Any) -> int:
        try:
            return super().write(content)
        except OSError as error:
            return self.failed(error, content)

    def failed(self, error: OSError, content: Any) -> int:
        self.drop()
        error.filename = "standard output"
        raise error

    def drop(self) -> None:
        """What is left goes nowhere: the interpreter would complain of it at its end."""
        os.dup2(os.open(os.devnull, os.O_WRONLY), self.fileno())


class Unheard(Output):
    """Standard error: progress that nobody reads is no reason to end a fit."""

    def failed(self, error: OSError, content: Any) -> int:
        self.drop()
        return len(memoryview(content))
