"""The most probable words of every distribution over a vocabulary that a fitted model holds: its topics, its states."""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from vispec.model.constant import constant_lets
from vispec.model.model import Model, Net
from vispec.model.types import Type
from vispec.named import get, has
from vispec.plan.planner import plan_of
from vispec.train.store.run import Run

NUMBERED = ("category", "index")  # domains whose values are 0, 1, ..., few enough to show a line of each
DRAWS = 20  # of latents that rows share, whose mean is shown


@dataclass(frozen=True)
class Table:
    """A distribution over the words of `vocabulary` for each of K: probabilities (K, V)."""

    name: str
    vocabulary: str
    probabilities: Tensor


@torch.no_grad()
def tables(model: Model, module: nn.Module) -> Iterator[Table]:
    """Parameters, deterministic nodes that they decide, and shared latents that are a simplex[V] for each element of a plate,
    and nets that turn a class, an index, weights of classes, or a vector into one. A vector's numbers are told apart by what
    one more of each changes."""
    vocabularies = {vocab.name for vocab in model.vocabs}
    for each in (*model.params, *constant_lets(model)):
        if over_words(each.type, vocabularies) and len(each.plates) == 1 and has(module, each.name):  # an old run's may lack it
            yield Table(each.name, str(each.type.shape[0]), get(module, each.name))
    shared = [model.variable[name] for name in plan_of(model).shared_latents]
    wanted = [i for i, variable in enumerate(shared) if over_words(variable.type, vocabularies) and len(variable.plates) == 1]
    if wanted:
        draws = [module.shared() for _ in range(DRAWS)]  # pyright: ignore[reportCallIssue]
        for i in wanted:
            yield Table(shared[i].name, str(shared[i].type.shape[0]), torch.stack([draw[i] for draw in draws]).mean(0))
    for net in model.nets:
        classes = class_argument(model, net)
        if classes is not None and len(net.heads) == 1 and over_words(net.heads[0][1], vocabularies):
            domain, call = net.args[0][1].domain, get(module, net.name)
            logits = call(torch.arange(classes) if domain in NUMBERED else torch.eye(classes))
            logits = logits - call(torch.zeros(classes)) if domain == "real" else logits
            yield Table(net.name, str(net.heads[0][1].shape[0]), logits.softmax(-1))


def over_words(type_: Type, vocabularies: set[str]) -> bool:
    return type_.domain == "simplex" and len(type_.shape) == 1 and type_.shape[0] in vocabularies


def class_argument(model: Model, net: Net) -> int | None:
    """How many classes a net's only argument tells apart, None where it is something else."""
    if len(net.args) != 1 or net.args[0][1].star:
        return None
    type_ = net.args[0][1]
    if type_.domain in NUMBERED:
        size = model.plate[type_.plate].size if type_.plate else type_.card
    else:
        size = type_.shape[0] if type_.domain in ("simplex", "real") and len(type_.shape) == 1 else None
    if size is None:
        return None
    known = {each.name: each.value for each in model.sizes}
    return known.get(size) if isinstance(size, str) else size


def top_words(run: Run, module: nn.Module, count: int) -> dict[str, list[list[str]]]:
    """The `count` most probable words, best first, of each row of each table, by the table's name."""
    found: dict[str, list[list[str]]] = {}
    for table in tables(run.model, module):
        vocabulary = run.encoders.vocabularies[table.vocabulary]
        best = table.probabilities.topk(min(count, len(vocabulary)), -1).indices
        found[table.name] = [vocabulary.decode(row) for row in best.tolist()]
    return found
