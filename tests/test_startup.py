"""`vispec check` answers at once: it imports no torch and does little.

What it does is counted, in calls of functions and not in seconds, since machines differ and are shared: a quarter of a million
calls were 0.3 to 0.5 s on those that were tried, from the start of the interpreter to its end.
"""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
SPECS = sorted((ROOT / "specs").glob("*.vispec"))
LIMIT = 450_000  # calls, of functions written in Python, and imports among them

PROGRAM = """
import json, sys
calls = 0
def count(frame, event, argument):
    global calls
    calls += event == "call"
found = {}
for spec in sys.argv[1:]:
    calls = 0
    sys.setprofile(count)
    from vispec.cli.main import main
    try:
        main(["check", spec])
    except SystemExit:
        sys.setprofile(None)
    found[spec] = calls
heavy = [name for name in ("torch", "numpy", "pyarrow", "pydantic") if name in sys.modules]
print(json.dumps({"calls": found, "heavy": heavy}), file=sys.stderr)
"""


def checked(*specs: Path) -> dict[str, Any]:
    command = [sys.executable, "-c", PROGRAM, *map(str, specs)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=600, check=True)
    return json.loads(done.stderr.splitlines()[-1])


def test_check_is_quick_and_needs_no_tensors() -> None:
    """The first of them imports what there is to import."""
    answer = checked(*SPECS)
    assert answer["heavy"] == []
    assert [spec for spec, calls in answer["calls"].items() if calls >= LIMIT] == []
    assert 100_000 < checked(SPECS[0])["calls"][str(SPECS[0])] < LIMIT


def test_the_program_itself_imports_no_torch() -> None:
    code = "import sys; from vispec.cli.main import main; import vispec.compile; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.strip() == "False"


def test_a_fit_by_gradients_imports_no_compiler(tmp_path: Path) -> None:
    """torch's optimisers bring torch.compile with them, which takes longer than the rest of torch."""
    arguments = ["fit", "specs/mixture.vispec", "specs/data/faithful.csv", "--columns", "x=eruptions"]
    arguments += ["--set", "optimizer=adam", "--epochs", "1", "--threads", "1", "--out", str(tmp_path / "run")]
    code = f"import sys; from vispec.cli.main import main; main({arguments}, standalone_mode=False)"
    told = f"{code}; print([name in sys.modules for name in ('torch', 'torch._dynamo')])"
    done = subprocess.run([sys.executable, "-c", told], cwd=ROOT, capture_output=True, text=True, timeout=200, check=True)
    assert done.stdout.splitlines()[-1] == "[True, False]"
