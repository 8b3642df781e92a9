"""`sequences` of an emitted translator against a greedy search and a beam search written by hand, both with cached states.

`python benchmarks/decoding.py [RUN]` prints the seconds for 100 sentences, in turn, and whether the outputs are the same. RUN:
a folder that `vispec fit specs/translation.vispec` left; without one, parameters are random and no sequence ends early.
"""

import argparse
import sys
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import torch
from torch import Tensor

sys.path.insert(0, str(Path(__file__).parents[1]))

from vispec.compile import compile_spec
from vispec.source import Source
from vispec.train.store.run import Run

ROOT = Path(__file__).parents[1]
END, LONGEST, WIDTH = 0, 40, 5


class Search:
    """What one would write for this net: an encoder that runs once, and a decoder's step."""

    def __init__(self, net: Any, y: Tensor, y_len: Tensor):
        self.net, self.mask = net, torch.arange(y.shape[1]) < y_len[:, None]
        self.memory = net.lstm_source(net.embed_source(y))  # (B, S, H)

    def weights(self) -> list[Tensor]:
        return [getattr(self.net.lstm, f"{name}_l0") for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")]

    def begin(self) -> tuple[Tensor, Tensor, Tensor]:
        zeros = self.memory.new_zeros(1, len(self.memory), self.net.lstm.hidden_size)
        return self.net.start.expand(len(self.memory), 1, -1), zeros, zeros

    def step(self, x: Tensor, h: Tensor, c: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Log-probabilities (B, V) after one more word's vector x (B, 1, W)."""
        out, h, c = torch.lstm(x, (h, c), self.weights(), True, 1, 0.0, False, False, True)
        score = (out @ self.memory.mT).masked_fill(~self.mask[:, None], -torch.inf)
        read = score.softmax(-1) @ self.memory
        return self.net.out(self.net.mlp(torch.cat((out, read), -1)))[:, 0].log_softmax(-1), h, c


def greedy(net: Any, batch: dict[str, Tensor], end: int, longest: int) -> list[list[int]]:
    search = Search(net, batch["y"], batch["y_len"])
    x, h, c = search.begin()
    words, done = [], torch.zeros(len(batch["y"]), dtype=torch.bool)
    for _ in range(longest):
        log_prob, h, c = search.step(x, h, c)
        words.append(log_prob.argmax(-1))
        done |= words[-1] == end
        if done.all():
            break
        x = net.embed(words[-1])[:, None]
    return [cut(row, end) for row in torch.stack(words, 1).tolist()]


def cut(words: list[int], end: int) -> list[int]:
    return words[: words.index(end) + 1] if end in words else words


def beam(net: Any, batch: dict[str, Tensor], end: int, longest: int, width: int) -> list[list[int]]:
    """The best finished one, all beams of all sentences in one batch until none can become better."""
    n = len(batch["y"])
    search = Search(net, batch["y"], batch["y_len"])
    search.memory, search.mask = search.memory.repeat_interleave(width, 0), search.mask.repeat_interleave(width, 0)
    x, h, c = search.begin()
    score = torch.full((n, width), -torch.inf)
    score[:, 0] = 0
    words = torch.zeros(n, width, 0, dtype=torch.long)
    kept = torch.full((n, width), -torch.inf)  # scores of finished ones
    best: list[list[tuple[float, list[int]]]] = [[] for _ in range(n)]
    for _ in range(longest):
        log_prob, h, c = search.step(x, h, c)
        joint = score[..., None] + log_prob.view(n, width, -1)
        ended = joint[..., end].clone()
        ended[ended < joint.flatten(1).topk(width).values[:, -1:]] = -torch.inf
        joint[..., end] = -torch.inf
        for row, each in (ended > kept[:, -1:]).nonzero().tolist():
            best[row].append((float(ended[row, each]), [*words[row, each].tolist(), end]))
        kept = torch.cat((kept, ended), 1).topk(width).values
        score, flat = joint.flatten(1).topk(width)
        if bool((score[:, 0] <= kept[:, -1]).all()):
            break
        parent, token = flat // joint.shape[-1], flat % joint.shape[-1]
        rows = (parent + torch.arange(n)[:, None] * width).flatten()
        words = torch.cat((words.flatten(0, 1)[rows].view(n, width, -1), token[..., None]), -1)
        h, c, x = h[:, rows], c[:, rows], net.embed(token.flatten())[:, None]
    unfinished = words[:, 0].tolist()
    return [max(found)[1] if found else unfinished[row] for row, found in enumerate(best)]


def drawn() -> tuple[Any, Any, dict[str, Tensor], int]:
    """A module of random parameters, its net, 100 sentences and the end."""
    space: dict = {}
    exec(compile_spec(Source.read(ROOT / "specs" / "translation.vispec"), {}), space)
    torch.manual_seed(0)
    module = space["Translation"](EN=6000, DE=6000).eval()
    lengths = torch.randint(5, 20, (100,))
    return module, module.decode, {"y": torch.randint(6000, (100, 20)), "y_len": lengths}, END


def fitted(folder: Path) -> tuple[Any, Any, dict[str, Tensor], int]:
    """Those of a run, and sentences of random words."""
    run = Run.open(folder)
    module: Any = run.load(torch.device("cpu")).eval()
    torch.manual_seed(0)
    size = module.decode.embed_source.num_embeddings
    words = run.encoders.vocabularies["EN"]
    batch = {"y": torch.randint(size, (100, 20)), "y_len": torch.randint(5, 20, (100,))}
    return module, module.decode, batch, words.ids[str(words.end)]


def sequences(module: Any, batch: dict[str, Tensor], end: int, **how: object) -> list[list[int]]:
    found = module.sequences(batch, len(batch["y"]), end, LONGEST, **how)
    return [x[:n].tolist() for x, n in zip(found["tokens"][:, 0], found["lengths"][:, 0], strict=True)]


@torch.no_grad()
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", nargs="?", type=Path)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    module, net, batch, end = fitted(options.run) if options.run else drawn()
    pairs: dict[str, tuple[Callable[[], list[list[int]]], Callable[[], list[list[int]]]]] = {
        "greedy": (lambda: greedy(net, batch, end, LONGEST), lambda: sequences(module, batch, end)),
        f"beam of {WIDTH}": (
            lambda: beam(net, batch, end, LONGEST, WIDTH),
            lambda: sequences(module, batch, end, rule="beam", width=WIDTH),
        ),
    }
    for name, (hand, emitted) in pairs.items():
        same = sum(a == b for a, b in zip(hand(), emitted(), strict=True))
        times: dict[str, list[float]] = {"hand": [], "emitted": []}
        for _ in range(options.rounds):
            for each, run in (("hand", hand), ("emitted", emitted)):
                start = time.perf_counter()
                run()
                times[each].append(time.perf_counter() - start)
        ratio = median(b / a for a, b in zip(times["hand"], times["emitted"], strict=True))
        shown = "  ".join(f"{each} {median(values):.3f} s (least {min(values):.3f})" for each, values in times.items())
        print(f"{name:10}  {shown}  ratio {ratio:.2f}  {same} of {len(batch['y'])} alike")


if __name__ == "__main__":
    main()
