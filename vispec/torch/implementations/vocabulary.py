"""log_softmax(net(...))[token], of tokens that count: of a large vocabulary the logits of a part of the positions at a time."""

from vispec.program.at_tokens import at_tokens, rows_of
from vispec.program.cost import Numbers
from vispec.program.node import Call, Const, Map, Node, Part, Pick
from vispec.torch.nodes.calls import written
from vispec.torch.nodes.implementation import Implementation, Match
from vispec.torch.nodes.writer import Writer
from vispec.torch.text.code import Attribute, Code, call, text
from vispec.torch.text.layout import Value, aligned

TRUNK = {"whole": "features", "prefix": "prefix_features"}


def match(node: Node) -> Match | None:
    """It takes what the net is given, the tokens and, where there is one, which of them count; told: how they are read."""
    match node:
        case Map("where", (inside, Pick() | Part() as at, Const(value=0.0))) if inside.axes <= at.axes:
            found = match(at)
            return found and Match((*found.takes, inside), (at, *found.covers), found.told)
    read = at_tokens(node)
    if read is None:
        return None
    weight = () if read.smoothing is None else (read.smoothing,)
    return Match(
        (*(given for given, _, _ in read.net.given), read.value, *weight), (*read.call, read.law, read.logits, read.net), read
    )


def cost(node: Node, found: Match, numbers: Numbers) -> float:
    return numbers.elements(node.axes)


def write(w: Writer, node: Node, found: Match) -> Value:
    net, weight = found.told.net, found.told.smoothing
    trunk = Call("net", net.name, net.given, net.results, (("mode", TRUNK[dict(net.settings)["mode"]]),))
    features = written(w, trunk)
    dims = (*features.dims, *rows_of(net))
    out = Code((Attribute("net", net.name), ".out"))
    told = [aligned(w.value(each), dims) for each in found.takes[len(net.given) :] if each is not weight]
    settings = {"alike": text("False")} if any(axis.kind == "samples" for axis in dims) else {}
    settings |= {} if weight is None else {"smoothing": w.value(weight).code}
    return Value(call(w.kernel("sums.vocabulary", "vocabulary_log_prob"), features.code, out, *told, **settings), dims)


ENTRY = Implementation(name="vocabulary", match=match, write=write, cost=cost)
