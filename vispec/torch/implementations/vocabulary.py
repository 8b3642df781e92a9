"""log_softmax(net(...))[token], of tokens that count: of a large vocabulary the logits of a part of the positions at a time."""

from vispec.plan.held.smoothing import SMOOTHED
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
    """It takes what the net is given, the tokens and, where there is one, which of them count; told: the call, and how much all
    outcomes together weigh where labels are smoothed."""
    match node:
        case Map("where", (inside, Pick() | Part() as at, Const(value=0.0))) if inside.axes <= at.axes:
            found = match(at)
            return found and Match((*found.takes, inside), (at, *found.covers), found.told)
        case Pick(Link() as link, ((axis, value),)):
            return of_net(link, axis, value, ())
        case Part(Call("kernel", name, ((Link() as link, (axis,), _), (value, _, _))) as call_) if name == SMOOTHED:
            return of_net(link, axis, value, (call_,))
    return None


def of_net(link: Link, axis: Axis, value: Node, between: tuple[Call, ...]) -> Match | None:
    """The log-probabilities of what a net over a vocabulary gives, at tokens of its rows."""
    match link:
        case Link("log_softmax", Part(Call("net") as net) as logits, (over,)) if axis is over:
            inner = value.axes and over not in value.axes and value.axes <= {*net.shared, *positions(net)}
            if "vocabulary" in dict(net.settings) and inner:
                weight = next((weight for each in between for name, weight in each.settings if name == "smoothing"), None)
                takes = *(given for given, _, _ in net.given), value
                return Match((*takes, *(() if weight is None else (weight,))), (*between, link, logits, net), (net, weight))
    return None


def positions(net: Call) -> tuple[Axis, ...]:
    """The axes of a net's one result before the vocabulary's."""
    return net.results[0][0][:-1]


def cost(node: Node, found: Match, numbers: Numbers) -> float:
    return numbers.elements(node.axes)


def write(w: Writer, node: Node, found: Match) -> Value:
    (net, weight), count = found.told, len(found.told[0].given)
    trunk = Call("net", net.name, net.given, net.results, (("mode", TRUNK[dict(net.settings)["mode"]]),))
    features = written(w, trunk)
    dims = (*features.dims, *positions(net))
    out = Code((Attribute("net", net.name), ".out"))
    told = [aligned(w.value(each), dims) for each in found.takes[count:] if each is not weight]
    settings = {"alike": text("False")} if any(axis.kind == "samples" for axis in dims) else {}
    settings |= {} if weight is None else {"smoothing": w.value(weight).code}
    return Value(call(w.kernel("sums.vocabulary", "vocabulary_log_prob"), features.code, out, *told, **settings), dims)


ENTRY = Implementation(name="vocabulary", match=match, write=write, cost=cost)
