"""Second-order fits on several processes: all take the same steps, and end as one process does."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from newton.test_fits import MIXTURE, write

ROOT = Path(__file__).parents[2]


def fitted(folder: Path, spec: Path, data: str, processes: int) -> dict:
    """The last line of the metrics of `vispec fit` on so many processes."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    command = [
        sys.executable,
        "-m",
        "vispec",
        "fit",
        str(spec),
        data,
        "--out",
        str(folder),
        "--threads",
        "1",
        "--set",
        "restarts=3",
    ]
    shared = os.environ | {"WORLD_SIZE": str(processes), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    shared["PYTHONPATH"] = str(ROOT)
    several = [
        subprocess.Popen(command, env=shared | {"RANK": str(rank), "LOCAL_RANK": str(rank)}, stderr=subprocess.PIPE, text=True)
        for rank in range(processes)
    ]
    try:
        for process in several:
            _, errors = process.communicate(timeout=60)
            assert process.returncode == 0, errors
    finally:
        for process in several:
            process.kill()
    return json.loads((folder / "metrics.jsonl").read_text().splitlines()[-1])


def test_what_is_improper_is_judged_by_all_rows(tmp_path):
    """Each process has half of the rows, and would find a component on too few of them at another time."""
    draws = np.random.default_rng(4)
    y = np.concatenate([draws.normal(0, 1, 30), [3.0, 3.0, 3.0]])[:, None]
    spec = tmp_path / "model.vispec"
    spec.write_text(MIXTURE.replace("K = 2", "K = 3"))
    data = write(tmp_path / "d.csv", y, "y")
    one, two = (fitted(tmp_path / str(count), spec, data, count) for count in (1, 2))
    assert two["notes"] == one["notes"]
    assert two["train"]["log_prob_per_row"] == pytest.approx(one["train"]["log_prob_per_row"], abs=1e-8)
    assert [count for _, count in two["starts"]] == [count for _, count in one["starts"]]
