"""Rows of groups that the fit did not meet: each is a new element of its plate, whose latents come from their laws."""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

from vispec.model.model import Expression, Model, SizeOf, Variable
from vispec.model.problems import listed
from vispec.model.types import Type
from vispec.model.walk import is_read, law_parts, read_values, walk
from vispec.plan.planner import plan_of
from vispec.train.data import load
from vispec.train.data.encoding.labels import card_of, group_of, is_coded
from vispec.train.errors import RunError
from vispec.train.reading import Reading
from vispec.train.sizes import check
from vispec.train.store.changed import Changed
from vispec.train.store.run import Run


def with_new(run: Run, data: Sequence[str], reading: Reading) -> Run:
    """The run with the labels that only these data have as new elements of their plates; itself, where there are none. Raises
    RunError where something is known of each element but no law."""
    pointers = [
        v for v in run.model.variables if v.role == "given" and v.type.domain == "index" and is_coded(run.model, v.type)
    ]
    if not pointers:
        raise RunError("no variable points into a plate by its labels, so no row can be of a new element")
    found = labels_in(run, pointers, data, reading)
    labels, sizes = dict(run.encoders.labels), dict(run.config.sizes)
    fresh: dict[str, int] = {}
    for variable in pointers:
        group, plate, size = group_of(run.model, variable), str(variable.type.plate), card_of(run.model, variable.type)
        known = run.encoders.labels.get(group)
        if known is None or not isinstance(size, str):
            continue  # numbers below a size that is known
        labels[group] = (*known, *(label for label in found[group] or () if label not in known))
        if len(labels[group] or ()) > len(known):
            fresh[plate], sizes[size] = len(known), len(labels[group] or ())
    if not fresh:
        return run
    for plate in fresh:
        refuse(run.model, plate)
    config = run.config.model_copy(update={"sizes": sizes})
    return Changed(run.folder, config, run.trust, fresh=tuple(fresh.items()), labelled=replace(run.encoders, labels=labels))


def labels_in(
    run: Run, pointers: Sequence[Variable], data: Sequence[str], reading: Reading
) -> dict[str, tuple[str, ...] | None]:
    """The labels that occur, as in training data."""
    model = check(run.source, {})
    names = frozenset(variable.name for variable in pointers)
    plates = {plate for variable in pointers for plate in variable.plates}
    part = replace(
        model,
        variables=tuple(v for v in model.variables if v.name in names),
        plates=tuple(p for p in model.plates if p.name in plates or not p.ragged),
    )
    return dict(load(part, data, **reading.over(run.config.reading).only(names).options).encoders.labels)


def refuse(model: Model, plate: str) -> None:
    """RunError where a new element has something that no law says, or would change what is known of the others."""
    plan, size = plan_of(model), str(model.plate[plate].size)
    params = [param.name for param in model.params if plate in param.plates and is_read(model, param.name)]
    points = [
        name for name, found in plan.treatments.items() if found.gradient == "point" and plate in model.variable[name].plates
    ]
    inside = [v.name for v in model.variables if plate in v.plates and any(model.plate[p].data for p in v.plates)]
    if params:
        why = f"{listed(params)} {'are parameters' if params[1:] else 'is a parameter'} of each element, without a law"
    elif points:
        why = f"{listed(points)} {'are point estimates' if points[1:] else 'is a point estimate'}"
    elif inside:
        why = f"{listed(inside)} stand in it in each row" if inside[1:] else f"`{inside[0]}` stands in it in each row"
    elif model.joint is not None:
        why = "its latents have one guide together"
    elif counting := list(counting_on(model, plate, size)):
        why = f"{listed(counting)} {'depend' if counting[1:] else 'depends'} on all of its elements, or on how many there are"
    else:
        return
    raise RunError(f"plate `{plate}` can have no new elements: {why}; write what is to come from a prior as `latent`")


def counting_on(model: Model, plate: str, size: str) -> Iterator[str]:
    """What reads a plate otherwise than at the elements that given indices point at, so that one more element would change it
    for all rows."""

    def sized(type_: Type) -> bool:
        names = {name for dim in (*type_.shape, type_.card) for name in re.findall(r"[A-Za-z_]\w*", str(dim))}
        return size in names or plate in (type_.plate, type_.over)

    def whole(expressions: Iterable[Expression]) -> bool:
        parts = [part for each in expressions for part in walk(each)]
        along = any(plate in (getattr(part, "plate", None), getattr(part, "along", None)) for part in parts)
        return along or any(isinstance(part, SizeOf) and part.name == size for part in parts)

    yield from (param.name for param in model.params if sized(param.type) and is_read(model, param.name))
    for net in model.nets:
        if any(sized(type_) for _, type_ in (*net.args, *net.heads)) or size in re.findall(r"\w+", repr(net.trunk)):
            yield net.name
    for variable in model.variables:
        pointer = variable.role == "given" and variable.type.plate == plate
        told = plate in variable.plates and variable.role != "latent"
        law = () if variable.law is None else law_parts(variable.law)
        if told or whole(law) or (sized(variable.type) and not pointer):
            yield variable.name
    values = read_values(model)
    yield from (let.name for let in model.lets if let.value in values and (whole([let.value]) or sized(let.type)))
