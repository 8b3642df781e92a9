"""Topic models on 20 Newsgroups: `python benchmarks/news.py FOLDER [SPEC ...]` fits, scores and prints topics.

FOLDER holds train.npz, valid.npz (sparse rows of counts) and vocab.txt. Perplexity is exp of the mean, over documents, of minus
the bound per word, beside that of a unigram model with 0.1 added to each count. Coherence is the mean NPMI of all pairs of a
topic's ten top words, by the training documents in which they stand together (Bouma 2009; Lau, Newman and Baldwin 2014).
"""

import argparse
import json
import math
import sys
from collections.abc import Sequence
from itertools import combinations, pairwise
from pathlib import Path

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).parents[1]))

from vispec.cli.main import main as vispec
from vispec.train.data import load
from vispec.train.data.dataset import Dataset
from vispec.train.scores.words import top_words
from vispec.train.store.module import evaluating
from vispec.train.store.run import Run

SPECS = Path(__file__).parents[1] / "specs"
TOP = 10


def documents(folder: Path, name: str, words: list[str]) -> list[list[str]]:
    """Each document as the list of its words."""
    with np.load(folder / name) as file:
        start, index, count = file["indptr"], file["indices"], file["counts"].astype(int)
    rows = [np.repeat(index[a:b], count[a:b]).tolist() for a, b in pairwise(start)]
    return [[words[i] for i in row] for row in rows]


def unigram(train: list[list[str]], valid: list[list[str]], words: Sequence[str]) -> float:
    """Perplexity averaged by document."""
    counts = dict.fromkeys(words, 0.1)
    for word in (word for row in train for word in row):
        counts[word] += 1
    total = sum(counts.values())
    nats = [sum(math.log(total / counts[word]) for word in row) / len(row) for row in valid if row]
    return math.exp(sum(nats) / len(nats))


def perplexity(run: Run, data: Dataset, draws: int) -> float:
    """exp of the mean over documents of minus the bound per word, the bound averaged over draws."""
    module, nats = run.load(torch.device("cpu")), list[float]()
    with evaluating(module, 0, torch.device("cpu")):
        for indices in data.order(100):
            batch = data.batch(indices)
            bound = torch.stack([module.log_prob(batch) for _ in range(draws)]).mean(0)  # pyright: ignore[reportCallIssue]
            nats += (-bound / batch["w_len"])[batch["w_len"] > 0].tolist()
    return math.exp(sum(nats) / len(nats))


def npmi(topics: list[list[str]], train: list[list[str]]) -> float:
    """Normalised pointwise mutual information of a topic's words, in [-1, 1], averaged over pairs and topics."""
    wanted = {word for topic in topics for word in topic}
    where = {word: set[int]() for word in wanted}
    for number, row in enumerate(train):
        for word in wanted & set(row):
            where[word].add(number)
    scores = [pair(where[a], where[b], len(train)) for topic in topics for a, b in combinations(topic, 2)]
    return sum(scores) / len(scores)


def pair(a: set[int], b: set[int], total: int) -> float:
    both = len(a & b) / total
    if both == 0:
        return -1.0
    return math.log(both * total * total / (len(a) * len(b))) / -math.log(both) if both < 1 else 1.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("specs", nargs="*", default=["prodlda", "lda"], help="of specs/ (default: prodlda lda)")
    parser.add_argument(
        "--out", type=Path, default=Path("runs/news"), help="where runs are kept; those that exist are not fitted"
    )
    parser.add_argument("--epochs", type=int, help="in place of the spec's")
    parser.add_argument("--draws", type=int, default=20, help="of the bound, for perplexity (default 20)")
    options = parser.parse_args()
    words = (options.folder / "vocab.txt").read_text(encoding="utf-8").split()
    train, valid = (documents(options.folder, f"{name}.npz", words) for name in ("train", "valid"))
    options.out.mkdir(parents=True, exist_ok=True)
    files = {name: options.out / f"{name}.jsonl" for name in ("train", "valid")}
    for name, rows in (("train", train), ("valid", valid)):
        files[name].write_text("".join(json.dumps({"w": row}) + "\n" for row in rows), encoding="utf-8")
    base = unigram(train, valid, words)
    print(f"unigram: perplexity {base:.1f}")
    for name in options.specs:
        folder = options.out / name
        if not (folder / "best.safetensors").exists():
            epochs = [] if options.epochs is None else ["--epochs", str(options.epochs)]
            arguments = ["fit", str(SPECS / f"{name}.vispec"), str(files["train"]), "--valid", str(files["valid"]), *epochs]
            vispec([*arguments, "--out", str(folder)], standalone_mode=False)
        run = Run.open(folder)
        value = perplexity(run, load(run.model, [str(files["valid"])], {}, run.encoders, run.config.sizes), options.draws)
        tops = next(iter(top_words(run, run.load(torch.device("cpu")), TOP).values()))
        print(f"\n{name}: perplexity {value:.1f}, {value / base:.3f} of unigram; NPMI {npmi(tops, train):.4f}")
        for topic in tops:
            print("   ", " ".join(topic), flush=True)


if __name__ == "__main__":
    main()
