"""Numbers with their names: what a module has and what there is to say of each, as estimates."""

from collections.abc import Sequence

import numpy as np
from torch import nn

from vispec.model.model import Model
from vispec.train.estimates.labels import Labels
from vispec.train.estimates.nodes import Node
from vispec.train.estimates.posterior import Shared, known_ends
from vispec.train.estimates.uncertainty.intervals import with_interval
from vispec.train.estimates.uncertainty.standard import KEPT, Standard, Told, along
from vispec.train.estimates.values import ABOVE, Estimate, Term, title

POSTERIOR = "posterior mean and deviation"
POINT = "point estimate"
LEVEL = 0.95


class Words:
    """Estimates of nodes with their labels, and notes that name others."""

    def __init__(self, model: Model, labels: Labels, nodes: Sequence[Node], module: nn.Module):
        self.model, self.labels = model, labels
        values = {node.name: node.value(module) for node in nodes}
        self.fixed = {name for name, value in values.items() if not value.requires_grad}
        self.values = {name: value.detach() for name, value in values.items()}
        self.axes = {node.name: node.labels(labels, model, tuple(self.values[node.name].shape)) for node in nodes}

    def entries(self, node: Node, standard: Standard | None, why: str) -> list[Estimate]:
        """One for each number of a parameter, or of a node that parameters decide."""
        value, told = self.values[node.name], {} if standard is None else standard.told
        why = KEPT if node.name in self.fixed else why
        return [
            self.entry(node, index, float(value[index]), told.get((node.name, index), Told(note=why)))
            for index in np.ndindex(*value.shape)
        ]

    def entry(self, node: Node, index: tuple[int, ...], value: float, told: Told) -> Estimate:
        if node.above(index):
            told = Told(se=0.0, note=ABOVE)
        terms = tuple(Term(name=n, index=i, labels=self.axes[n].at(i), weight=weight) for n, i, weight in told.along)
        note = along(terms, [title(term.name, term.labels) for term in terms]) if terms else told.note
        found = Estimate(
            name=node.name,
            labels=self.axes[node.name].at(index),
            index=index,
            estimate=value,
            se=told.se,
            note=POINT if note is None and node.point else note,
            scale=node.scale(index),
            ends=known_ends(self.model, node.name),
            derived=node.derived,
            along=terms,
        )
        return with_interval(found, LEVEL)

    def posterior(self, latent: Shared) -> list[Estimate]:
        """One for each number of a latent with a guide."""
        node, shape = latent.node, tuple(latent.mean.shape)
        axes, ends = node.labels(self.labels, self.model, shape), known_ends(self.model, node.name)
        return [
            with_interval(
                Estimate(
                    name=node.name,
                    labels=axes.at(index),
                    index=index,
                    estimate=float(latent.mean[index]),
                    se=0.0 if node.above(index) else None if latent.deviation is None else float(latent.deviation[index]),
                    note=ABOVE if node.above(index) else POINT if latent.deviation is None else POSTERIOR,
                    derived=latent.derived,
                    scale="posterior" if node.scale(index) == "positive" else node.scale(index),
                    ends=ends,
                ),
                LEVEL,
            )
            for index in np.ndindex(*shape)
        ]
