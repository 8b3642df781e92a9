"""All outputs of a module: each a root of a program, with what a reader has to know of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from vispec.factors.expressions import named
from vispec.factors.make import Factors, factorise
from vispec.lower.asked.derived import Derived, derived
from vispec.lower.asked.drawn import Drawn, drawn
from vispec.lower.asked.guided import Guided, guided
from vispec.lower.asked.integrated import MomentTilts, by_tilts, everything
from vispec.lower.asked.predicted import Predicted, predicted
from vispec.lower.asked.query import pairs, query
from vispec.lower.bound import combined, summed
from vispec.lower.decode import Decoded, decoded
from vispec.lower.generate import Generated, generate
from vispec.lower.otherwise import Otherwise, otherwise
from vispec.lower.sleep import slept
from vispec.lower.weights import Weighed, weighed
from vispec.model.constant import constant_lets
from vispec.model.model import Let, Model
from vispec.model.walk import grown_trees
from vispec.plan.held.adds import TRAINING
from vispec.plan.held.setting import Setting
from vispec.plan.held.shared import Shared
from vispec.plan.order.order import Order
from vispec.plan.planned import Plan
from vispec.plan.planner import make_plan
from vispec.program import build
from vispec.program.axis import Axis
from vispec.program.node import Const, Node
from vispec.program.program import Program


@dataclass(frozen=True)
class Outputs:
    """log_prob: of each row, with what training adds where it reads TRAINING. order: how it is summed. sleep: log q of dreamed
    rows. otherwise: of rows that are not summed. queries: "tilted", "unknowns", "tilted_pairs", "neighbours", where there are
    any. summed: latent → its plates, of those that the posterior is told of. along: of chains, their place among the plates.
    constants: of each deterministic node that only parameters decide. derived: of each other one that no law reads. predicted:
    of numbers that may be missing. decoded: sequences that end by a symbol of their own. drawn: weighted draws, where they
    are asked for. moments: of latents that are integrated beside sums."""

    model: Model
    f: Factors
    setting: Setting
    generated: Generated | None
    log_prob: Program
    order: Order
    shared: Shared | None = None
    queries: Mapping[str, Program] = field(default_factory=dict)
    asked: Order | None = None
    inside: frozenset[str] = frozenset()
    summed: Mapping[str, tuple[Axis, ...]] = field(default_factory=dict)
    along: Mapping[str, int] = field(default_factory=dict)
    weighed: Weighed | None = None
    guided: Guided | None = None
    plan: Plan | None = None
    constants: Mapping[str, Program] = field(default_factory=dict)
    sleep: Program | None = None
    otherwise: Otherwise | None = None
    derived: tuple[Derived, ...] = ()
    predicted: Predicted | None = None
    decoded: tuple[Decoded, ...] = ()
    drawn: Drawn | None = None
    moments: MomentTilts | None = None

    @property
    def exact(self) -> bool:
        """Whether all rows are summed exactly."""
        return self.setting.combine == "exact" and self.otherwise is None


def lower(plan: Plan | Model) -> Outputs:
    """The program of a module, as it is planned; a completed model's by the plan that it has by itself."""
    plan = plan if isinstance(plan, Plan) else make_plan(factorise(plan))
    model, f, s, order = plan.model, plan.f, plan.row, plan.order
    log_prob = program(f, {"log_prob": combined(s, summed(s, order))})
    asked = plan.asked or s
    other, drawn = otherwise(plan), plan.alternative or plan
    found, weighs = query(asked, plan.asked_order), weighed(drawn.f, drawn.treatments)
    told, missing = derived(plan.f, plan.budget), predicted(plan.f)
    made = None if grown_trees(model) else generate(model, s.shared.orders if s.shared else {})
    dreams = slept(s)
    sleep = None if dreams is None else program(f, {"log_q": dreams})
    fixed = {"weighed": weighs, "plan": plan, "constants": constants(f), "sleep": sleep, "otherwise": other, "derived": told}
    fixed["predicted"], fixed["moments"] = missing, by_tilts(everything(asked))
    fixed["decoded"] = () if made is None else tuple(decoded(model, s.shared.orders if s.shared else {}))
    if found is None:
        return Outputs(model, f, s, made, log_prob, order, s.shared, guided=guided(s), **fixed)
    queries = {
        "tilted": asked_of(program(f, {"tilted": found.tilted})),
        "unknowns": program(
            f, {**{f"zeros {n}": z for n, z in found.zeros.items()}, **{f"inside {n}": z for n, z in found.inside.items()}}
        ),
    }
    chained = pairs(asked)
    along = dict[str, int]()
    if chained is not None:
        tilted, zeros, along = chained
        queries |= {"tilted_pairs": asked_of(program(f, {"tilted_pairs": tilted})), "neighbours": program(f, dict(zeros))}
    fixed |= {
        "queries": queries,
        "asked": found.order,
        "inside": frozenset(found.inside),
        "summed": {name: found.plates[name] for name in found.zeros},
        "along": along,
    }
    return Outputs(model, f, s, made, log_prob, order, s.shared, guided=guided(asked), **fixed)


def lower_with_draws(plan: Plan) -> Outputs:
    """With weighted draws of what the fit drew."""
    return replace(lower(plan), drawn=drawn((plan.alternative or plan).f))


def constants(f: Factors) -> dict[str, Program]:
    """The deterministic nodes that only parameters decide."""
    return {let.name: program(f, {let.name: constant(f, let)}) for let in constant_lets(f.model)}


def constant(f: Factors, let: Let) -> Node:
    axes = (*map(f.frame.plate, let.plates), *f.frame.shape(let.type))
    return build.spread(named(f.frame, let.name), axes)


def program(f: Factors, outputs: Mapping[str, Node]) -> Program:
    return Program(dict(outputs), f.frame.hints, f.frame.spans)


def asked_of(found: Program) -> Program:
    """A query, to which training adds nothing."""
    return found.rewritten(lambda node: Const(False) if node is TRAINING else None)
