"""A draw of, or a decision on, a law whose probabilities are those of log-odds, or of logits: torch's law takes these."""

from vispec.catalog import distributions
from vispec.program.node import Decide, Draw, Link, Map, Node
from vispec.torch.nodes.implementation import Implementation, Match
from vispec.torch.nodes.laws import decided, drawn, with_events
from vispec.torch.nodes.writer import Writer
from vispec.torch.text.layout import Value


def match(node: Node) -> Match | None:
    """told: the event axes of the logits."""
    match node:
        case Draw(_, law, ((name, Map("sigmoid", (logit,)) as probs, own),)) | Decide(
            _, law, ((name, Map("sigmoid", (logit,)) as probs, own),)
        ):
            form = "logit"
        case Draw(_, law, ((name, Link("softmax", logit, over) as probs, own),)) | Decide(
            _, law, ((name, Link("softmax", logit, over) as probs, own),)
        ) if over == own:
            form = "log"
        case _:
            return None
    entry = distributions()[law]
    return Match((logit,), (probs,), own) if entry.torch_class is not None and entry.takes_logits(name, form) else None


def write(w: Writer, node: Node, found: Match) -> Value:
    (logit,) = found.takes
    params = [("logits", with_events(w, logit, found.told), found.told)]
    assert isinstance(node, Draw | Decide)
    return drawn(w, node, params) if isinstance(node, Draw) else decided(w, node, params)


ENTRY = Implementation(name="draw_by_logits", match=match, write=write)
