"""Transformers against torch's own layers with the same weights, and what is kept of a memory while a sequence is decoded."""

import torch
from torch import Tensor, nn

from vispec.kernels.layers.attention import Block, Transformer, sinusoids
from vispec.kernels.layers.cross import CrossBlock, CrossTransformer
from vispec.kernels.layers.steps import cross_transformer_next

WIDTH, HEADS, HIDDEN, MEMORY, LAYERS = 8, 2, 12, 6, 2
OPTIONS = {"dropout": 0.0, "activation": "gelu", "batch_first": True, "norm_first": True, "dtype": torch.float64}


def same_block(theirs: nn.TransformerEncoderLayer | nn.TransformerDecoderLayer, ours: Block, last: nn.LayerNorm) -> None:
    """Give a layer of torch the weights of a block; `last` is its norm before the mlp."""
    mlp = ours.mlp
    pairs = [(theirs.norm1, ours.norm), (last, mlp[0]), (theirs.linear1, mlp[1]), (theirs.linear2, mlp[3])]
    for their, our in [*pairs, (theirs.self_attn.out_proj, ours.mix)]:
        their.load_state_dict(our.state_dict())
    theirs.self_attn.in_proj_weight.data, theirs.self_attn.in_proj_bias.data = ours.qkv.weight.data, ours.qkv.bias.data


def same_cross(theirs: nn.TransformerDecoderLayer, ours: CrossBlock) -> None:
    """What torch calls multi-head attention over a memory of another width."""
    other, width = theirs.multihead_attn, WIDTH
    query = ours.ask[1]
    other.q_proj_weight.data = query.weight.data
    other.k_proj_weight.data, other.v_proj_weight.data = ours.answer.weight.data.split(width)
    other.in_proj_bias.data = torch.cat((query.bias.data, ours.answer.bias.data))
    other.out_proj.load_state_dict(ours.mix.state_dict())
    theirs.norm2.load_state_dict(ours.ask[0].state_dict())


def cross_transformer(causal: bool = True) -> CrossTransformer:
    torch.manual_seed(0)
    module = CrossTransformer(WIDTH, HEADS, LAYERS, HIDDEN, MEMORY, causal=causal).double().eval()
    for value in module.parameters():
        nn.init.normal_(value)
    return module


def inputs(*lead: int) -> tuple[Tensor, Tensor, Tensor]:
    """x, a memory, and which of it counts."""
    torch.manual_seed(1)
    x, memory = torch.randn(*lead, 4, WIDTH).double(), torch.randn(*lead, 5, MEMORY).double()
    return x, memory, torch.arange(5) < torch.randint(1, 6, (*lead, 1))


def test_a_transformer_is_torchs() -> None:
    torch.manual_seed(0)
    ours = Transformer(WIDTH, HEADS, 1, HIDDEN).double().eval()
    theirs = nn.TransformerEncoderLayer(WIDTH, HEADS, HIDDEN, **OPTIONS).eval()
    same_block(theirs, ours.blocks[0], theirs.norm2)
    x, _, _ = inputs(3)
    mask = torch.arange(4) < torch.tensor([[4], [2], [1]])
    expected = ours.norm(theirs(x + sinusoids(x), src_key_padding_mask=~mask))
    torch.testing.assert_close(ours(x, mask)[mask], expected[mask])


def test_a_transformer_with_a_memory_is_torchs_decoder() -> None:
    for causal in (True, False):
        ours = cross_transformer(causal)
        x, memory, there = inputs(3)
        h = x + sinusoids(x)
        for block in ours.blocks:
            theirs = nn.TransformerDecoderLayer(WIDTH, HEADS, HIDDEN, **OPTIONS).eval()
            theirs.multihead_attn = nn.MultiheadAttention(
                WIDTH, HEADS, kdim=MEMORY, vdim=MEMORY, batch_first=True, dtype=torch.float64
            ).eval()
            same_block(theirs, block.block, theirs.norm3)
            same_cross(theirs, block)
            ahead = torch.ones(4, 4, dtype=torch.bool).triu(1) if causal else None
            h = theirs(h, memory, tgt_mask=ahead, memory_key_padding_mask=~there)
        torch.testing.assert_close(ours(x, memory, there), ours.norm(h))


def test_in_an_empty_memory_nothing_is_found() -> None:
    """Whatever stands in its padding, and as in a memory whose values are 0."""
    module = cross_transformer()
    x, memory, _ = inputs(3)
    nothing = torch.zeros(3, 5, dtype=torch.bool)
    for block in module.blocks:
        block.answer.bias.data[WIDTH:] = 0
    expected = module(x, torch.zeros(3, 1, MEMORY).double(), None)
    torch.testing.assert_close(module(x, memory, nothing), expected)
    torch.testing.assert_close(module(x, memory + 1, nothing), expected)


def test_one_memory_is_shared_by_what_reads_it() -> None:
    """x of more leading axes than the memory, as for several latents of one source."""
    module = cross_transformer()
    x, memory, there = inputs(2, 3)
    got = module(x, memory[:1], there[:1])
    torch.testing.assert_close(got, module(x, memory[:1].expand(2, -1, -1, -1), there[:1].expand(2, -1, -1)))


def test_keys_and_values_of_a_memory_are_made_once() -> None:
    """Element by element as in one go."""
    module, made = cross_transformer(), []
    for block in module.blocks:
        block.answer.register_forward_hook(lambda *_: made.append(1))
    x, memory, there = inputs(3)
    kept: dict[str, Tensor] = {}
    found = [cross_transformer_next(module, x[:, i : i + 1], memory, there, kept, "net") for i in range(4)]
    assert len(made) == LAYERS
    assert all(len(value) == 3 for value in kept.values())  # rows first, so that rows may be chosen
    torch.testing.assert_close(torch.cat(found, 1), module(x, memory, there))
