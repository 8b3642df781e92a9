"""Runs of version 0.1.0, whose files know less: they go on by the same steps, in single precision."""

import json

import torch

from vispec.source import Source
from vispec.train.loop.fit import fit
from vispec.train.loop.progress import Quiet
from vispec.train.setup.distributed import Group
from vispec.train.setup.prepare import Request, prepare, prepare_resume
from vispec.train.store.checkpoint import read_tensors, tensor_bytes
from vispec.train.store.run import Run

SPEC = """
size K = 2
param pi : simplex[K]
plate k[K]:
    param mu : real
plate n:
    latent   c : index[k] ~ Categorical(pi)
    observed y : real     ~ Normal(mu[c], 1)
"""
SINCE = {"settings": {"least", "precision"}, "counters": {"cooling", "series", "converged", "ending"}}
"""What 0.1.0 did not write."""


def made_old(folder):
    """Take out of a run's files what 0.1.0 had not in them."""
    path = folder / "config.json"
    config = json.loads(path.read_text())
    config["vispec"] = "0.1.0"
    config.pop("gathered")
    config["settings"] = {key: value for key, value in config["settings"].items() if key not in SINCE["settings"]}
    path.write_text(json.dumps(config))
    tensors, header = read_tensors(folder / "last.safetensors")
    counters = json.loads(header["counters"])
    header["counters"] = json.dumps({key: value for key, value in counters.items() if key not in SINCE["counters"]})
    (folder / "last.safetensors").write_bytes(tensor_bytes(tensors, header))
    (folder / "manifest.json").unlink()


def test_an_old_run_goes_on_by_the_same_steps(tmp_path):
    data = tmp_path / "d.csv"
    data.write_text("y\n" + "\n".join(str(0.1 * i * (-1) ** i) for i in range(60)) + "\n")

    def request(folder, epochs):
        settings = {"optimizer": "adam", "precision": "float32", "epochs": epochs, "batch": 20}
        return Request(Source("model.vispec", SPEC), (str(data),), settings=settings, out=tmp_path / folder)

    for folder, epochs in (("whole", 6), ("part", 3)):
        fit(prepare(request(folder, epochs), Group(), Quiet())[1])
    made_old(tmp_path / "part")
    again = Request(Source("model.vispec", SPEC), (str(data),), settings={"epochs": 6}, out=tmp_path / "part")
    run, job, checkpoint = prepare_resume(Run.open(tmp_path / "part"), again, Group(), Quiet())
    assert job.dtype == torch.float32
    assert job.settings.optimizer == "adam"
    fit(job, checkpoint)
    whole, part = (read_tensors(tmp_path / folder / "last.safetensors")[0] for folder in ("whole", "part"))
    assert whole.keys() == part.keys()
    assert all(torch.equal(whole[name], part[name]) for name in whole)
    assert run.load(torch.device("cpu")).mu.dtype == torch.float32
