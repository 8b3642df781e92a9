"""Fits in Python within a process group of the caller's: one fit by all, whose result each has, and the group is left."""

import subprocess
import sys
from pathlib import Path

import torch

import vispec

HERE = Path(__file__).parent
SPEC = """size D = 2
param w : real[D]
plate n:
    given y : real[D]
    observed x : real ~ Normal(dot(w, y), 1)
fit:
    optimizer : adam(lr=0.1)
    batch     : 5
    epochs    : 4
"""


def fit_in_group(rank: int, folder: Path) -> None:
    """The fit of one of two processes."""
    import torch.distributed as dist

    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=2)
    run = fitted(folder / "both")
    torch.save(run.module.state_dict(), folder / f"{rank}.pt")
    run.params()
    total = torch.ones(1)
    dist.all_reduce(total)  # it is there still
    assert total.item() == 2
    del run
    dist.destroy_process_group()


def fitted(folder: Path) -> vispec.Run:
    """The fit, by however many processes there are."""
    generator = torch.Generator().manual_seed(0)
    y = torch.randn(21, 2, generator=generator)
    data = {"y": y.numpy(), "x": (y @ torch.tensor([1.0, -2.0])).numpy()}
    return vispec.load(SPEC).fit(data, out=folder, verify=False, quiet=True, threads=1)


def test_a_process_group_is_taken(tmp_path):
    command = (
        f"import sys; sys.path.insert(0, {str(HERE)!r})\nfrom pathlib import Path\nfrom test_process_group import fit_in_group"
    )
    both = [
        subprocess.Popen([sys.executable, "-c", f"{command}\nfit_in_group({rank}, Path({str(tmp_path)!r}))"], cwd=HERE.parent)
        for rank in range(2)
    ]
    assert [process.wait(timeout=100) for process in both] == [0, 0]
    first, second = (torch.load(tmp_path / f"{rank}.pt") for rank in range(2))
    alone = fitted(tmp_path / "alone").module.state_dict()
    for name, value in alone.items():
        assert torch.equal(first[name], second[name])
        torch.testing.assert_close(first[name], value, rtol=1e-9, atol=1e-12)
    assert len([*tmp_path.glob("both*")]) == 1
