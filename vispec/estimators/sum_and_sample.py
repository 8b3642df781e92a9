"""sum_and_sample: exact over the guide's likely values, sampled over the rest (Liu et al. 2019)."""

from __future__ import annotations

from vispec.estimators.entry import Draw, Drawing, EstimatorKind, Settings, Way, Weights
from vispec.program import build
from vispec.program.axis import Axis
from vispec.program.node import Call, Dtype, Node, Part

KERNELS = "vispec.kernels.draws.stratified"


def stratified_draw(d: Drawing) -> Draw:
    """The likely values and draws of the rest, along the samples, with their weights."""
    assert d.values is not None
    assert d.samples is not None
    ((_, probs, own),) = d.params or ((None, build.apply("div", 1, build.extent(d.values)), ()),)
    if d.bit:
        log_q = build.stack([build.log_one_minus(probs), build.log(probs)], d.values)
    else:
        log_q = build.rename(build.log(probs), {own[-1]: d.values}) if own else build.spread(build.log(probs), (d.values,))
    axes = (*d.rows, d.values)
    out = (d.samples, *d.rows)
    top, samples = (int(d.settings.get(name, 1)) for name in ("top", "samples"))
    settings = (("top", top), ("samples", samples), ("site", d.site))
    results: tuple[tuple[tuple[Axis, ...], Dtype], ...] = ((out, "int"), (out, "real"))
    found = Call("kernel", f"{KERNELS}:top_and_draws", ((build.spread(log_q, axes), axes, ""),), results, settings)
    value = Part(found, 0)
    return Draw(build.apply("real", value) if d.bit else value, Part(found, 1))


def stratified(w: Weights) -> Node:
    """Σ over the samples of weight · log-weight."""
    assert w.samples is not None
    assert w.weight is not None
    axes: tuple[Axis, ...] = (w.samples, *w.rows)
    given = tuple((build.spread(node, axes), axes, "") for node in (w.node, w.weight))
    return Part(Call("kernel", f"{KERNELS}:stratified_bound", given, ((w.rows, "real"),), ()), 0)


STRATIFIED = Way("stratified", draw=stratified_draw, combined=stratified, rank=1)


def many(settings: Settings) -> int:
    """The likely values, and draws of the rest."""
    return int(settings.get("samples", 1)) + int(settings.get("top", 1))


ENTRY = EstimatorKind(
    "sum_and_sample",
    words="exact over its likely values, drawn over the rest",
    settings={"top": "samples", "samples": "samples"},
    variables="finite",
    way=lambda settings, discrete: STRATIFIED,
    samples=many,
    weighed=True,
    bound=lambda settings: "elbo",
)
