"""log_softmax(net(...))[token], of tokens that count: of a large vocabulary the logits of a part of the positions at a time."""

from vispec.program.axis import Axis
from vispec.program.cost import Numbers
from vispec.program.node import Call, Const, Link, Map, Node, Part, Pick
from vispec.torch.nodes.calls import written
from vispec.torch.nodes.implementation import Implementation, Match
from vispec.torch.nodes.writer import Writer
from vispec.torch.text.code import Attribute, Code, call, text
from vispec.torch.text.layout import Value, aligned

TRUNK = {"whole": "features", "prefix": "prefix_features"}


def match(node: Node) -> Match | None:
    """It takes what the net is given, the tokens and, where there is one, which of them count; told: the call."""
    match node:
        case Map("where", (inside, Pick() as pick, Const(value=0.0))) if inside.axes <= pick.axes:
            found = match(pick)
            return found and Match((*found.takes, inside), (pick, *found.covers), found.told)
        case Pick(Link("log_softmax", Part(Call("net") as net) as logits, (over,)) as link, ((axis, value),)) if axis is over:
            inner = value.axes and over not in value.axes and value.axes <= {*net.shared, *positions(net)}
            if "vocabulary" in dict(net.settings) and inner:
                return Match((*(given for given, _, _ in net.given), value), (link, logits, net), net)
    return None


def positions(net: Call) -> tuple[Axis, ...]:
    """The axes of a net's one result before the vocabulary's."""
    return net.results[0][0][:-1]


def cost(node: Node, found: Match, numbers: Numbers) -> float:
    return numbers.elements(node.axes)


def write(w: Writer, node: Node, found: Match) -> Value:
    net, count = found.told, len(found.told.given)
    trunk = Call("net", net.name, net.given, net.results, (("mode", TRUNK[dict(net.settings)["mode"]]),))
    features = written(w, trunk)
    dims = (*features.dims, *positions(net))
    out = Code((Attribute("net", net.name), ".out"))
    told = [aligned(w.value(each), dims) for each in found.takes[count:]]
    unlike = {"alike": text("False")} if any(axis.kind == "samples" for axis in dims) else {}
    return Value(call(w.kernel("sums.vocabulary", "vocabulary_log_prob"), features.code, out, *told, **unlike), dims)


ENTRY = Implementation(name="vocabulary", match=match, write=write, cost=cost)
