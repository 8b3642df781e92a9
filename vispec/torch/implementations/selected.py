"""log_softmax(net(words))[row, value]: of the symbols that occur, at the outcomes that are seen alone; one table is kept."""

from vispec.program.cost import Numbers
from vispec.program.node import Call, Link, Node, Part, Pick
from vispec.torch.nodes.implementation import Implementation, Match
from vispec.torch.nodes.writer import Writer
from vispec.torch.text.code import Attribute, Code, call
from vispec.torch.text.layout import Value, aligned, merged


def match(node: Node) -> Match | None:
    """It takes the symbols, and rows and columns of the table; told: the net's name."""
    match node:
        case Pick(Link("log_softmax", Part(Call("net", name, ((words, (), ""),)) as net) as logits, (over,)) as table, at):
            index, features = dict(at), dict(net.settings).get("symbols") == "features"
            rows = next(iter(words.axes), over)
            if features and len(net.results) == 1 and words.axes == {rows} and index.keys() == {rows, over}:
                return Match((words, index[rows], index[over]), (table, logits, net), name)
    return None


def cost(node: Node, found: Match, numbers: Numbers) -> float:
    logits = found.covers[1]
    return numbers.elements(node.axes) + numbers.elements(logits.axes)


def write(w: Writer, node: Node, found: Match) -> Value:
    words, row, column = (w.value(each) for each in found.takes)
    dims = merged([row.dims, column.dims])
    net = Attribute("net", found.told)
    features, out = call(Code((net, ".features")), words.code), Code((net, ".out"))
    code = call(w.kernel("sums.selected", "selected_log_softmax"), features, out, aligned(row, dims), aligned(column, dims))
    return Value(code, dims)


ENTRY = Implementation(name="selected", match=match, write=write, cost=cost)
