"""How commands fail: a message on standard error, JSON on standard output if asked for, and the documented exit code."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NoReturn

import click

from vispec.diagnostics import SpecError, dump, plain, render, to_json
from vispec.screen import coloured

DONE, FAILED, USAGE, DIVERGED, DIFFERS, LOST, INTERRUPTED = 0, 1, 2, 3, 4, 5, 130


def speaks() -> bool:
    """Whether this is the first of several processes: one of them is enough to say what all of them know."""
    return os.environ.get("RANK", "0") == "0"


def say(text: str, aloud: bool | None = None) -> None:
    """A line on standard error. aloud: whether this process says it, which else is for the first."""
    if speaks() if aloud is None else aloud:
        click.echo(coloured(plain(text, keep="\n\t"), sys.stderr), err=True)


def fail(message: str, code: int, as_json: bool, aloud: bool | None = None, **facts: Any) -> NoReturn:
    """End the command. With --json, the object printed has `ok` false, the message as `error`, and `facts`."""
    say(message, aloud)
    if as_json and (speaks() if aloud is None else aloud):
        click.echo(dump({"ok": False, "error": message, **facts}))
    sys.exit(code)


def lack(error: BaseException) -> str | None:
    """What is said of a lack of memory, if the error is one. Where torch is not there, it asked for none."""
    if isinstance(error, RuntimeError | MemoryError) and "torch" in sys.modules:
        from vispec.train.memory import is_lack, told

        return told(error) if is_lack(error) else None
    return "there is not enough memory" if isinstance(error, MemoryError) else None


def foreign(error: BaseException) -> str | None:
    """What is said of an error in, or about, a module of the user's own; none without torch."""
    if "torch" not in sys.modules:
        return None
    from vispec.train.own import told

    return told(error)


@contextmanager
def failures(as_json: bool = False) -> Iterator[None]:
    """Within, what is the user's to mend ends the command with its exit code, not with a traceback."""
    from vispec.train.errors import (
        DivergenceError,
        InterruptionError,
        LostError,
        OptionError,
        RunError,
        VerificationError,
    )

    try:
        yield
    except SpecError as error:
        found = [to_json(error.source, diagnostic) for diagnostic in error.diagnostics]
        fail(render(error.source, error.diagnostics).rstrip(), FAILED, as_json, diagnostics=found)
    except OptionError as error:
        raise click.UsageError(str(error)) from error
    except RunError as error:
        fail(f"error: {error}", FAILED, as_json, diagnostics=[])
    except DivergenceError as error:
        fail(f"diverged: {error}", DIVERGED, as_json, variable=error.variable)
    except VerificationError as error:
        fail(str(error), DIFFERS, as_json, verification=error.verdict)
    except LostError as error:
        fail(f"error: {error}", LOST, as_json, error.first, diagnostics=[])
    except InterruptionError as error:
        fail(str(error), INTERRUPTED, as_json, run=str(error.folder))
    except BrokenPipeError:
        raise  # click ends quietly where the reader of the output has gone
    except OSError as error:
        fail(f"error: {error.filename or 'the system'}: {error.strerror}", FAILED, as_json, diagnostics=[])
    except KeyboardInterrupt:
        fail("interrupted", INTERRUPTED, as_json)
    except Exception as error:
        if short := lack(error) or foreign(error):
            fail(f"error: {short}", FAILED, as_json, diagnostics=[])
        data = sys.modules.get("vispec.train.data.diagnostics")  # where it is not imported, no error of its can be raised
        if data is None or not isinstance(error, data.DataError):
            raise
        found = getattr(error, "diagnostics")  # noqa: B009
        fail(str(error), FAILED, as_json, diagnostics=[data.to_json(diagnostic) for diagnostic in found])
