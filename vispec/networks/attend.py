"""attend: one vector from a sequence by attention, or, with two sequences, what each state of the first finds in the second."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vispec.catalog import Network

if TYPE_CHECKING:
    from vispec.torch.nets.stream import Stream


def attend(stream: Stream) -> None:
    """The second sequence is what its own copies of the layers before made of it, or as it is where it is one of numbers."""
    if stream.memory is not None:
        read_memory(stream, stream.memory)
        return
    sequences, others = stream.sequence_parts()
    x = stream.held(stream.joined(sequences), limit=0)
    score = f"{stream.module(f'nn.Linear({x.width}, 1)')}({x.text}).squeeze(-1)"
    stream.cost(2, x.width, timed=True)
    if stream.next:
        told = ", ".join([score, x.text, *stream.kept("self.attend")])
        stream.pool(f"{stream.kernel('steps', 'pool_next')}({told})", x.width, others)
    elif stream.prefixes:
        function = stream.kernel("attention", "attention_pools")
        stream.pool(f"{function}({score}, {x.text}, before={not stream.moved})", x.width, others)
    else:
        function = stream.kernel("attention", "attention_pool")
        stream.pool(f"{function}({score}, {x.text}, {stream.mask})", x.width, others)


def read_memory(stream: Stream, memory: Stream) -> None:
    """Beside each state, the mean of the memory's states weighted by their dot products with it, projected to their width."""
    from_memory = memory.flatten()
    stream.start()
    sequences, others = stream.sequence_parts()
    x = stream.held(stream.joined(sequences), limit=0)
    query = x.text
    if x.width != from_memory.width:
        query = f"{stream.module(f'nn.Linear({x.width}, {from_memory.width}, bias=False)')}({x.text})"
        stream.cost(x.width, from_memory.width, timed=True)
    stream.cost(2, from_memory.width, "S", timed=True)
    text = f"{stream.kernel('attention', 'dot_attention')}({query}, {from_memory.text}, {memory.mask})"
    stream.parts = [x, stream.found(text, from_memory.width), *others]


ENTRY = Network("attend", attend, sequence="sequence", pools=True, memory=True, steps=True)
