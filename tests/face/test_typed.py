"""The interface is typed to the last: a checker at its strictest has nothing to say of a program that uses it."""

import os
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent
IMPORTED = "import sys, time, vispec; print('torch' in sys.modules, 'pyarrow' in sys.modules, len(dir(vispec)))"


def test_a_program_that_uses_it_passes_a_strict_checker() -> None:
    command = [sys.executable, "-m", "pyright", "-p", str(HERE / "pyrightconfig.json"), "--pythonpath", sys.executable]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout


def test_to_import_it_takes_no_time() -> None:
    """Its tenth of a second is for the machine of a user: here, what costs time is not imported."""
    environment = {**os.environ, "PYTHONPATH": str(HERE.parents[1])}
    done = subprocess.run([sys.executable, "-X", "importtime", "-c", IMPORTED], capture_output=True, text=True, env=environment)
    assert done.stdout.startswith("False False"), done.stderr
    own = next(line for line in done.stderr.splitlines() if line.endswith(" vispec"))
    assert int(own.split("|")[1]) < 100_000  # microseconds, of it and all that it imports
