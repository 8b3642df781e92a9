"""HardAttention: emitted by vispec from hard_attention.vispec; imports torch and nothing else.

    log_prob: exact

    sum_a = log-sum-exp over a of log_a, log_x
    sum_a_over_i = product over i of sum_a

    y  data; given by the data
    a  summed; discrete; independent in each element of its plates
    x  data; scored at the data
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F
# backward: first_derivative
# heap: keep_pages
# layers.recurrent: Bidirectional
# layers.recurrent: Recurrent
# layers.recurrent: reverse
# layers.sequence: after_start
# layers.steps: or_start
# layers.steps: recurrent_next
# rows: up_to_the_ends
# rows: with_room
# sums.algebra: Maximum
# sums.algebra: Sampled
# sums.algebra: maximum
# sums.algebra: sampled
# sums.enumeration: seeded
# sums.logsum: LogSumExp
# sums.logsum: impossible_alone
# sums.logsum: log_sum_exp
# sums.lookup: pick_last
# sums.vocabulary: VocabularyLogProb
# sums.vocabulary: add_gradients
# sums.vocabulary: logits_at
# sums.vocabulary: pieces
# sums.vocabulary: vocabulary_log_prob
# told.decide: decide
# told.decide: predictive
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


class Encode(nn.Module):
    """(source: token[DE]*) → real[128]*: embed(128) |> gru(hidden=128, bidirectional) |> dropout(0.3)."""

    def __init__(self, DE: int):
        super().__init__()
        self.embed = nn.Embedding(DE, 128)
        self.gru = Bidirectional("GRU", 128, 128)
        self.dropout = nn.Dropout(0.3)
        self.out = nn.Linear(256, 128)

    def features(self, source: Tensor, source_mask: Tensor | None = None) -> Tensor:
        """source (*B, T) → (*B, T, 256)."""
        return self.dropout(self.gru(self.embed(source), source_mask))

    def forward(self, source: Tensor, source_mask: Tensor | None = None) -> Tensor:
        """(*B, T, 128)."""
        return self.out(self.features(source, source_mask=source_mask))


class Read(nn.Module):
    """(prefix: token[EN]*) → real[128]: embed(128) |> gru(hidden=128) |> dropout(0.3)."""

    def __init__(self, EN: int):
        super().__init__()
        self.embed = nn.Embedding(EN, 128)
        self.start = nn.Parameter(torch.zeros(128))
        self.gru = Recurrent("GRU", 128, 128, batch_first=True)
        self.dropout = nn.Dropout(0.3)
        self.out = nn.Linear(128, 128)

    def prefix_features(self, prefix: Tensor, prefix_mask: Tensor | None = None) -> Tensor:
        """prefix (*B, T) → (*B, T, 128); position i has read only what stands before it."""
        return self.dropout(self.gru(after_start(self.embed(prefix), self.start)))

    def prefixes(self, prefix: Tensor, prefix_mask: Tensor | None = None) -> Tensor:
        """(*B, T, 128)."""
        return self.out(self.prefix_features(prefix, prefix_mask=prefix_mask))

    def next_features(self, kept: dict[str, Tensor], prefix: Tensor, prefix_mask: Tensor | None = None) -> Tensor:
        """prefix (*B, 1 or 0) → (*B, 128): of the position behind those that `kept` has read."""
        h = recurrent_next(self.gru, or_start(self.embed(prefix), self.start), kept, "read.gru")  # (*B, 1, 128)
        return self.dropout(h).squeeze(-2)

    def next(self, kept: dict[str, Tensor], prefix: Tensor, prefix_mask: Tensor | None = None) -> Tensor:
        """(*B, 128)."""
        return self.out(self.next_features(kept, prefix, prefix_mask=prefix_mask))


class Word(nn.Module):
    """(seen: real[128], state: real[128]) → simplex[EN]: mlp([256], activation=tanh) |> dropout(0.3)."""

    def __init__(self, EN: int):
        super().__init__()
        self.from_seen = nn.Linear(128, 256)
        self.from_state = nn.Linear(128, 256, bias=False)
        self.mlp = nn.Sequential(nn.Tanh())
        self.dropout = nn.Dropout(0.3)
        self.out = nn.Linear(256, EN)

    def features(self, seen: Tensor, state: Tensor) -> Tensor:
        """seen (*B, 128), state (*B, 128) → (*B, 256)."""
        return self.dropout(self.mlp(self.from_seen(seen) + self.from_state(state)))

    def forward(self, seen: Tensor, state: Tensor) -> Tensor:
        """(*B, EN) unnormalised log-probabilities."""
        return self.out(self.features(seen, state))


class HardAttention(nn.Module):
    """Batch: y (pair, j) token[DE]; x (pair, i) token[EN]; y_len (pair); x_len (pair)."""

    exact = True
    estimator = "exact"
    sums = ("sum_a = log-sum-exp over a of log_a, log_x, tilt_a",)

    def __init__(self, EN: int, DE: int):
        super().__init__()
        self.encode = Encode(DE)
        self.read = Read(EN)
        self.word = Word(EN)
        self.register_buffer("one", torch.ones(()), persistent=False)  # its dtype and device are the module's
        keep_pages()

    def log_prob(self, batch: dict[str, Tensor]) -> Tensor:
        """log p of each row (pair,), exact, in nats."""
        batch = with_room(batch)
        y = batch["y"]  # (pair, j)
        y_len = batch["y_len"]  # (pair,)
        inside_a = torch.arange(y.shape[1], device=self.one.device) < y_len[:, None]  # (pair, a)
        h = self.encode(y, source_mask=inside_a)  # (pair, j, 128)
        x = batch["x"]  # (pair, i)
        s = self.read.prefixes(x)  # (pair, i, 128)
        product = h @ s.transpose(-2, -1)  # (pair, j, i)
        product_2 = torch.where(inside_a[:, :, None], product, -torch.inf)  # (pair, j, i)
        log_product = product_2.log_softmax(1)  # (pair, j, i)
        log_x = vocabulary_log_prob(self.word.features(h[:, None], s[:, :, None]), self.word.out, x[:, :, None])  # (pair, i, a)
        log_joint = log_product + log_x.transpose(-2, -1)  # (pair, a, i)
        log_joint_2 = torch.where(inside_a[:, :, None], log_joint, -torch.inf)  # (pair, a, i)
        log_sum_a = log_sum_exp(log_joint_2.transpose(-2, -1))  # (pair, i)
        x_len = batch["x_len"]  # (pair,)
        inside_i = torch.arange(x.shape[1], device=self.one.device) < x_len[:, None]  # (pair, i)
        sum_i = torch.where(inside_i, log_sum_a, 0.0).sum(-1)  # (pair,)
        return impossible_alone(sum_i)  # (pair,)

    def loss(self, batch: dict[str, Tensor], num_data: int) -> Tensor:
        """Minibatch estimate of -log p(data): (N/M) Σ over the rows of the batch."""
        log_prob = self.log_prob(batch)
        return log_prob.sum() * (-num_data / len(log_prob))

    def tilted(self, batch: dict[str, Tensor], total, tilt: dict[str, Tensor]) -> Tensor:
        """log p of each row with `tilt` added to the latents' log-joint and `total` for sums; its gradient answers a query."""
        batch = with_room(batch)
        y = batch["y"]  # (pair, j)
        y_len = batch["y_len"]  # (pair,)
        inside_a = torch.arange(y.shape[1], device=self.one.device) < y_len[:, None]  # (pair, a)
        h = self.encode(y, source_mask=inside_a)  # (pair, j, 128)
        x = batch["x"]  # (pair, i)
        s = self.read.prefixes(x)  # (pair, i, 128)
        product = h @ s.transpose(-2, -1)  # (pair, j, i)
        product_2 = torch.where(inside_a[:, :, None], product, -torch.inf)  # (pair, j, i)
        log_product = product_2.log_softmax(1)  # (pair, j, i)
        log_x = vocabulary_log_prob(self.word.features(h[:, None], s[:, :, None]), self.word.out, x[:, :, None])  # (pair, i, a)
        log_joint = log_product + log_x.transpose(-2, -1) + tilt["a"].transpose(-2, -1)  # (pair, a, i)
        log_joint_2 = torch.where(inside_a[:, :, None], log_joint, -torch.inf)  # (pair, a, i)
        log_sum_a = total(log_joint_2.transpose(-2, -1))  # (pair, i)
        x_len = batch["x_len"]  # (pair,)
        inside_i = torch.arange(x.shape[1], device=self.one.device) < x_len[:, None]  # (pair, i)
        return torch.where(inside_i, log_sum_a, 0.0).sum(-1)  # (pair,)

    def unknowns(self, batch: dict[str, Tensor]) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """A tilt of nothing for each latent, and which of its elements count where rows differ in length."""
        x_len = batch["x_len"]  # (pair,)
        x = batch["x"]  # (pair, i)
        y = batch["y"]  # (pair, j)
        value = self.one.new_zeros(x_len.shape[0], x.shape[1], y.shape[1])  # (pair, i, a)
        inside_i = torch.arange(x.shape[1], device=self.one.device) < x_len[:, None]  # (pair, i)
        return {"a": value}, {"a": inside_i}

    @torch.no_grad()
    def posterior(self, batch: dict[str, Tensor], query: str = "marginals", other: nn.Module | None = None) -> dict:
        """Exact posteriors of the summed latents, and the guides of the drawn ones.

        query: "marginals", probabilities with the values last; "mode", the best joint assignment; "kbest(5)", the five best;
        "sample", a draw; "entropy", in nats, of each value and of all together; "kl", the divergence from that of `other`.
        a: index[j], (pair, i).
        """
        batch = with_room(batch)
        return ask(self, batch, query, *self.unknowns(batch), other=other)

    @torch.no_grad()
    def generate(self, n: int, batch: dict[str, Tensor], lengths: dict[str, Tensor], rule: str) -> dict[str, Tensor]:
        """Every variable, each after those that its law reads; observed ones by the rule, latent ones drawn."""
        batch = with_room(batch)
        i_size = max(int(lengths["i"].max()), 1)
        y = batch["y"]  # (pair, j)
        y_len = batch["y_len"]  # (pair,)
        inside_j = torch.arange(y.shape[1], device=self.one.device) < y_len[:, None]  # (pair, j)
        h = self.encode(y, source_mask=inside_j)  # (pair, j, 128)
        a = self.one.new_zeros(n, i_size, dtype=torch.long)  # (pair, i)
        x = self.one.new_zeros(n, i_size, dtype=torch.long)  # (pair, i)
        kept: dict[str, Tensor] = {}  # what nets have read
        for i in range(i_size):
            read = self.read.next(kept, x[:, i - 1 : i])  # (pair, 128)
            product = torch.einsum("pa,pja->pj", read, h)  # (pair, j)
            product_2 = torch.where(inside_j, product, -torch.inf)  # (pair, j)
            product_prob = product_2.softmax(-1)  # (pair, j)
            a_now = torch.distributions.Categorical(probs=product_prob).sample()  # (pair,)
            h_at = pick_last(h.transpose(-2, -1), a_now[:, None])  # (pair, 128)
            word = self.word(h_at, read)  # (pair, EN)
            x_now = decide(torch.distributions.Categorical(logits=word).expand((n,)), rule, True)  # (pair,)
            a[:, i] = a_now
            x[:, i] = x_now
        inside_i = torch.arange(i_size, device=self.one.device) < lengths["i"][:, None]  # (pair, i)
        a_padded = torch.where(inside_i, a, 0)  # (pair, i)
        x_padded = up_to_the_ends(x, inside_i)  # (pair, i)
        return {"y": y, "a": a_padded, "x": x_padded, "y_len": y_len, "x_len": lengths["i"]}

    @torch.no_grad()
    def sample(self, n: int, batch: dict | None = None, lengths: dict | None = None) -> dict[str, Tensor]:
        """n rows of every variable, latents too, drawn in the order of the model; `batch` holds y.

        lengths: for each ragged plate that the batch does not size, how many elements each row has (n,).
        """
        missing = [plate for plate in ("i",) if plate not in (lengths or {})]
        if missing:
            raise ValueError(f"lengths must say how many elements each row has of {', '.join(missing)}")
        return self.generate(n, batch or {}, lengths or {}, "sample")

    @torch.no_grad()
    def predict(self, batch: dict[str, Tensor], rule: str = "mean", samples: int = 100) -> dict[str, Tensor]:
        """Each observed variable, from what is given, over so many draws of the latents.

        rule: "mean", "mode" or "sample". The mean of a categorical variable is its probabilities, its mode the likeliest
        value under them. What is read again is at its mode in one draw; a sample is one draw of all.
        """
        rows, kinds = len(batch["y"]), {"x": "draw"}
        return predictive(lambda by: self.generate(rows, batch, {"i": batch["x_len"]}, by), kinds, rule, samples)

    def forward(self, batch: dict[str, Tensor]) -> Tensor:
        """log_prob of the batch."""
        return self.log_prob(batch)
