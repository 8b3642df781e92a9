"""Queries about several latents of a row together, set against its enumeration: the entropy, the divergence from another
posterior, neighbours in a chain, and the k best assignments."""

import copy
from dataclasses import replace

import torch
from torch import Tensor

from vispec.model.model import Past, Variable
from vispec.model.walk import law_parts, walk
from vispec.verify.build import randomise
from vispec.verify.checks import MARGINAL, VALUE, best_value, distance, worst
from vispec.verify.oracle.oracle import Enumeration
from vispec.verify.oracle.parses import of_nodes
from vispec.verify.oracle.row import Cell, labels_of, place_of
from vispec.verify.report import Check
from vispec.verify.trial import Trial, finite_unknowns

BEST = 4


def check_entropy(trial: Trial) -> Check:
    """Of the joint posterior, in nats."""
    got = trial.built.module.posterior(trial.batch, query="entropy")
    if "(joint)" not in got:
        return Check("posterior entropy", skipped="several draws")
    rows = [i for i, each in enumerate(trial.enumerations) if each.cells and bool(each.log_prob > -torch.inf)]
    gaps = [distance(got["(joint)"][i], trial.enumerations[i].entropy) for i in rows]
    return Check("posterior entropy", len(gaps), worst(gaps) if gaps else None, MARGINAL)


def check_divergence(trial: Trial, seed: int = 0, zeros: float = 0.0) -> Check:
    """KL from the posterior under other parameters, of all latents together and of each alone."""
    other = replace(trial.built, module=copy.deepcopy(trial.built.module))
    randomise(other, torch.Generator().manual_seed(seed), zeros=zeros)
    against = Trial(other, trial.batch, trial.count)
    got = trial.built.module.posterior(trial.batch, query="kl", other=other.module)
    gaps = []
    for index, (p, q) in enumerate(zip(trial.enumerations, against.enumerations, strict=True)):
        if p.cells and bool(p.log_prob > -torch.inf):
            gaps.append(distance(got["(joint)"][index], divergence(p.log_joint.softmax(0), log_posterior(q).exp())))
            for cell in p.cells if bool(q.log_prob > -torch.inf) else ():
                expected, found = divergence(p.marginal(cell), q.marginal(cell)), got[cell[0]][index][cell[1]]
                gaps.append(distance(found[tuple(map(slice, expected.shape))], expected))
    return Check("posterior divergence", len(gaps), worst(gaps) if gaps else None, MARGINAL)


def log_posterior(each: Enumeration) -> Tensor:
    """log p(assignment | data), (N,); -inf for all where the data are impossible."""
    return (each.log_joint - each.log_prob).nan_to_num(nan=-torch.inf, neginf=-torch.inf).detach()


def divergence(p: Tensor, q: Tensor) -> Tensor:
    """Σ p log(p / q) over all entries, in each row of the last dimension but for trees; 0 log 0 = 0."""
    return (torch.special.xlogy(p, p) - torch.special.xlogy(p, q)).detach().sum(-1)


def chained(trial: Trial) -> list[tuple[Variable, str]]:
    """Finite unknowns that read their own past, and along which plate."""
    found = {v.name: v for v in finite_unknowns(trial.built) if v.law is not None}
    reads = ((v, e) for v in found.values() for part in law_parts(v.law) for e in walk(part))  # type: ignore[arg-type]
    own = {v.name: (v, v.type.along) for v in found.values() if v.type.along is not None}
    return list((own | {v.name: (v, e.plate) for v, e in reads if isinstance(e, Past) and e.name == v.name}).values())


