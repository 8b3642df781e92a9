"""A net as a black box: its raw heads for one unbatched input, and the link function of each head applied here."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from vispec.model.model import Net
from vispec.model.types import INTEGER_DOMAINS, Type
from vispec.named import get
from vispec.verify.errors import NotCheckedError


class NotCausalError(Exception):
    """A net called on prefixes whose answer at a position changes with elements at or after it."""


def link(raw: Tensor, type: Type) -> Tensor:
    """From an unconstrained head to the domain that its type names."""
    match type.domain:
        case "real":
            return raw
        case "positive":
            return softplus(raw)
        case "unit":
            return raw.sigmoid()
        case "simplex":
            return raw.softmax(-1)
        case "cholesky":
            return raw.tril(-1) + torch.diag_embed(softplus(raw.diagonal(dim1=-2, dim2=-1)))
        case "ordered":
            return torch.cat((raw[..., :1], softplus(raw[..., 1:])), -1).cumsum(-1)
    raise NotCheckedError(f"a net with a head of type {type}")


def softplus(value: Tensor) -> Tensor:
    """log(1 + exp(value)) to full precision at both ends."""
    return torch.logaddexp(value, torch.zeros_like(value))


def arguments(net: Net, values: list[Tensor]) -> list[Tensor]:
    """The values in the dtype that the net expects."""
    return [v if type.domain in INTEGER_DOMAINS else v.double() for v, (_, type) in zip(values, net.args, strict=True)]


def raw_heads(module: nn.Module, net: Net, values: list[Tensor]) -> tuple[Tensor, ...]:
    """All heads before their link function, each (*event). A sequence of no elements goes in as one that its mask hides."""
    masks = {}
    for position, (name, type) in enumerate(net.args):
        if type.star and len(values[position]) == 0:
            values[position] = values[position].new_zeros((1, *values[position].shape[1:]))
            masks[f"{name}_mask"] = torch.zeros(1, dtype=torch.bool)
    return _as_tuple(get(module, net.name)(*values, **masks))


def raw_heads_after(
    module: nn.Module, net: Net, values: list[Tensor], wholes: Mapping[int, int], position: int
) -> tuple[Tensor, ...]:
    """The same where some arguments are prefixes of `position` elements: wholes[argument] is the length of the whole sequence.

    Raises NotCausalError unless the answer is the same whatever stands at that position and after it."""
    answers = []
    for filler in (0, 1):
        filled = [_fill(value, wholes[i], filler) if i in wholes else value for i, value in enumerate(values)]
        heads = _as_tuple(get(module, net.name).prefixes(*filled))
        answers.append(tuple(head[position] for head in heads))
    for first, second in zip(*answers, strict=True):
        if not torch.allclose(first, second, rtol=1e-12, atol=1e-12):
            raise NotCausalError(f"`{net.name}` at element {position} changes with the elements from there on")
    return answers[0]


def _fill(prefix: Tensor, length: int, filler: int) -> Tensor:
    """The prefix followed by `filler` up to `length` elements."""
    return torch.cat((prefix, prefix.new_full((length - len(prefix), *prefix.shape[1:]), filler)))


def _as_tuple(heads: Tensor | tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    return heads if isinstance(heads, tuple) else (heads,)
