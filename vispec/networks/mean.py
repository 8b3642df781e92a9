"""mean: the average of a sequence's vectors, zeros for an empty one; of tokens that are no vectors yet, their frequencies."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from vispec.catalog import Network
from vispec.networks.bow import counts, is_count

if TYPE_CHECKING:
    from vispec.torch.nets.stream import Stream


def mean(stream: Stream) -> None:
    """Over what counts; in `prefixes`, over what stands before each element."""
    sequences, others = stream.sequence_parts()
    if stream.next:
        x = stream.joined(sequences)
        told = ", ".join([x.text, *stream.kept("self.mean")])
        stream.pool(f"{stream.kernel('steps', 'mean_next')}({told})", x.width, others)
    elif stream.prefixes:
        x = stream.joined(sequences)
        stream.pool(
            f"{stream.kernel('sequence', 'means_so_far' if stream.moved else 'means_before')}({x.text})", x.width, others
        )
    elif is_count(sequences):
        counted = stream.vector(counts(sequences[0], stream.mask))
        text = f"({counted.text} / {counted.text}.sum(-1, keepdim=True).clamp(min=1))"
        stream.pool(text, counted.width, others)
    else:
        x = stream.joined(sequences)
        text = f"{stream.kernel('sequence', 'masked_mean')}({x.text}, {stream.mask})"
        if stream.holes and stream.following == "mlp" and not others:  # which may well begin with the elements
            stream.parts = [replace(x, text=text, arg="", sequence=False, mean_of=(x.text, stream.mask))]
        else:
            stream.pool(text, x.width, others)


ENTRY = Network("mean", mean, sequence="sequence", pools=True, steps=True, linear=True)
