"""Tables of vectors as declared: `embedding E(V, 300, from="vectors.txt", frozen)`."""

from vispec.model import model as m
from vispec.model.names.scope import Scope
from vispec.model.names.sizes import size_of
from vispec.model.problems import did_you_mean, listed
from vispec.syntax import tree as t

OPTIONS = ("from", "frozen")
FORM = 'write `embedding E(V, 300)`, or `embedding E(V, 300, from="vectors.txt", frozen)`'


def read_embedding(scope: Scope, node: t.Embedding) -> m.Embedding | None:
    """The table; None where something in it is reported."""
    file, frozen = None, False
    before = len(scope.problems.found)
    words = [each for each in node.args if isinstance(each, t.Name) and each.id == "frozen"]
    sizes = [each for each in node.args if each not in words]
    options = [(word, "frozen", t.Name(word.span, "true")) for word in words]
    options += [(keyword, keyword.name, keyword.value) for keyword in node.kwargs]
    for place, name, value in options:
        match name, value:
            case "from", t.String(value=path) if path.strip():
                file = path
            case "frozen", t.Name(id="true" | "false" as told):
                frozen = told == "true"
            case "from" | "frozen", _:
                wanted = "the name of a file in quotes" if name == "from" else "true or false"
                scope.problems.add("V104", value.span, f"`{name}` must be {wanted}", "this value", help=FORM)
            case _:
                help = did_you_mean(name, OPTIONS, f"an embedding has {listed(OPTIONS)}")
                scope.problems.add("V104", place.span, f"an embedding has no option `{name}`", "not an option", help=help)
    for name in OPTIONS:
        twice = [place for place, other, _ in options if other == name][1:]
        if twice:
            scope.problems.add("V104", twice[0].span, f"`{name}` is given twice", "the second time", help="leave one out")
    if len(sizes) != 2:
        message = f"an embedding has two sizes, how many values and how many numbers each, and this has {len(sizes)}"
        scope.problems.add("V104", node.span, message, "not two sizes", help=FORM)
        return None
    rows, width = (size_of(scope, each) for each in sizes)
    if file is not None and rows is not None and rows not in scope.of_kind("vocabulary"):
        message = f"`from` has vectors of words, and `{rows}` is no vocabulary"
        scope.problems.add("V104", sizes[0].span, message, "not a vocabulary", help="declare it: `vocab V`")
    if rows is None or width is None or len(scope.problems.found) > before:
        return None
    return m.Embedding(node.name.id, rows, width, file, frozen, node.name.span)
