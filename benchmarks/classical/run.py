"""Classical models by default settings against their known maxima: `python benchmarks/classical/run.py [name ...]`.

Each is fitted by `vispec fit SPEC DATA --out RUN --threads 1`, and `vispec eval RUN DATA` says how far its log-likelihood is
from the maximum, in nats; `vispec params RUN` has estimates and standard errors, which are compared where the reference has
them. `--units` fits each again, with its columns in other units by a thousand and with other zeros. A line each, and at the end
how many are right. Exits with 1 unless all are. `--folder` runs models that are kept elsewhere; `--args` are further arguments
of fit.
"""

import argparse
import json
import shlex
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2]))
from benchmarks.classical.agree import disagreements
from benchmarks.classical.cases import MODELS, Case, find_cases
from benchmarks.classical.rescale import rescaled, turns

LIMIT = 1e-3  # nats on either side of the maximum


@dataclass
class Result:
    """gap: maximum less what was reached, in nats; None where the fit failed. seconds: of fitting, and of the whole command.
    notes: of the fit; wrong: what `params` shows otherwise than the reference, None where it was not asked."""

    name: str
    maximum: float
    gap: float | None = None
    seconds: float = 0.0
    wall: float = 0.0
    notes: list[str] = field(default_factory=list)
    wrong: list[str] | None = None

    @property
    def arrived(self) -> bool:
        return self.gap is not None and abs(self.gap) < LIMIT


class CommandError(Exception):
    """A command of vispec ended with an error, or not in time."""


def main() -> None:
    options = read_options()
    results = []
    print(f"{'model':30s} {'maximum':>14s} {'below it':>10s} {'fit s':>7s} {'all s':>7s}")
    for case in find_cases(options.folder, options.names):
        for turn in (None, *turns(case)) if options.units else (None,):
            with TemporaryDirectory() as folder:
                results.append(measure(case, turn, Path(folder), options))
            show(results[-1])
    arrived, asked = sum(r.arrived for r in results), [r for r in results if r.wrong is not None]
    print(f"{arrived} of {len(results)} within {LIMIT:g} nats; {sum(r.seconds for r in results):.1f} s of fitting")
    print(f"{sum(not r.wrong for r in asked)} of {len(asked)} with the estimates and standard errors of the reference")
    if options.json:
        options.json.write_text(json.dumps([vars(result) for result in results], indent=1) + "\n")
    sys.exit(arrived < len(results) or any(r.wrong for r in asked))


def read_options() -> argparse.Namespace:
    ask = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ask.add_argument("names", nargs="*", metavar="name")
    ask.add_argument("--folder", type=Path, default=MODELS, help="of other models than those here")
    ask.add_argument("--units", action="store_true", help="fit each also with columns times 1000 and 0.001, and shifted")
    ask.add_argument("--vispec", default=f"{sys.executable} -m vispec", help="the command, by default that of this Python")
    ask.add_argument("--args", default="", help="further arguments of fit")
    ask.add_argument("--timeout", type=float, default=300, help="seconds that a command may take")
    ask.add_argument("--no-params", dest="params", action="store_false", help="leave estimates alone")
    ask.add_argument("--json", type=Path, help="write the results there")
    return ask.parse_args()


def measure(case: Case, turn: int | None, folder: Path, options: argparse.Namespace) -> Result:
    """One fit, in the units of the data, or with columns by turns in others."""
    if turn is None:
        data, result = case.data, Result(case.name, case.truth["log_lik"])
    else:
        data, maximum = rescaled(case, turn, folder)
        result = Result(f"{case.name} ({('* 1000', '/ 1000', 'shifted')[turn]})", maximum)
    run, began = str(folder / "run"), time.perf_counter()
    try:
        more = [*case.args, "--out", run, "--threads", "1", *shlex.split(options.args)]
        result.seconds = ask(options, "fit", str(case.spec), str(data), *more)["seconds"]
        result.wall = time.perf_counter() - began
        score = ask(options, "eval", run, str(data), "--threads", "1")
        result.gap = result.maximum - score["log_prob"]
        if score["bound"] != "exact":
            result.notes.append(score["bound"])
        if options.params and turn is None and "params" in case.truth:
            shown = ask(options, "params", run, "--threads", "1")
            result.notes += [f"starts {shown['starts']}"] if len(shown["starts"]) > 1 else []
            if result.arrived:
                result.wrong = disagreements(case.truth, shown)
                result.wrong += rank(case, shown["free_parameters"])
    except CommandError as failure:
        result.notes.append(str(failure))
    return result


def rank(case: Case, shown: int | None) -> list[str]:
    expected = case.truth.get("free_parameters", shown)
    return [] if shown == expected else [f"{shown} free parameters for {expected}"]


def ask(options: argparse.Namespace, command: str, *arguments: str) -> dict[str, Any]:
    """What a command of vispec prints as JSON."""
    line: Sequence[str] = [*shlex.split(options.vispec), command, *arguments, "--json"]
    try:
        done = subprocess.run(line, capture_output=True, text=True, timeout=options.timeout, check=False)
    except subprocess.TimeoutExpired:
        raise CommandError(f"{command}: not within {options.timeout:g} s") from None
    if done.returncode:
        raise CommandError(f"{command}: exit {done.returncode}: " + " ".join((done.stdout + done.stderr).split())[-300:])
    return json.loads(done.stdout)


def show(result: Result) -> None:
    gap = "-" if result.gap is None else f"{result.gap:.6f}" if abs(result.gap) < 100 else f"{result.gap:.1f}"
    wrong = result.wrong or []
    told = "" if result.wrong is None else "estimates agree" if not wrong else f"{len(wrong)} differ: " + "; ".join(wrong[:3])
    print(f"{result.name:30s} {result.maximum:14.6f} {gap:>10s} {result.seconds:7.1f} {result.wall:7.1f} ", end="")
    print("; ".join(filter(None, [told, *result.notes])), flush=True)


if __name__ == "__main__":
    main()
