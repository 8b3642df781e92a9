"""bow: the sum of a sequence's vectors; of tokens that are no vectors yet, how often each stands there."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from vispec.catalog import Network

if TYPE_CHECKING:
    from vispec.torch.nets.stream import Part, Stream


def bow(stream: Stream) -> None:
    """Over what counts; in `prefixes`, over what stands before each element."""
    sequences, others = stream.sequence_parts()
    if not stream.prefixes and is_count(sequences):
        counted = counts(sequences[0], stream.mask)
        stream.parts = [stream.vector(counted) if stream.causal else counted, *others]
        return
    x = stream.joined(sequences)
    if stream.next:
        told = ", ".join([x.text, *stream.kept("self.bow")])
        stream.pool(f"{stream.kernel('steps', 'sum_next')}({told})", x.width, others)
    elif stream.prefixes:
        sums = f"{x.text}.cumsum(-2)" if stream.moved else f"{stream.kernel('sequence', 'sums_before')}({x.text})"
        stream.pool(sums, x.width, others)
    else:
        stream.pool(f"{stream.kernel('sequence', 'masked_sum')}({x.text}, {stream.mask})", x.width, others)


def is_count(sequences: list[Part]) -> bool:
    """One sequence of integers that nothing has embedded."""
    return len(sequences) == 1 and sequences[0].card is not None and not sequences[0].shape


def counts(part: Part, mask: str) -> Part:
    """How often each value occurs among those that count, not yet made."""
    return replace(part, width=part.card or 1, card=None, sequence=False, counted=mask)


ENTRY = Network("bow", bow, sequence="sequence", pools=True, steps=True, linear=True)
