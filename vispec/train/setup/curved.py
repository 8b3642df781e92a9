"""Whether a model bends its parameters: then its likelihood may have several maxima, though nothing is summed out of it.

A generalised linear model has a link function around sums of parameters times data, and one maximum or none. Parameters times
parameters, or inside a function inside a sum, as in a · (1 − exp(−b x)), promise nothing.
"""

from vispec.model import model as m
from vispec.model.walk import law_parts, walk

READINGS = (m.Ref, m.Select, m.Past, m.All)
SUMS = frozenset({"+", "-", "neg", "sum", "mean", "concat"})


def is_curved(model: m.Model) -> bool:
    """Whether some law of what the data show reads its parameters otherwise than through a link around a sum."""
    laws = [v.law for v in model.variables if v.role in ("observed", "partial") and v.law is not None]
    return any(bends(model, argument) for law in laws for argument in law_parts(law))


def bends(model: m.Model, argument: m.Expression) -> bool:
    """Whether an argument is more than a link around a sum of parameters times data."""
    argument = opened(model, argument)
    if degree(model, argument) <= 1:
        return False
    return not (isinstance(argument, m.Apply) and len(argument.args) == 1 and degree(model, argument.args[0]) <= 1)


def degree(model: m.Model, expression: m.Expression) -> int:
    """0 where no parameter is read, 1 where a sum of them is, each times data, and 2 for all else."""
    expression = opened(model, expression)
    if not any(getattr(e, "name", None) in model.param or isinstance(e, m.NetCall) for e in below(model, expression)):
        return 0
    match expression:
        case m.Apply(function=function, args=args) if function in SUMS:
            return max(degree(model, each) for each in args)
        case m.Apply(function="*" | "dot", args=args):
            return min(2, sum(degree(model, each) for each in args))
        case m.Apply(function="/", args=(top, bottom)):
            return 2 if degree(model, bottom) else degree(model, top)
        case m.Conditional(test=test, then=then, otherwise=otherwise):
            return 2 if degree(model, test) else max(degree(model, then), degree(model, otherwise))
        case m.Stack(items=items):
            return max(degree(model, each) for each in items)
        case m.For(body=body):
            return degree(model, body)
        case m.Apply():
            return 2
        case _:
            return 1


def opened(model: m.Model, expression: m.Expression) -> m.Expression:
    """What a deterministic node stands for."""
    while isinstance(expression, READINGS) and expression.name in model.let:
        expression = model.let[expression.name].value
    return expression


def below(model: m.Model, expression: m.Expression) -> tuple[m.Expression, ...]:
    """All that an expression reads, through deterministic nodes."""
    found: list[m.Expression] = []
    for e in walk(expression):
        found.append(e)
        if isinstance(e, READINGS) and e.name in model.let:
            found += below(model, model.let[e.name].value)
    return tuple(found)
