"""Alignment by agreement (Liang, Taskar and Klein, 2006): both directions of specs/hmm_alignment.vispec learn from each other.

    vispec fit hmm_alignment.vispec x=train.fr y=train.en --out fr-en
    vispec fit hmm_alignment.vispec x=train.en y=train.fr --out en-fr
    python benchmarks/agreement.py fr-en en-fr --train train.en train.fr --dev dev.en dev.fr --links dev.wa

Each maximises log Σ_a p(x, a | y) q(a), q(a) the product over words of what the other direction's posterior gives the links, so
the gradient is that of the log joint, in the mean under what both agree on. Links are English first in the file. Prints the
error rates of both directions, and of the links that both find, before and after."""

import argparse
import sys
from pathlib import Path

import torch
from torch import Tensor, nn

import vispec
from vispec.answers.measured.links import Links, error_rate, read_links

LEAST = 1e-4  # what a link counts that the other direction rules out
Batch = dict[str, Tensor]


def lines(paths: list[str]) -> list[list[str]]:
    return [Path(path).read_text(encoding="utf-8").splitlines() for path in paths]


def batches(runs: list[vispec.Run], english: list[str], french: list[str]) -> tuple[Batch, Batch]:
    """The same pairs for both directions, French given English first."""
    pairs = list(zip(english, french, strict=True))
    return runs[0].batch([{"x": f, "y": e} for e, f in pairs]), runs[1].batch([{"x": e, "y": f} for e, f in pairs])


def told_by(other: nn.Module, batch: Batch) -> dict[str, Tensor]:
    """What the other direction adds to the log joint: the log-probability of each link."""
    return {"a": other.posterior(batch)["a"].transpose(1, 2).clamp(min=LEAST).log()}  # type: ignore[operator]


def found(module: nn.Module, batch: Batch, flip: bool) -> list[Links]:
    """The likeliest alignment of each pair, English first."""
    rows = zip(module.posterior(batch, "mode")["a"].tolist(), batch["x_len"].tolist(), strict=True)  # type: ignore[operator]
    return [{(i, at) if flip else (at, i) for i, at in enumerate(row[:n])} for row, n in rows]


def report(what: str, modules: list[nn.Module], dev: tuple[Batch, Batch], path: str) -> None:
    one, other = (found(module.eval(), batch, flip) for module, batch, flip in zip(modules, dev, (False, True), strict=True))
    gold = read_links(path, len(one))
    rates = [100 * error_rate(each, gold) for each in (one, other, [a & b for a, b in zip(one, other, strict=True)])]
    print(
        f"{what}: French given English {rates[0]:.2f} %, English given French {rates[1]:.2f} %, both {rates[2]:.2f} %",
        flush=True,
    )


def agree(
    modules: list[nn.Module], runs: list[vispec.Run], pairs: list[tuple[str, str]], epochs: int, lr: float, size: int
) -> None:
    """Steps on minibatches of pairs of like length; the rate falls to 0."""
    totals = [sys.modules[type(module).__module__].log_sum_exp for module in modules]
    parameters = [p for module in modules for p in module.parameters()]
    optimiser = torch.optim.Adam(parameters, lr=lr)
    pairs = sorted(pairs, key=lambda pair: len(pair[1].split()))
    groups = [pairs[at : at + size] for at in range(0, len(pairs), size)]
    schedule = torch.optim.lr_scheduler.LinearLR(optimiser, 1.0, 0.0, epochs * len(groups))
    for _ in range(epochs):
        for at in torch.randperm(len(groups)).tolist():
            own = batches(runs, *map(list, zip(*groups[at], strict=True)))
            tilts = [told_by(other, batch) for other, batch in zip(modules[::-1], own[::-1], strict=True)]
            told = zip(modules, own, totals, tilts, strict=True)
            agreed = [module.train().tilted(batch, total, tilt).mean() for module, batch, total, tilt in told]  # type: ignore[operator]
            optimiser.zero_grad()
            (-agreed[0] - agreed[1]).backward()
            nn.utils.clip_grad_norm_(parameters, 5.0)
            optimiser.step()
            schedule.step()


def main() -> None:
    told = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    told.add_argument("runs", nargs=2)
    for name in ("train", "dev"):
        told.add_argument(f"--{name}", nargs=2, required=True, metavar=("ENGLISH", "FRENCH"))
    told.add_argument("--links", required=True)
    told.add_argument("--epochs", type=int, default=1)
    told.add_argument("--lr", type=float, default=5e-4)
    told.add_argument("--batch", type=int, default=128)
    args = told.parse_args()
    torch.manual_seed(0)
    torch.set_num_threads(1)
    runs = [vispec.open_run(folder) for folder in args.runs]
    modules = [run.module for run in runs]
    dev = batches(runs, *lines(args.dev))
    report("apart", modules, dev, args.links)
    agree(modules, runs, list(zip(*lines(args.train), strict=True)), args.epochs, args.lr, args.batch)
    report("together", modules, dev, args.links)


if __name__ == "__main__":
    main()
