"""What a fit says while it runs, on standard error: a bar on a terminal, plain lines otherwise."""

import time
from typing import Protocol

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.text import Text

from vispec.diagnostics import plain
from vispec.screen import coloured

SILENCE = 1.0  # least seconds between two plain lines about epochs


class Reporter(Protocol):
    def start(self, total: int, done: int) -> None:
        """A restart of `total` steps begins, of which `done` are done."""
        ...

    def step(self, done: int) -> None: ...

    def epoch(self, text: str, last: bool) -> None: ...

    def say(self, text: str) -> None: ...

    def close(self) -> None: ...


class Quiet:
    """Says nothing: other processes than the first, and tests."""

    def start(self, total: int, done: int) -> None:
        pass

    def step(self, done: int) -> None:
        pass

    def epoch(self, text: str, last: bool) -> None:
        pass

    def say(self, text: str) -> None:
        pass

    def close(self) -> None:
        pass


class Lines(Quiet):
    """One line per epoch, but no more than one per second; the last always."""

    def __init__(self, console: Console):
        self.console, self.spoke = console, float("-inf")

    def epoch(self, text: str, last: bool) -> None:
        if last or time.monotonic() - self.spoke >= SILENCE:
            self.spoke = time.monotonic()
            self.say(text)

    def say(self, text: str) -> None:
        told = Text.from_ansi(coloured(plain(text, keep="\n"), self.console.file))
        self.console.print(told, markup=False, highlight=False, soft_wrap=True)


class Bar(Lines):
    """A bar of steps with the last epoch's numbers beside it."""

    def __init__(self, console: Console):
        super().__init__(console)
        columns = (TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        self.progress = Progress(*columns, console=console)
        self.task = None

    def start(self, total: int, done: int) -> None:
        if self.task is not None:
            self.progress.remove_task(self.task)
        self.progress.start()
        self.task = self.progress.add_task("", total=total, completed=done)

    def step(self, done: int) -> None:
        if self.task is not None:
            self.progress.update(self.task, completed=done)

    def epoch(self, text: str, last: bool) -> None:
        if self.task is not None:
            self.progress.update(self.task, description=text)
        if last:
            self.say(text)

    def close(self) -> None:
        self.progress.stop()


def reporter(main: bool) -> Reporter:
    """The reporter that suits this process and its standard error."""
    console = Console(stderr=True)
    if not main:
        return Quiet()
    return Bar(console) if console.is_terminal else Lines(console)
