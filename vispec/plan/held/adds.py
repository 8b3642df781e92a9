"""What a draw adds to the log-weight of its sample, and what `fit:` makes of that: an annealed or a least divergence, and the
terms that teach a guide what the data has of a partial variable."""

from __future__ import annotations

from vispec.factors.laws import DrawLaw, Law, log_prob
from vispec.model.model import FitEntry, Model, Variable
from vispec.plan.divergence import divergence
from vispec.plan.held.draws import Drawn, Draws, base_law, stopped
from vispec.program import build
from vispec.program.node import Call, Const, Input, Node, Part
from vispec.program.walk import substitute

TRAINING = Input("training", (), "bool", "argument")
"""Whether a call of log_prob is for the loss of a module in training."""
KL_WEIGHT = Input("kl_weight", (), "real", "setting")
THROUGH = "vispec.kernels.draws.reparameterised:through_the_draw"


def log_ratio(d: Draws, variable: Variable) -> Node:
    """log p(z) − log q(z) at the draw; log p where a partial variable is seen, or where it is a point."""
    frame, way, prior = d.f.frame, d.way(variable.name), log_prior(d, variable)
    if way.point:
        return prior
    if d.model.joint is not None and variable.name in d.model.joint.names:
        return annealed(d.model, prior)  # log q of all at once is apart
    if variable.name not in d.f.guides:
        return build.where(frame.observed(variable), prior, 0.0)
    q = log_q(d, variable, d.drawn[variable.name], way.fixed)
    ratio = annealed(d.model, build.sub(prior, q if way.learns else build.stop(q)))
    return build.where(frame.observed(variable), prior, ratio) if variable.role == "partial" else ratio


def log_prior(d: Draws, variable: Variable) -> Node:
    """log p of the draw."""
    factor = d.f.factors[variable.name]
    assert factor.log_prob is not None
    return d.f.frame.named(substitute([factor.log_prob], d.held)[0], f"log_p_{variable.name}")


def log_q(d: Draws, variable: Variable, found: Drawn, fixed: bool = False) -> Node:
    """log q of the draw; fixed: with a gradient through the draw alone, not through the guide's parameters."""
    frame = d.f.frame
    law = stopped(found.law) if fixed else found.law
    if found.base is not None and found.gain is not None and not (fixed and ends_move(law)):
        gain = build.reduce("sum", found.gain, tuple(a for a in frame.shape(variable.type) if a in found.gain.axes))
        q = build.sub(log_prob(frame, base_law(law), found.base, variable.type), gain)
    else:
        q = log_prob(frame, law, found.value, variable.type)
    if fixed:
        q = Part(Call("kernel", THROUGH, ((q, (), ""),), (((), "real"),), ()), 0)
    return frame.named(q, f"log_q_{variable.name}")


def ends_move(law: Law) -> bool:
    """Whether a draw is carried between ends that are computed, so that fixed ends are not where its base was carried."""
    return isinstance(law, DrawLaw) and not all(isinstance(end, Const) for _, end, _ in law.params[2:])


def minus_kl(d: Draws, variable: Variable) -> Node | None:
    """−KL(q ‖ p), where there is a closed form; log p where a partial variable is seen."""
    frame, law = d.f.frame, d.read(d.f.factors[variable.name].law)
    kl = divergence(frame, d.drawn[variable.name].law, law, variable.type)
    if kl is None:
        return None
    kl = frame.named(kl, f"kl_{variable.name}")
    if (free := asked(d.model, "free_bits")) is not None:
        kl = build.where(TRAINING, build.apply("max", kl, free), kl)
    minus = build.neg(annealed(d.model, kl))
    return minus if variable.role != "partial" else build.where(frame.observed(variable), log_prior(d, variable), minus)


# ---- what `fit:` says


def asked(model: Model, key: str) -> float | None:
    """The number of an entry of `fit:`."""
    found = next((entry.value for entry in model.fit if isinstance(entry, FitEntry) and entry.key == key), None)
    return None if found is None else float(found)  # type: ignore[arg-type]


def annealed(model: Model, node: Node) -> Node:
    """A divergence, or what its estimate is made of, by its weight."""
    anneals = any(getattr(entry, "what", None) == "kl" for entry in model.fit)
    return build.mul(KL_WEIGHT, node) if anneals else node


def labels(d: Draws, variable: Variable) -> Node | None:
    """In training the weighted log q of what the data has of a partial variable with a guide, for the bound of such a row has
    no gradient with respect to it (Kingma et al. 2014); 0 where its cell is missing."""
    weight, frame, guide = asked(d.model, "supervise"), d.f.frame, d.f.guides.get(variable.name)
    if weight is None or variable.role != "partial" or guide is None:
        return None
    law = d.drawn[variable.name].law if variable.name in d.drawn else d.read(guide.law)
    log_at = frame.named(log_prob(frame, law, frame.data(variable), variable.type), f"log_q_at_{variable.name}")
    taught = build.where(build.both(frame.observed(variable), TRAINING), build.mul(weight, log_at), 0.0)
    return frame.named(taught, f"labels_{variable.name}")
