"""A warning that prints the order of labels where a model makes something of it and nobody has said it: words are in the order
of the alphabet."""

from collections.abc import Iterator, Mapping

from vispec.model.model import Apply, Const, Element, Expression, Law, Model, Ref, Select, Stack, Variable
from vispec.model.problems import listed
from vispec.model.walk import law_parts, walk
from vispec.train.data.arrange import Arranged
from vispec.train.data.diagnostics import Problems
from vispec.train.data.encoding.labels import group_of, is_coded, number_of
from vispec.train.data.encoding.vocab import Encoders
from vispec.train.data.matching.match import Matched

SHOWN = 8


def warn_of_order(model: Model, arranged: Mapping[str, Arranged], encoders: Encoders, problems: Problems) -> None:
    """D198 for each variable whose labels are words in the order of the alphabet where a law reads their order."""
    reasons = {variable.name: [*ordered_uses(model, variable)] for variable in model.variables if variable.name in arranged}
    groups: dict[str, list[str]] = {}
    for name, found in reasons.items():
        if found and is_coded(model, model.variable[name].type):
            groups.setdefault(group_of(model, model.variable[name]), []).append(name)
    for group, names in groups.items():
        labels = encoders.labels.get(group) or ()
        told = any(model.variable[name].type.labels or arranged[name].column.order for name in names)
        if told or len(labels) < 2 or all(number_of(label) is not None for label in labels):
            continue
        order = ", ".join(labels[:SHOWN]) + (", ..." if len(labels) > SHOWN else "")
        message = f"{reasons[names[0]][0]} the order of the labels of {listed(names)}, which is that of the alphabet: {order}"
        column = arranged[names[0]].column
        quoted = ", ".join(f'"{label}"' for label in labels[:SHOWN])
        advice = f"if it shall be another, say it in the spec: `{names[0]} : category[{quoted}]`, or give an ordered category"
        problems.warn("D198", message, column.origin.file, column.label, advice)


def warn_of_tables(model: Model, matched: Matched, encoders: Encoders, problems: Problems) -> None:
    """D198 for a file of what all rows share, whose rows are elements of a plate with labels, in the order of the labels."""
    for name, keys in matched.own.items():
        variable = model.variable.get(name)
        plates = () if variable is None else variable.plates
        if variable is None or keys or not plates or any(model.plate[plate].data for plate in plates):
            continue
        plate = model.plate[plates[0]]
        labels = encoders.labels.get(plate.size if isinstance(plate.size, str) else plate.name)
        if labels and name in matched.columns:
            order = ", ".join(labels[:SHOWN]) + (", ..." if len(labels) > SHOWN else "")
            message = f"its rows are taken for the elements of plate `{plate.name}` in this order: {order}"
            advice = f"give their labels in a column `{plate.name}`, or in one that --index {plate.name}=COLUMN names"
            problems.warn("D198", message, matched.columns[name].origin.file, None, advice)


def ordered_uses(model: Model, variable: Variable) -> Iterator[str]:
    """What reads the order of a variable's values: its own law, or what it points into."""
    if variable.law is not None:
        for part in expressions(model, variable.law):
            if isinstance(part, Apply) and part.function == "ordinal":
                yield "`ordinal` reads"
        if any(part.type.shape and is_fixed(model, part) for part in law_parts(variable.law)):
            yield "fixed probabilities read"
    laws = [part for v in model.variables if v.law is not None for part in law_parts(v.law)]
    for expression in (*laws, *(let.value for let in model.lets)):
        for part in walk(expression):
            if isinstance(part, Element) and isinstance(part.at, Ref) and part.at.name == variable.name:
                base = part.base
                if is_fixed(model, base):
                    yield "a fixed table reads"
                elif base.type.domain == "ordered":
                    yield "increasing numbers read"
            elif isinstance(part, Select) and is_fixed(model, part):
                if any(isinstance(index, Ref) and index.name == variable.name for _, index in part.by):
                    yield "a fixed table reads"
            elif isinstance(part, Apply) and part.function in ("==", "!="):
                names = {item.name for item in part.args if isinstance(item, Ref)}
                if variable.name in names and any(isinstance(item, Const) for item in part.args):
                    yield "a comparison with a number reads"


def expressions(model: Model, law: Law) -> Iterator[Expression]:
    """All that a law reads, and that the lets which it names are made of."""
    pending, seen = list(law_parts(law)), set[str]()
    while pending:
        for part in walk(pending.pop()):
            yield part
            name = getattr(part, "name", None)
            if isinstance(name, str) and name in model.let and name not in seen:
                seen.add(name)
                pending.append(model.let[name].value)


def is_fixed(model: Model, node: Expression) -> bool:
    """Numbers that are written, be it in a let, or a parameter that stays as it is written."""
    if isinstance(node, Stack):
        return all(isinstance(item, Const) or is_fixed(model, item) for item in node.items)
    name = getattr(node, "name", None)
    if isinstance(name, str) and name in model.let:
        return isinstance(model.let[name].value, Stack) and is_fixed(model, model.let[name].value)
    return isinstance(name, str) and name in model.fixed and name in model.param and model.param[name].value is not None
