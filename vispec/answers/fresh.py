"""Rows of groups that the fit did not meet: each is a new element of its plate, whose latents come from their laws."""

from collections.abc import Sequence
from dataclasses import replace

from vispec.model.model import Model, Variable
from vispec.model.problems import listed
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
    """RunError where a new element has something that no law says."""
    plan = plan_of(model)
    params = [param.name for param in model.params if plate in param.plates]
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
    else:
        return
    raise RunError(f"plate `{plate}` can have no new elements: {why}; write what is to come from a prior as `latent`")
