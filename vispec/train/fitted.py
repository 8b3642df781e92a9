"""A fit from its request to its report."""

import shlex
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from vispec.diagnostics import dump
from vispec.train.data.files import held
from vispec.train.errors import InterruptionError, LostError, RunError, VerificationError
from vispec.train.estimates.stored import estimate_run, last_result, read_estimates, write_estimates
from vispec.train.estimates.values import Estimates
from vispec.train.loop.fit import fit as train
from vispec.train.loop.progress import Reporter
from vispec.train.memory import enough
from vispec.train.scores.counted import total, weight_of
from vispec.train.setup.distributed import Group
from vispec.train.setup.job import Job, Result
from vispec.train.setup.native import used
from vispec.train.setup.prepare import FOLDER, Request, prepare, prepare_resume
from vispec.train.setup.settings import Settings
from vispec.train.store.checkpoint import Checkpoint
from vispec.train.store.manifest import put
from vispec.train.store.metrics import FILE
from vispec.train.store.run import VERIFY, Run, latest_folder, unused
from vispec.verify.beside import Beside, wanted


def fit(request: Request, resume: bool, group: Group, verified: bool, told: Reporter) -> tuple[Run, dict[str, Any]]:
    """Make or find the run, train it to its end, and write its report; the result is that of `fit --json`. verified: whether
    the spec is verified beside the fit, where the environment lets it."""
    run = agreed(request, resume, group)
    checkpoint = None
    if run is None:
        run, job = prepare(request, group, told)
    else:
        run, job, checkpoint = prepare_resume(run, request, group, told)
    if checkpoint is not None and checkpoint.counters.finished:
        told.say(f"{run.folder} is finished already")
        if group.main and not (run.folder / "report.html").exists():
            report(run, read_estimates(run))
        return run, finished(run)
    course = "second-order steps" if job.settings.optimizer == "newton" else epochs(job.settings)
    told.say(f"{'resuming' if checkpoint else 'fitting'} {run.folder}: {rows_of(job)}, {course}")
    with used(job.settings.native), with_threads(job.settings.threads), ExitStack() as stack:
        if not (verified and group.main and wanted()):
            return run, trained(request, run, job, checkpoint, None)
        beside = stack.enter_context(Beside(request.source))
        return run, trained(request, run, replace(job, halted=lambda: beside.differs), checkpoint, beside)


@enough()
def trained(request: Request, run: Run, job: Job, checkpoint: Checkpoint | None, beside: Beside | None) -> dict[str, Any]:
    """The result of the fit, and of the verification beside it, whose difference ends both."""
    try:
        result = train(job, checkpoint)
    except (KeyboardInterrupt, InterruptionError):
        if beside is not None and beside.differs:
            judged(request, run, beside)
        if job.group.main:
            job.reporter.say(f"to go on: {resume_command(request, run)}")
        raise
    except LostError as error:
        raise LostError(f"{error}; to go on: {resume_command(request, run)}", error.first) from None
    found, verdict = result.as_json(), None
    if job.group.main:
        estimates = estimated(run, job, result)
        error = None
        if beside is not None:
            try:
                verdict = judged(request, run, beside)
            except VerificationError as failure:
                error = failure
        report(run, estimates)
        if error is not None:
            raise error
    return found if verdict is None else found | {"verification": verdict}


def judged(request: Request, run: Run, beside: Beside) -> dict[str, Any]:
    """What verification found, kept in the run's folder; VerificationError where something differs."""
    verdict = beside.finish()
    found = verdict.as_json()
    put(run.folder, {VERIFY: dump(found) + "\n"})
    if verdict.state == "differs":
        lines = [
            "the module of this spec is not what the spec says: it differs from brute force at tiny sizes"
            + " (kept from before)" * verdict.kept,
            *(f"  {line}" for line in verdict.wrong),
            "This is a fault of vispec: please report it with the spec. `vispec verify` shows all comparisons.",
            f"What was done is in {run.folder}; to go on nevertheless: {resume_command(request, run, unverified=True)}",
        ]
        raise VerificationError("\n".join(lines), found)
    return found


@contextmanager
def with_threads(count: int | None) -> Iterator[None]:
    """So many threads of the processor, where a number is told, and as many as before afterwards."""
    before = torch.get_num_threads()
    torch.set_num_threads(count or before)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def rows_of(job: Job) -> str:
    """How many rows there are, and how many they stand for."""
    found = f"{job.train.num_rows} rows"
    return found if weight_of(job.train) is None else f"{found} that stand for {total(job.train):g}"


def epochs(settings: Settings) -> str:
    """How many there are to be."""
    if not settings.epochs:
        return "no steps: nothing is to be fitted"
    return f"{settings.epochs} epochs" if settings.least is None else f"{settings.least} to {settings.epochs} epochs"


def report(run: Run, estimates: Estimates | None) -> None:
    """report.html; what draws its diagram is not waited for before the first step."""
    from vispec.train.store.report import write_report

    write_report(run, estimates)


def estimated(run: Run, job: Job, result: Result) -> Estimates | None:
    """The estimates of a fit that has ended, kept in its folder; None where the user would not wait for them."""
    try:
        found = estimate_run(run, job.train, result.as_json(), job.reporter.say)
    except KeyboardInterrupt:
        job.reporter.say(f"without standard errors; `vispec params {run.folder}` computes them")
        return None
    write_estimates(run, found)
    return found


def agreed(request: Request, resume: bool, group: Group) -> Run | None:
    """What `unfinished` says on the first process, on every process. A fit that torchrun has started again goes on with the run
    of the attempt before it."""
    folder, problem = None, None
    if group.main:
        try:
            before = group.recall(FOLDER)
            run = unfinished(request if before is None else replace(request, out=Path(before)), resume or before is not None)
            folder = None if run is None else str(run.folder)
            if folder is not None:
                group.remember(FOLDER, folder)
        except RunError as error:
            problem = str(error)
    folder, problem = group.pick((folder, problem))
    if problem is not None:
        raise RunError(problem)
    return None if folder is None else Run.open(Path(folder), request.trust)


def unfinished(request: Request, resume: bool) -> Run | None:
    """The run to resume, or None for a new one; RunError where a new one would overwrite an old one."""
    folder = request.out or (latest_folder(request.root, request.source.name) if resume else None)
    begun = folder is not None and (folder / "config.json").exists()
    if folder is None or not begun:
        if request.out is not None and request.out.exists() and not request.out.is_dir():
            raise RunError(f"{request.out} is a file; --out names a folder")
        return None
    if not resume:
        unused(folder)
    request.claim.take(folder)
    return Run.open(folder, request.trust)


def resume_command(request: Request, run: Run, unverified: bool = False) -> str:
    """What to type to go on with a run; in Python, where its data are in memory."""
    if {*request.data, *request.valid} & {*held()}:
        return f"the same fit with out={str(run.folder)!r}, resume=True{', verify=False' * unverified}"
    words = ["vispec", "fit", request.source.name, *request.data]
    words += [word for path in request.valid for word in ("--valid", path)]
    return shlex.join([*words, "--out", str(run.folder), "--resume", *["--no-verify"] * unverified])


def finished(run: Run) -> dict[str, Any]:
    """The result of a run that came to its end, from its metrics."""
    found = dict(last_result(run))
    if not found:
        raise RunError(f"{run.folder / FILE} has lost the result of this fit; `vispec eval` computes it")
    return {key: value for key, value in found.items() if key != "event"}
