"""The first Ctrl-C, or a scheduler's SIGTERM, asks a fit to stop after a checkpoint; a second one stops it at once."""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType


@dataclass
class Stop:
    """asked: whether the user asked to stop. halted: whether something else is a reason to."""

    asked: bool = False
    halted: Callable[[], bool] = bool

    @property
    def wanted(self) -> bool:
        """Whether a fit is to stop at its next step."""
        return self.asked or self.halted()


@contextmanager
def stoppable(halted: Callable[[], bool] = bool) -> Iterator[Stop]:
    """Within, interrupts set the Stop instead of raising. Outside the main thread, signals are left alone."""
    stop = Stop(halted=halted)
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return

    def ask(number: int, frame: FrameType | None) -> None:
        if stop.asked:
            raise KeyboardInterrupt
        stop.asked = True

    kinds = (signal.SIGINT, signal.SIGTERM)
    before = [signal.signal(kind, ask) for kind in kinds]
    try:
        yield stop
    finally:
        for kind, handler in zip(kinds, before, strict=True):
            signal.signal(kind, handler)
