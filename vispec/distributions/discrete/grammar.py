"""Grammar(root, rule) on parses: a probabilistic context-free grammar in Chomsky normal form.

root: simplex[NT], of the symbol over a whole sentence. rule: real[NT, NT + PT, NT + PT], a table of scores of which the softmax
over all pairs (left child, right child) of each parent is one law on pairs; children from NT on are preterminals. What an
element is like given its preterminal is for the spec to say. One element alone has no parse.
"""

from vispec.catalog import Distribution
from vispec.program import build
from vispec.program.axis import Axis
from vispec.program.node import Node

Params = tuple[tuple[str, Node, tuple[Axis, ...]], ...]


def productions(params: Params, name: str, longest: Axis | None = None) -> tuple[dict[str, Node], tuple[Axis, ...]]:
    """The logarithms of the root's law and of the rules, over a parent and its two children, and these axes."""
    (_, root, (symbols,)), (_, rule, children) = params
    parent, left, right = own = tuple(
        Axis(f"{name}_{role}", "values", axis.size) for role, axis in zip(("parent", "left", "right"), children, strict=True)
    )
    rule = build.rename(build.apply("real", rule), dict(zip(children, own, strict=True)))
    rule = build.sub(rule, build.reduce("log_sum_exp", rule, (left, right)))
    return {"root": build.rename(build.log(root), {symbols: parent}), "rule": rule}, own


ENTRY = Distribution(
    name="Grammar",
    params={"root": "simplex", "rule": "real"},
    param_event_dim={"root": 1, "rule": 3},
    support="parse",
    productions=productions,
)
