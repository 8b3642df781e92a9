"""KL divergences in closed form, summed over event dimensions."""

from __future__ import annotations

from vispec.catalog import distributions
from vispec.distributions import CLOSED_FORM
from vispec.factors.frame import Frame
from vispec.factors.laws import DrawLaw, Law, ThenLaw, by_position
from vispec.model.types import Type
from vispec.program import build
from vispec.program.node import Call, Node, Part


def divergence(f: Frame, q: Law, p: Law, type_: Type) -> Node | None:
    """KL(q ‖ p) in nats over the axes of both laws, element by element along a chain; None where there is no closed form."""
    each = [law.laws if isinstance(law, ThenLaw) else (law,) for law in (q, p)]
    pairs = [tuple(laws[min(step, len(laws) - 1)] for laws in each) for step in range(max(map(len, each)))]
    found = [_pair(f, one, other, type_) for one, other in pairs]
    if any(part is None for part in found):
        return None
    parts = [part for part in found if part is not None]
    axis = next((law.axis for law in (q, p) if isinstance(law, ThenLaw)), None)
    return parts[0] if axis is None else by_position(axis, parts)


def _pair(f: Frame, q: Law, p: Law, type_: Type) -> Node | None:
    if not (isinstance(q, DrawLaw) and isinstance(p, DrawLaw) and q.params and p.params):
        return None
    if (q.distribution, p.distribution) not in CLOSED_FORM:
        return None
    entry, shape = distributions()[q.distribution], f.shape(type_)
    builder = entry.divergences.get(p.distribution)
    found = None if builder is None else builder(q.params, p.params)
    if found is None:
        given = tuple((build.apply("real", node), own, "") for _, node, own in (*q.params, *p.params))
        settings = (
            ("of_q", len(q.params)),
            ("q_names", tuple(name for name, _, _ in q.params)),
            ("p_names", tuple(name for name, _, _ in p.params)),
        )
        found = Part(Call("divergence", f"{q.distribution}:{p.distribution}", given, (((), "real"),), settings), 0)
    return build.reduce("sum", found, shape[: len(shape) - entry.event_dim])
