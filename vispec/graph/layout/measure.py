"""How large the marks of a figure are, in points."""

from dataclasses import dataclass

from vispec.graph.layout.figure import Mark

RADIUS = 20.0
DOT = 5.0
SQUARE = {"factor": 4.5, "net": 7.0}
PAST = 64.0  # from the centre of a mark to that of its companion
PAST_RADIUS = 17.0
SIZE = 15.0  # of the letters in circles
SMALL = 10.5  # of labels beside marks and in the corners of plates
CIRCLES = ("latent", "observed", "partial", "deterministic")


@dataclass(frozen=True)
class Extent:
    """How far a mark reaches from its centre."""

    left: float
    right: float
    up: float
    down: float


def fits(mark: Mark) -> bool:
    """Whether the label of a circle goes inside it."""
    return mark.look in ("param",) or (mark.look in CIRCLES and mark.label.width(font(mark)) <= 2 * RADIUS - 5)


def font(mark: Mark) -> float:
    """The size of a mark's label: full for letters, smaller for words."""
    if mark.look in ("factor", "net"):
        return SMALL
    if mark.look not in CIRCLES:
        return SIZE - 1
    sizes = [size for size in (SIZE, 13.0, 11.5, 10.0) if mark.label.width(size) <= 2 * RADIUS - 5]
    return sizes[0] if sizes else 12.0


def body(mark: Mark) -> tuple[float, float]:
    """Half the width and height of the mark's shape."""
    if mark.look == "param":
        return mark.label.width(SIZE - 1) / 2 + 3, 10.0
    half = {"given": DOT, **SQUARE}.get(mark.look, RADIUS)
    return half, half


def extent(mark: Mark) -> Extent:
    """The mark with its companions and label."""
    half, height = body(mark)
    beside = 0.0 if fits(mark) or not mark.label.base else mark.label.width(font(mark)) + 5
    left = len(mark.past) * PAST + (RADIUS if mark.past else 0)
    widest = max((label.width(SMALL) / 2 for _, label in mark.past), default=0.0)
    left = max(left, len(mark.past) * PAST + widest if mark.past else 0.0, half)
    if mark.look in ("given", "net"):  # the label may go to any side
        return Extent(max(left, half + beside), half + beside, half + 11, half + 11)
    return Extent(left, half + beside, 14 if mark.look == "factor" else height, height)
