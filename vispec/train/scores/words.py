"""The most probable words of every distribution over a vocabulary, or over the labels of what is observed, that a fitted model
holds: its topics, its states."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from vispec.model.constant import constant_lets
from vispec.model.model import Model, Net, NetCall, Variable
from vispec.model.types import Type
from vispec.model.walk import law_parts, walk
from vispec.named import get, has
from vispec.plan.planner import plan_of
from vispec.train.data.encoding.labels import group_of, told
from vispec.train.data.encoding.vocab import Encoders
from vispec.train.store.run import Run

NUMBERED = ("category", "index")  # domains whose values are 0, 1, ..., few enough to show a line of each
DRAWS = 20  # of latents that rows share, whose mean is shown


@dataclass(frozen=True)
class Table:
    """A distribution over words for each of K: probabilities (K, V). words: a vocabulary, or whose labels they are."""

    name: str
    words: str | Variable
    probabilities: Tensor


class Spoken:
    """What is a distribution over words: by its size, one over a vocabulary; by its reader, one over the labels of what is
    observed."""

    def __init__(self, model: Model):
        self.vocabularies = {vocab.name for vocab in model.vocabs}
        labelled = [v for v in model.variables if v.role in ("observed", "partial") and v.type.domain == "category"]
        self.readers = {name: v for v in labelled for name in read_by(model, v)}

    def words(self, name: str, type_: Type) -> str | Variable | None:
        """The words that a value under this name is a distribution over, if it is one."""
        if type_.domain != "simplex" or len(type_.shape) != 1:
            return None
        size = type_.shape[0]
        if size in self.vocabularies:
            return str(size)
        reader = self.readers.get(name)
        return reader if reader is not None and reader.type.card == size and not reader.type.shape else None


def read_by(model: Model, variable: Variable) -> set[str]:
    """The names that a variable's law reads, be it through deterministic nodes."""
    pending = list(law_parts(variable.law)) if variable.law is not None else []
    names = set[str]()
    while pending:
        for part in walk(pending.pop()):
            name = part.net if isinstance(part, NetCall) else getattr(part, "name", None)
            if isinstance(name, str) and name not in names:
                names.add(name)
                pending += [model.let[name].value] if name in model.let else []
    return names


@torch.no_grad()
def tables(model: Model, module: nn.Module) -> Iterator[Table]:
    """Parameters, deterministic nodes that they decide, and shared latents that are a simplex[V] for each element of a plate,
    and nets that turn a class, an index, weights of classes, or a vector into one. A vector's numbers are told apart by what
    one more of each changes."""
    spoken = Spoken(model)
    for each in (*model.params, *constant_lets(model)):
        words = spoken.words(each.name, each.type) if len(each.plates) == 1 else None
        if words is not None and has(module, each.name):  # an old run's may lack it
            yield Table(each.name, words, get(module, each.name))
    shared = [model.variable[name] for name in plan_of(model).shared_latents]
    wanted = {i: spoken.words(v.name, v.type) for i, v in enumerate(shared) if len(v.plates) == 1}
    if any(wanted.values()):
        draws = [module.shared() for _ in range(DRAWS)]  # pyright: ignore[reportCallIssue]
        for i, words in wanted.items():
            if words is not None:
                yield Table(shared[i].name, words, torch.stack([draw[i] for draw in draws]).mean(0))
    for net in model.nets:
        classes = class_argument(model, net)
        words = spoken.words(net.name, net.heads[0][1]) if len(net.heads) == 1 else None
        if classes is not None and words is not None:
            domain, call = net.args[0][1].domain, get(module, net.name)
            logits = call(torch.arange(classes) if domain in NUMBERED else torch.eye(classes))
            logits = logits - call(torch.zeros(classes)) if domain == "real" else logits
            yield Table(net.name, words, logits.softmax(-1))


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
        size = table.probabilities.shape[-1]
        words = named(table.words, run.model, run.encoders) or range(size)
        best = table.probabilities.topk(min(count, size), -1).indices
        found[table.name] = [[str(words[i]) for i in row] for row in best.tolist()]
    return found


def named(words: str | Variable, model: Model, encoders: Encoders) -> Sequence[str | int] | None:
    """Words by their numbers; None where there are the numbers alone."""
    if isinstance(words, str):
        return encoders.vocabularies[words].tokens
    labels = words.type.labels or encoders.labels.get(group_of(model, words))
    return None if labels is None else told(labels)