def check_pairs(trial: Trial) -> Check:
    """p(z[t-1], z[t] | x) of every chain, which are nothing past its end and sum to the marginals of both."""
    got = trial.built.module.posterior(trial.batch, query="pairs")
    marginals = trial.built.module.posterior(trial.batch)
    gaps = []
    for variable, plate in chained(trial):
        name, at = variable.name, variable.plates.index(plate) - 1  # in a cell's place the data plate is left out
        for index, each in enumerate(trial.enumerations):
            left = got[name][index].clone()
            if not bool(each.log_prob > -torch.inf):
                gaps.append(float(left.abs().sum()))
                continue
            for cell in trial.rows[index].cells(variable):
                place = list(cell[1])
                place[at] -= 1
                if place[at] >= 0:
                    before = (name, tuple(place))
                    expected = pair_marginal(trial, index, before, cell)
                    here = (*before[1], *map(slice, expected.shape))
                    found = left[here].clone()
                    gaps.append(distance(found, expected))
                    for dim, one in ((1, before), (0, cell)):
                        gaps.append(distance(found.sum(dim), marginals[name][index][one[1]][: expected.shape[1 - dim]]))
                    left[here] = 0
            gaps.append(float(left.abs().sum()))
    return Check("pairs in chains", len(gaps), worst(gaps) if gaps else None, MARGINAL)


def pair_marginal(trial: Trial, index: int, before: Cell, cell: Cell) -> Tensor:
    """p(before, cell | row), (K before, K), of two cells that may also be known."""
    row, each = trial.rows[index], trial.enumerations[index]
    variable = trial.built.model.variable[cell[0]]
    sizes = [row.card(variable.type, place_of(trial.built.model, variable, one)) for one in (before, cell)]

    def states(one: Cell) -> Tensor:  # (N,)
        found = each.choices[:, each.cells.index(one)] if one in each.cells else row.values[one].long()
        return found.expand(len(each.log_joint))

    mass = torch.zeros(sizes[0] * sizes[1], dtype=torch.float64)
    return mass.index_add(0, states(before) * sizes[1] + states(cell), each.posterior).view(*sizes)


def check_best_parses(trial: Trial) -> Check:
    """The largest joints there are, in order, each with a parse of its own that has it; where nothing else is summed."""
    (name,) = [each.name for each in finite_unknowns(trial.built)]
    try:
        got = trial.built.module.posterior(trial.batch, query=f"kbest({BEST})")
    except ValueError:
        return Check(f"{BEST} best", skipped="parses beside other latents")
    gaps, (symbols, card) = list[float](), labels_of(trial.built.model.variable[name].type, trial.built.sizes)
    for index, each in enumerate(trial.enumerations):
        found, best = got["(log_joint)"][index], each.log_joint.detach().sort(descending=True).values[:BEST]
        gaps.append(distance(found[: len(best)], best))
        possible = int((best > -torch.inf).sum())
        values = [of_nodes(nodes.tolist(), symbols, card) for nodes in got[name][index][:possible]]
        gaps += [distance(each.log_joint_at({each.cells[0]: v}), found[rank]) for rank, v in enumerate(values)]
        if len({*values}) < possible or bool((found[possible:] > -torch.inf).any()):
            return Check(f"{BEST} best", failure=f"row {index}: a parse twice, or one too many")
    return Check(f"{BEST} best", len(gaps), worst(gaps) if gaps else None, VALUE)


def check_k_best(trial: Trial) -> Check:
    """The largest joints there are, in order, each with an assignment that has it, no two the same."""
    if whole := [v.type.domain for v in trial.built.model.variables if v.type.element is not None]:
        if whole == ["parse"] and [v.type.domain for v in finite_unknowns(trial.built)] == ["parse"]:
            return check_best_parses(trial)
        return Check(f"{BEST} best", skipped=f"{whole[0]} are not told by labels alone")
    got = trial.built.module.posterior(trial.batch, query=f"kbest({BEST})")
    gaps = []
    for index, each in enumerate(trial.enumerations):
        if not each.cells:
            continue
        found, best = got["(log_joint)"][index], each.log_joint.detach().sort(descending=True).values[:BEST]
        gaps.append(distance(found[: len(best)], best))
        possible = int((best > -torch.inf).sum())
        chosen = [
            {cell: best_value(trial, index, cell, got[cell[0]][index][rank][cell[1]]) for cell in each.cells}
            for rank in range(possible)
        ]
        gaps += [distance(each.log_joint_at(value), found[rank]) for rank, value in enumerate(chosen)]
        if len({tuple(value.items()) for value in chosen}) < possible or bool((found[possible:] > -torch.inf).any()):
            return Check(f"{BEST} best", failure=f"row {index}: an assignment twice, or one too many")
    return Check(f"{BEST} best", len(gaps), worst(gaps) if gaps else None, VALUE)
