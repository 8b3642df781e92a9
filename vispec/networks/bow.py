"""bow: the sum of a sequence's vectors; of tokens that are no vectors yet, how often each stands there."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from vispec.catalog import Network

if TYPE_CHECKING:
    from vispec.emit.net_stream import Part, Stream


def bow(stream: Stream) -> None:
    """Over what counts; in `prefixes`, over what stands before each element."""
    sequences, others = stream.sequence_parts()
    counts = None if stream.prefixes else count(stream, sequences)
    if counts is not None:
        stream.pool(counts.text, counts.width, others)
        return
    x = stream.joined(sequences)
    if stream.prefixes:
        sums = f"{x.text}.cumsum(-2)" if stream.moved else f"{stream.kernel('sequence', 'sums_before')}({x.text})"
        stream.pool(sums, x.width, others)
    else:
        stream.pool(f"{stream.kernel('sequence', 'masked_sum')}({x.text}, {stream.mask})", x.width, others)


def count(stream: Stream, sequences: list[Part]) -> Part | None:
    """Counts (*B, K), held, of one sequence of integers; None for anything else."""
    part = sequences[0]
    if len(sequences) > 1 or part.card is None or part.shape:
        return None
    function = stream.kernel("sequence", "count_values")
    text = f"{function}({part.text}, {stream.net.size(part.card)}, {stream.mask}, self.out.weight)"
    return stream.held(replace(part, text=text, width=part.card, card=None, sequence=False), limit=0)


ENTRY = Network("bow", bow, sequence="sequence", pools=True)
