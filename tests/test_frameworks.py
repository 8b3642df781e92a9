"""The programs of docs/frameworks.md, as they stand there, where their package is installed."""

import importlib.util
import os
import random
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from vispec.compile import class_of, compile_spec
from vispec.source import Source
from vispec.train.store.module import class_of_text

PAGE = Path(__file__).parents[1] / "docs" / "frameworks.md"
STARTED = {"accelerate": ["-m", "accelerate.commands.launch", "--cpu", "--num_processes", "2"]}


def blocks() -> dict[str, str]:
    """Each program, by its package."""
    return dict(re.findall(r"<!-- recipe: (\w+) -->\n```python\n(.*?)```", PAGE.read_text(), re.S))


def test_every_framework_has_a_program():
    assert set(blocks()) == {"lightning_fabric", "accelerate", "ray"}


@pytest.mark.parametrize("package", ["lightning_fabric", "accelerate", "ray"])
def test_a_framework_trains_the_module(tmp_path, package):
    """By two processes, to what the rows are worth: less than 1.1 nats a row, of 1.9 at first."""
    if importlib.util.find_spec(package) is None:
        pytest.skip(f"{package} is not installed")
    spec = re.search(r"```vispec\n(.*?)```", PAGE.read_text(), re.S)
    assert spec is not None
    text = compile_spec(Source("line.vispec", spec[1]), {"D": 2})
    (tmp_path / "line.py").write_text(text)
    chance = random.Random(0)
    rows = [(chance.gauss(0, 1), chance.gauss(0, 1)) for _ in range(200)]
    (tmp_path / "line.csv").write_text("y1,y2,x\n" + "".join(f"{a:.3f},{b:.3f},{a * b:.3f}\n" for a, b in rows))
    (tmp_path / "train.py").write_text(blocks()[package])
    paths = os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])
    quiet = {"RAY_TRAIN_V2_ENABLED": "1", "RAY_USAGE_STATS_ENABLED": "0", "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0"}
    environment = os.environ | {"PYTHONPATH": paths, "OMP_NUM_THREADS": "1", "MASTER_ADDR": "127.0.0.1"} | quiet
    command = [sys.executable, *STARTED.get(package, []), "train.py"]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=150)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "nats a row" in done.stdout
    module = class_of_text(text, class_of(text))(D=2)
    state = torch.load(tmp_path / "line.pt")["module"]
    module.load_state_dict({name.removeprefix("module."): value for name, value in state.items()})
    y, x = torch.tensor(rows), torch.tensor([a * b for a, b in rows])
    assert module.log_prob({"y": y, "x": x}).mean() > -1.1
