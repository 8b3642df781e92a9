"""`vispec check` answers at once: it imports no torch and does little.

What it does is counted, in calls of functions and not in seconds, since machines differ and are shared: a quarter of a million
calls were 0.3 to 0.5 s on those that were tried, from the start of the interpreter to its end.
"""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[1]
SPECS = sorted((ROOT / "specs").glob("*.vispec"))
LIMIT = 450_000  # calls, of functions written in Python, and imports among them

PROGRAM = """
import json, sys
calls = 0
def count(frame, event, argument):
    global calls
    calls += event == "call"
sys.setprofile(count)
from vispec.cli.main import main
try:
    main(["check", sys.argv[1]])
finally:
    sys.setprofile(None)
    heavy = [name for name in ("torch", "numpy", "pyarrow", "pydantic") if name in sys.modules]
    print(json.dumps({"calls": calls, "heavy": heavy}), file=sys.stderr)
"""


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """One where bytecode is kept, as it is once a package is installed; the first run has written it."""
    kept = {"PYTHONPYCACHEPREFIX": str(tmp_path_factory.mktemp("bytecode"))}
    found = {**os.environ, **kept}
    found.pop("PYTHONDONTWRITEBYTECODE", None)
    check(SPECS[0], found)
    return found


def check(spec: Path, environment: dict[str, str]) -> dict[str, Any]:
    command = [sys.executable, "-c", PROGRAM, str(spec)]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=60)
    assert done.returncode in (0, 1), done.stderr
    return json.loads(done.stderr.splitlines()[-1])


@pytest.mark.parametrize("spec", SPECS, ids=lambda path: path.stem)
def test_check_is_quick_and_needs_no_tensors(spec: Path, environment: dict[str, str]) -> None:
    answer = check(spec, environment)
    assert answer["heavy"] == []
    assert answer["calls"] < LIMIT


def test_the_program_itself_imports_no_torch() -> None:
    code = "import sys; from vispec.cli.main import main; import vispec.compile; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.strip() == "False"
