"""A run in no steps: of a spec that leaves nothing to fit, or whose parameters have the values of a file."""

import atexit
import shutil
import tempfile
from dataclasses import replace
from pathlib import Path

from vispec.diagnostics import dump
from vispec.train.loop.progress import Reporter
from vispec.train.setup.distributed import Group
from vispec.train.setup.prepare import Request, prepare
from vispec.train.store.checkpoint import BEST, tensor_bytes
from vispec.train.store.manifest import put
from vispec.train.store.run import Run


def still(request: Request, told: Reporter) -> Run:
    """The run, in a folder that goes with the process. Raises RunError where a parameter has no value."""
    folder = Path(tempfile.mkdtemp(prefix="vispec-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    group = Group()
    run, job = prepare(replace(request, out=folder / "run", still=True), group, told)
    module = job.build()
    if job.start is not None:
        module.load_state_dict(job.start, strict=False)
    put(run.folder, {BEST: tensor_bytes(dict(module.state_dict()), {"best": dump({})})})
    return Run.open(run.folder)
