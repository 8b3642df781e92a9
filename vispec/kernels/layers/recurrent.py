"""Recurrent layers over any leading axes, in one call of torch's fused cells; traced graphs get the same steps spelled out."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class Recurrent(nn.RNNBase):
    """States (*B, T, H) of an "LSTM" or "GRU" that reads x (*B, T, W) from left to right.

    init (*B, G·L·H): the states before the first element, of L layers; G is 2 for an LSTM (hidden, cell) and 1 for a GRU.
    What pads a sequence at its end has no effect on the states before.
    """

    def forward(self, x: Tensor, init: Tensor | None = None) -> Tensor:
        lead, groups = x.shape[:-2], 2 if self.mode == "LSTM" else 1
        shape = (groups * self.num_layers, self.hidden_size)
        if init is None:
            init = x.new_zeros(*[1] * len(lead), shape[0] * shape[1])
        lead = torch.broadcast_shapes(lead, init.shape[:-1])
        rows = lead.numel()
        state = init.expand(*lead, -1).reshape(rows, *shape).transpose(0, 1).contiguous()  # (G·L, N, H)
        if not x.shape[-2]:
            return x.new_zeros(*lead, 0, self.hidden_size)
        flat = x.expand(*lead, -1, -1).reshape(rows, *x.shape[-2:])  # (N, T, W)
        out = self.steps(flat, state) if torch.compiler.is_compiling() else self.fused(flat, state)[0]
        return out.reshape(*lead, x.shape[-2], self.hidden_size)

    def fused(self, x: Tensor, state: Tensor) -> tuple[Tensor, ...]:
        """States (N, T, H) of the last layer at all elements, and those of all layers behind the last one, each (L, N, H)."""
        weights: list[Tensor] = [weight for layer in self.all_weights for weight in layer]
        settings = (weights, True, self.num_layers, self.dropout, self.training, False, True)
        if self.mode == "LSTM":
            return torch.lstm(x, state.chunk(2), *settings)
        return torch.gru(x, state, *settings)

    def steps(self, x: Tensor, state: Tensor) -> Tensor:
        """The first that `fused` computes, for torch.compile, which cannot trace it."""
        cell = self.lstm_step if self.mode == "LSTM" else self.gru_step
        states = state.unflatten(0, (-1, self.num_layers)).unbind(1)  # of each layer (G, N, H)
        for layer, now in enumerate(states):
            weight, bias = getattr(self, f"weight_hh_l{layer}"), getattr(self, f"bias_hh_l{layer}")
            gates = F.linear(x, getattr(self, f"weight_ih_l{layer}"), getattr(self, f"bias_ih_l{layer}"))
            now, out = now.unbind(0), []
            for t in range(x.shape[1]):
                now = cell(gates[:, t], F.linear(now[0], weight, bias), *now)
                out.append(now[0])
            x = torch.stack(out, 1)
            if layer + 1 < self.num_layers:
                x = F.dropout(x, self.dropout, self.training)
        return x

    @staticmethod
    def lstm_step(read: Tensor, kept: Tensor, h: Tensor, c: Tensor) -> tuple[Tensor, ...]:
        i, f, g, o = (read + kept).chunk(4, -1)
        c = f.sigmoid() * c + i.sigmoid() * g.tanh()
        return o.sigmoid() * c.tanh(), c

    @staticmethod
    def gru_step(read: Tensor, kept: Tensor, h: Tensor) -> tuple[Tensor, ...]:
        (r, z, n), (kept_r, kept_z, kept_n) = read.chunk(3, -1), kept.chunk(3, -1)
        z = (z + kept_z).sigmoid()
        return ((1 - z) * (n + (r + kept_r).sigmoid() * kept_n).tanh() + z * h,)


class Bidirectional(nn.Module):
    """States (*B, T, 2H) that have read x (*B, T, W) up to each element from the left, and from the right."""

    def __init__(self, mode: str, width: int, hidden: int, layers: int = 1, dropout: float = 0.0):
        super().__init__()
        widths = [width] + [2 * hidden] * (layers - 1)
        self.ahead = nn.ModuleList(Recurrent(mode, w, hidden, batch_first=True) for w in widths)
        self.back = nn.ModuleList(Recurrent(mode, w, hidden, batch_first=True) for w in widths)
        self.dropout = dropout

    def forward(self, x: Tensor, mask: Tensor | None = None, init: Tensor | None = None) -> Tensor:
        """init (*B, 2·G·L·H): of each layer first the states from the left, then those from the right."""
        inits = [None] * (2 * len(self.ahead)) if init is None else init.chunk(2 * len(self.ahead), -1)
        for layer, (ahead, back) in enumerate(zip(self.ahead, self.back, strict=True)):
            if layer:
                x = F.dropout(x, self.dropout, self.training)
            left = ahead(x, inits[2 * layer])
            right = reverse(back(reverse(x, mask), inits[2 * layer + 1]), mask)
            x = torch.cat((left, right), -1)
        return x


def reverse(x: Tensor, mask: Tensor | None) -> Tensor:
    """x (*B, T, W) with the elements that count in reverse order at the front; twice is the identity. The mask has no holes."""
    if mask is None:
        return x.flip(-2)
    size = x.shape[-2]
    at = (mask.sum(-1, keepdim=True) - 1 - torch.arange(size, device=x.device)) % max(size, 1)
    lead = torch.broadcast_shapes(at.shape[:-1], x.shape[:-2])
    return x.expand(*lead, -1, -1).gather(-2, at[..., None].expand(*lead, -1, x.shape[-1]))
