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


FIT = ["fit", "specs/mixture.vispec", "specs/data/faithful.csv", "--columns", "x=eruptions", "--epochs", "1", "--no-verify"]


def test_a_fit_by_gradients_imports_no_compiler(tmp_path: Path) -> None:
    """torch's optimisers bring torch.compile with them, which takes longer than the rest of torch."""
    arguments = [*FIT, "--set", "optimizer=adam", "--threads", "1", "--out", str(tmp_path / "run")]
    code = f"import sys; from vispec.cli.main import main; main({arguments}, standalone_mode=False)"
    told = f"{code}; print([name in sys.modules for name in ('torch', 'torch._dynamo')])"
    done = subprocess.run([sys.executable, "-c", told], cwd=ROOT, capture_output=True, text=True, timeout=200, check=True)
    assert done.stdout.splitlines()[-1] == "[True, False]"


HEAVY = ("pandas", "pyarrow.parquet", "torch.utils.tensorboard")  # a tenth of a second each, or several

FIRST = """
import sys
from vispec.lazy import FRAMES
FRAMES.set(False)  # as the program does before it imports anything
from vispec.train.store import metrics
write = metrics.Metrics.write
def told(self, line, step):
    write(self, line, step)
    line["event"] == "step" and print("loaded:", [name for name in {heavy} if name in sys.modules])
metrics.Metrics.write = told
from vispec.cli.main import main
main({arguments})
"""


def test_first_steps_wait_for_nothing_that_comes_later(tmp_path: Path) -> None:
    """Neither for pandas, which Arrow looks for, nor for TensorBoard, nor for readers of other formats."""
    arguments = [*FIT, "--set", "optimizer=adam", "--set", "batch=2", "--threads", "1", "--out", str(tmp_path / "run")]
    program = FIRST.format(heavy=HEAVY, arguments=arguments)
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, timeout=200, check=True)
    told = [line for line in done.stdout.splitlines() if line.startswith("loaded:")]
    assert {*told} == {"loaded: []"}


def test_arrow_converts_frames_after_it_was_told_of_none() -> None:
    """In the program, where modules of the user's own may have frames."""
    code = (
        "from vispec.lazy import FRAMES; FRAMES.set(False); from vispec.train.data.arrow import pc; import sys, pyarrow as pa; "
    )
    code += "print('pandas' in sys.modules); table = pa.table({'a': [1, 2]}); import pandas; "
    code += "print(pa.Table.from_pandas(table.to_pandas()).to_pydict() == table.to_pydict(), len(pa.array(pandas.Series([1]))))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=200, check=True)
    assert done.stdout.split() == ["False", "True", "1"]


def test_modules_are_imported_ahead_without_a_look_for_garbage() -> None:
    code = "import gc, sys; from vispec.lazy import ahead; seen = []; gc.callbacks.append(lambda *told: seen.append(told)); "
    code += "ahead('vispec.train.fitted'); "
    code += "print('torch' in sys.modules, gc.isenabled(), len(seen), gc.get_freeze_count() > 100_000)"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=200, check=True)
    assert done.stdout.split() == ["True", "True", "0", "True"]
