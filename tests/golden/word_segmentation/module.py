"""WordSegmentation: emitted by vispec from word_segmentation.vispec; imports torch and nothing else.

    log_prob: exact

    segments_s = segments of s along i (one pass over labels and lengths) of init_s, move_s, duration_s, log_word

    x     data; given by the data
    s     stretches, summed; discrete; a semi-Markov chain along i: one pass over labels and lengths
    word  data; scored at the data
"""

import torch
from torch import Tensor, nn
# backward: first_derivative
# constraints: in_domain
# heap: keep_pages
# rows: with_room
# sums.algebra: Maximum
# sums.algebra: Sampled
# sums.algebra: maximum
# sums.algebra: sampled
# sums.chain: unused
# sums.enumeration: seeded
# sums.logsum: LogSumExp
# sums.logsum: log_sum_exp
# sums.lookup: pick_last
# sums.segments: by_last
# sums.segments: log_survival_of
# sums.segments: one_or_rows
# sums.segments: rows_of_segments
# sums.segments: segments_backward
# sums.segments: segments_by
# sums.segments: segments_forward
# sums.segments: segments_gradient
# sums.segments: segments_log_prob
# sums.segments: segments_save
# sums.segments: segments_shapes
# sums.segments: segments_sums
# sums.segments: segments_total
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
# told.stretches: Begun
# told.stretches: begins_of
# told.stretches: best_stretches
# told.stretches: boundaries


class WordSegmentation(nn.Module):
    """Batch: x (line, i) token[LETTER]; word (line, i, 10) token[WORD, 10]; x_len (line)."""

    exact = True
    estimator = "exact"
    sums = (
        "segments_s = segments of s along i (one pass over labels and lengths) of init_s, move_s, duration_s, log_word, tilt_s",
    )

    def __init__(self, LETTER: int, WORD: int):
        super().__init__()
        self.raw_lexicon = nn.Parameter(torch.zeros(WORD))  # (WORD)
        self.register_buffer("one", torch.ones(()), persistent=False)  # its dtype and device are the module's
        keep_pages()

    @property
    def lexicon(self) -> Tensor:
        """simplex[WORD]."""
        return self.raw_lexicon.softmax(-1)

    @lexicon.setter
    def lexicon(self, value: Tensor) -> None:
        with torch.no_grad():
            raw = value.log()
            self.raw_lexicon.copy_(in_domain(raw, raw.softmax(-1), value))

    def log_prob(self, batch: dict[str, Tensor]) -> Tensor:
        """log p of each row (line,), exact, in nats."""
        batch = with_room(batch)
        pow = (torch.arange(10, device=self.one.device) + 1).to(self.one.dtype) ** 1.6  # (d,)
        pow_2 = -pow  # (s_length,)
        log_lexicon = self.raw_lexicon.log_softmax(-1)  # (WORD,)
        word = batch["word"]  # (line, i, 10)
        log_word = pick_last(log_lexicon, word)  # (line, i, 10)
        x_len = batch["x_len"]  # (line,)
        return segments_log_prob(
            (self.one * 0.0)[None],
            (self.one * 0.0)[None, None],
            pow_2[None],
            (self.one * 0.0).expand(word.shape[1], 1),
            x_len,
            whole=log_word[:, :, None],
        )  # (line,)

    def loss(self, batch: dict[str, Tensor], num_data: int) -> Tensor:
        """Minibatch estimate of -log p(data): (N/M) Σ over the rows of the batch."""
        log_prob = self.log_prob(batch)
        return log_prob.sum() * (-num_data / len(log_prob))

    def tilted(self, batch: dict[str, Tensor], total, tilt: dict[str, Tensor]) -> Tensor:
        """log p of each row with `tilt` added to the latents' log-joint and `total` for sums; its gradient answers a query."""
        batch = with_room(batch)
        pow = (torch.arange(10, device=self.one.device) + 1).to(self.one.dtype) ** 1.6  # (d,)
        pow_2 = -pow  # (s_length,)
        log_lexicon = self.raw_lexicon.log_softmax(-1)  # (WORD,)
        word = batch["word"]  # (line, i, 10)
        log_word = pick_last(log_lexicon, word)  # (line, i, 10)
        x_len = batch["x_len"]  # (line,)
        return segments_total(
            total,
            (self.one * 0.0)[None],
            (self.one * 0.0)[None, None],
            pow_2[None],
            tilt["s"],
            x_len,
            whole=log_word[:, :, None],
        )  # (line,)

    def unknowns(self, batch: dict[str, Tensor]) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """A tilt of nothing for each latent, and which of its elements count where rows differ in length."""
        x_len = batch["x_len"]  # (line,)
        x = batch["x"]  # (line, i)
        value = self.one.new_zeros(x_len.shape[0], x.shape[1], 1)  # (line, i, s)
        inside_i = torch.arange(x.shape[1], device=self.one.device) < x_len[:, None]  # (line, i)
        return {"s": value}, {"s": inside_i}

    @torch.no_grad()
    def posterior(self, batch: dict[str, Tensor], query: str = "marginals", other: nn.Module | None = None) -> dict:
        """Exact posteriors of the summed latents, and the guides of the drawn ones.

        query: "marginals", probabilities with the values last; "mode", the best joint assignment; "kbest(5)", the five best;
        "sample", a draw; "entropy", in nats, of each value and of all together; "kl", the divergence from that of `other`.
        "stretches": the best way to cut and label, each stretch by first element, last element and label.
        "boundaries": the probability that a stretch begins at each element.
        s: category[1] by stretches of i, (line, i).
        """
        batch = with_room(batch)
        if query.startswith("kbest("):
            raise ValueError("the k best stretches are not told by their labels; queries are marginals, mode, stretches, boundaries, sample, entropy, kl")
        if query == "stretches":
            return {"s": best_stretches(self.tilted, batch, *self.unknowns(batch), "s")}
        if query == "boundaries":
            return {"s": boundaries(self.tilted, batch, *self.unknowns(batch), "s")}
        return ask(self, batch, query, *self.unknowns(batch), other=other)

    def forward(self, batch: dict[str, Tensor]) -> Tensor:
        """log_prob of the batch."""
        return self.log_prob(batch)
