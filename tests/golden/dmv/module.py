"""Dmv: emitted by vispec from dmv.vispec; imports torch and nothing else.

    log_prob: exact

    outward_tree_head = outward_tree of head along i (one chart over stretches, with what heads decide) of decisions_head, log_x

    head  valence trees, summed; discrete; a projective tree along i: one chart over stretches, with what heads decide
    x     data; scored at the data
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F
# backward: first_derivative
# constraints: in_domain
# heap: keep_pages
# rows: along_lengths
# rows: with_room
# sums.algebra: Maximum
# sums.algebra: Sampled
# sums.algebra: maximum
# sums.algebra: sampled
# sums.chain: unused
# sums.enumeration: seeded
# sums.logsum: LogSumExp
# sums.logsum: log_sum_exp
# sums.lookup: cells
# sums.lookup: pick_last
# told.queries: Attached
# told.queries: Entropic
# told.queries: Summed
# told.queries: answer
# told.queries: ask
# told.queries: divergence
# told.queries: k_best
# told.queries: logs_of
# told.queries: mean_where
# told.queries: ranked
# trees.elimination: inside
# trees.outward: arcs_laid
# trees.outward: below_root_outward
# trees.outward: decided_outward
# trees.outward: outward_chart
# trees.outward: outward_gradient
# trees.outward: outward_log_prob
# trees.outward: outward_rows
# trees.outward: outward_save
# trees.outward: outward_shapes
# trees.outward: outward_shares
# trees.outward: outward_summed
# trees.outward: outward_sums
# trees.outward: outward_sweep
# trees.outward: outward_total
# trees.projective: best_of
# trees.projective: last_width
# trees.projective: share_of_best
# trees.projective: share_of_drawn
# trees.projective: share_of_sum
# trees.projective: sum_of


class Dmv(nn.Module):
    """Batch: x (sentence, i) token[V]; x_len (sentence)."""

    exact = True
    estimator = "exact"
    sums = (
        "outward_tree_head = outward_tree of head along i (one chart over stretches, with what heads decide) of decisions_head, log_x, tilt_head",
    )

    def __init__(self, V: int):
        super().__init__()
        self.raw_root = nn.Parameter(torch.zeros(V))  # (V)
        self.raw_stop = nn.Parameter(torch.randn(V, 2, 2) * 0.1)  # (w, 2, 2)
        self.raw_attach = nn.Parameter(torch.randn(V, 2, V) * 0.1)  # (w, s, V)
        self.register_buffer("one", torch.ones(()), persistent=False)  # its dtype and device are the module's
        keep_pages()

    @property
    def root(self) -> Tensor:
        """simplex[V]."""
        return self.raw_root.softmax(-1)

    @root.setter
    def root(self, value: Tensor) -> None:
        with torch.no_grad():
            raw = value.log()
            self.raw_root.copy_(in_domain(raw, raw.softmax(-1), value))

    @property
    def stop(self) -> Tensor:
        """unit[2, 2], one for each element of w."""
        return torch.sigmoid(self.raw_stop)

    @stop.setter
    def stop(self, value: Tensor) -> None:
        with torch.no_grad():
            raw = torch.logit(value)
            self.raw_stop.copy_(in_domain(raw, torch.sigmoid(raw), value))

    @property
    def attach(self) -> Tensor:
        """simplex[V], one for each element of w, s."""
        return self.raw_attach.softmax(-1)

    @attach.setter
    def attach(self, value: Tensor) -> None:
        with torch.no_grad():
            raw = value.log()
            self.raw_attach.copy_(in_domain(raw, raw.softmax(-1), value))

    def log_prob(self, batch: dict[str, Tensor]) -> Tensor:
        """log p of each row (sentence,), exact, in nats."""
        batch = with_room(batch)
        x = batch["x"]  # (sentence, i)
        at_i = torch.arange(x.shape[1], device=self.one.device)  # (i,)
        at_head = torch.arange(x.shape[1] + 1, device=self.one.device)  # (head,)
        value = torch.where(at_i[:, None] < at_head, torch.tensor(0, device=self.one.device), 1)  # (i, head)
        joined = F.pad(x, (1, 0), value=0)  # (sentence, i and root)
        log_attach = self.raw_attach.log_softmax(-1)  # (w, s, V)
        log_attach_at = cells(log_attach, joined[:, None], value.clamp(max=1), x[:, :, None])  # (sentence, i, head)
        log_root = self.raw_root.log_softmax(-1)  # (V,)
        log_root_at = pick_last(log_root, x)  # (sentence, i)
        log_x = torch.where(at_head == 0, log_root_at[:, :, None], log_attach_at)  # (sentence, i, head)
        log_sigmoid_stop = F.logsigmoid(self.raw_stop)  # (w, 2, 2')
        log_sigmoid_stop_at = cells(log_sigmoid_stop, x)  # (sentence, i, 2, 2')
        log_sigmoid_stop_2 = F.logsigmoid(-self.raw_stop)  # (w, 2, 2')
        log_sigmoid_stop_at_2 = cells(log_sigmoid_stop_2, x)  # (sentence, i, 2, 2')
        joined_2 = torch.stack(
            [log_sigmoid_stop_at, log_sigmoid_stop_at_2], -1
        )  # (sentence, i, head_side, head_first, head_on)
        x_len = batch["x_len"]  # (sentence,)
        return outward_log_prob(log_x[:, :, :, None].expand(-1, -1, -1, 2), joined_2, x_len)  # (sentence,)

    def loss(self, batch: dict[str, Tensor], num_data: int) -> Tensor:
        """Minibatch estimate of -log p(data): (N/M) Σ over the rows of the batch."""
        log_prob = self.log_prob(batch)
        return log_prob.sum() * (-num_data / len(log_prob))

    def tilted(self, batch: dict[str, Tensor], total, tilt: dict[str, Tensor]) -> Tensor:
        """log p of each row with `tilt` added to the latents' log-joint and `total` for sums; its gradient answers a query."""
        batch = with_room(batch)
        x = batch["x"]  # (sentence, i)
        at_i = torch.arange(x.shape[1], device=self.one.device)  # (i,)
        at_head = torch.arange(tilt["head"].shape[2], device=self.one.device)  # (head,)
        value = torch.where(at_i[:, None] < at_head, torch.tensor(0, device=self.one.device), 1)  # (i, head)
        joined = F.pad(x, (1, 0), value=0)  # (sentence, i and root)
        log_attach = self.raw_attach.log_softmax(-1)  # (w, s, V)
        log_attach_at = cells(log_attach, joined[:, None], value.clamp(max=1), x[:, :, None])  # (sentence, i, head)
        log_root = self.raw_root.log_softmax(-1)  # (V,)
        log_root_at = pick_last(log_root, x)  # (sentence, i)
        log_x = torch.where(at_head == 0, log_root_at[:, :, None], log_attach_at)  # (sentence, i, head)
        total_ = log_x + tilt["head"]  # (sentence, i, head)
        log_sigmoid_stop = F.logsigmoid(self.raw_stop)  # (w, 2, 2')
        log_sigmoid_stop_at = cells(log_sigmoid_stop, x)  # (sentence, i, 2, 2')
        log_sigmoid_stop_2 = F.logsigmoid(-self.raw_stop)  # (w, 2, 2')
        log_sigmoid_stop_at_2 = cells(log_sigmoid_stop_2, x)  # (sentence, i, 2, 2')
        joined_2 = torch.stack(
            [log_sigmoid_stop_at, log_sigmoid_stop_at_2], -1
        )  # (sentence, i, head_side, head_first, head_on)
        x_len = batch["x_len"]  # (sentence,)
        return outward_total(total, total_[:, :, :, None].expand(-1, -1, -1, 2), joined_2, x_len)  # (sentence,)

    def unknowns(self, batch: dict[str, Tensor]) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """A tilt of nothing for each latent, and which of its elements count where rows differ in length."""
        x_len = batch["x_len"]  # (sentence,)
        x = batch["x"]  # (sentence, i)
        value = self.one.new_zeros(x_len.shape[0], x.shape[1], x.shape[1] + 1)  # (sentence, i, head)
        inside_i = torch.arange(x.shape[1], device=self.one.device) < x_len[:, None]  # (sentence, i)
        return {"head": value}, {"head": inside_i}

    @torch.no_grad()
    def posterior(self, batch: dict[str, Tensor], query: str = "marginals", other: nn.Module | None = None) -> dict:
        """Exact posteriors of the summed latents, and the guides of the drawn ones.

        query: "marginals", probabilities with the values last; "mode", the best joint assignment; "kbest(5)", the five best;
        "sample", a draw; "entropy", in nats, of each value and of all together; "kl", the divergence from that of `other`.
        head: tree[i], (sentence, i).
        """
        batch = with_room(batch)
        return ask(self, batch, query, *self.unknowns(batch), other=other)

    def forward(self, batch: dict[str, Tensor]) -> Tensor:
        """log_prob of the batch."""
        return self.log_prob(batch)
