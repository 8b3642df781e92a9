"""Bits: emitted by vispec from bits.vispec; imports torch and nothing else.

    log_prob: exact

    log_x_over_i = product over i of log_x
    log_z_over_k = product over k of log_z
    sum_z[k] = log-sum-exp over z[k] of log_x_over_i, log_z_over_k

    z  summed; discrete; read together along k: all joint values
    x  data; scored at the data
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F
# backward: first_derivative
# heap: keep_pages
# layers.recurrent: Recurrent
# layers.sequence: after_start
# layers.steps: or_start
# layers.steps: recurrent_next
# rows: up_to_the_ends
# rows: with_room
# sums.algebra: Maximum
# sums.algebra: Sampled
# sums.algebra: maximum
# sums.algebra: sampled
# sums.enumeration: ChunkedLogSum
# sums.enumeration: chunks
# sums.enumeration: enumerated_log_sum
# sums.enumeration: every_log_joint
# sums.enumeration: number_of_joint_values
# sums.enumeration: seeded
# sums.enumeration: values_at_once
# sums.logsum: LogSumExp
# sums.logsum: log_sum_exp
# sums.unrolled: over_joint_values
# sums.vocabulary: VocabularyLogProb
# sums.vocabulary: add_gradients
# sums.vocabulary: logits_at
# sums.vocabulary: pieces
# sums.vocabulary: vocabulary_log_prob
# told.decide: decide
# told.decide: predictive
# told.decode: add_best
# told.decode: add_given_up
# told.decode: beam_search
# told.decode: chosen_rows
# told.decode: decoded
# told.decode: draw_element
# told.decode: next_law
# told.decode: one_by_one
# told.decode: pick_ranks
# told.decode: ranked_sequences
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


class Past(nn.Module):
    """(prefix: token[CHAR]*) → real[H]: lstm(embed=64, hidden=256)."""

    def __init__(self, H: int, CHAR: int):
        super().__init__()
        self.embed = nn.Embedding(CHAR, 64)
        self.start = nn.Parameter(torch.zeros(64))
        self.lstm = Recurrent("LSTM", 64, 256, batch_first=True)
        self.out = nn.Linear(256, H)

    def prefix_features(self, prefix: Tensor, prefix_mask: Tensor | None = None) -> Tensor:
        """prefix (*B, T) → (*B, T, 256); position i has read only what stands before it."""
        return self.lstm(after_start(self.embed(prefix), self.start))

    def prefixes(self, prefix: Tensor, prefix_mask: Tensor | None = None) -> Tensor:
        """(*B, T, H)."""
        return self.out(self.prefix_features(prefix, prefix_mask=prefix_mask))

    def next_features(self, kept: dict[str, Tensor], prefix: Tensor, prefix_mask: Tensor | None = None) -> Tensor:
        """prefix (*B, 1 or 0) → (*B, 256): of the position behind those that `kept` has read."""
        h = recurrent_next(self.lstm, or_start(self.embed(prefix), self.start), kept, "past.lstm")  # (*B, 1, 256)
        return h.squeeze(-2)

    def next(self, kept: dict[str, Tensor], prefix: Tensor, prefix_mask: Tensor | None = None) -> Tensor:
        """(*B, H)."""
        return self.out(self.next_features(kept, prefix, prefix_mask=prefix_mask))


class Speller(nn.Module):
    """(h: real[H], z: bit[K]) → simplex[CHAR]: mlp([32])."""

    def __init__(self, K: int, H: int, CHAR: int):
        super().__init__()
        self.from_h = nn.Linear(H, 32)
        self.from_z = nn.Linear(K, 32, bias=False)
        self.mlp = nn.Sequential(nn.ReLU(inplace=True))
        self.out = nn.Linear(32, CHAR)

    def features(self, h: Tensor, z: Tensor) -> Tensor:
        """h (*B, H), z (*B, K) → (*B, 32)."""
        return self.mlp(self.from_h(h) + self.from_z(z))

    def forward(self, h: Tensor, z: Tensor) -> Tensor:
        """(*B, CHAR) unnormalised log-probabilities."""
        return self.out(self.features(h, z))


class Bits(nn.Module):
    """Batch: x (word, i) token[CHAR]; x_len (word)."""

    exact = True
    estimator = "exact"
    sums = ("sum_z[k] = log-sum-exp over z[k] of log_x_over_i, log_z_over_k, tilt_z_over_k",)

    def __init__(self, CHAR: int, K: int = 10, H: int = 256):
        super().__init__()
        self.K = K
        self.CHAR = CHAR
        self.past = Past(H, CHAR)
        self.speller = Speller(K, H, CHAR)
        self.memory = 2**30  # bytes that a sum over joint values may take at once
        self.max_joint_values = 2**24
        self.register_buffer("one", torch.ones(()), persistent=False)  # its dtype and device are the module's
        keep_pages()

    def log_joint_of_z(self, index: Tensor, inside_i: Tensor, h: Tensor, x: Tensor) -> Tensor:
        """The log-joint (word, z) at the joint values of z that `index` (S,) numbers."""
        at_k = torch.arange(self.K, device=self.one.device)  # (k,)
        mod = (index >> at_k[:, None]) & 1  # (k, z[k])
        mod_2 = mod.to(self.one.dtype)  # (K, z[k])
        log_speller_at = vocabulary_log_prob(
            self.speller.features(h[:, :, None], mod_2.T), self.speller.out, x[:, :, None], inside_i[:, :, None]
        )  # (word, i, z[k])
        return log_speller_at.sum(1) - 0.6931471805599453 * self.K  # (word, z[k]); 0.6931471805599453 = log 2

    def log_prob(self, batch: dict[str, Tensor]) -> Tensor:
        """log p of each row (word,), exact, in nats."""
        batch = with_room(batch)
        x = batch["x"]  # (word, i)
        x_len = batch["x_len"]  # (word,)
        inside_i = torch.arange(x.shape[1], device=self.one.device) < x_len[:, None]  # (word, i)
        h = self.past.prefixes(x)  # (word, i, H)
        count = number_of_joint_values(self.K, 2, self.max_joint_values)
        return enumerated_log_sum(
            self.log_joint_of_z,
            (inside_i, h, x),
            count,
            x_len.shape[0] * (12 * (4 + (32 + self.CHAR) * x.shape[1])),
            self.memory,
            self.parameters,
        )  # (word,)

    def loss(self, batch: dict[str, Tensor], num_data: int) -> Tensor:
        """Minibatch estimate of -log p(data): (N/M) Σ over the rows of the batch."""
        log_prob = self.log_prob(batch)
        return log_prob.sum() * (-num_data / len(log_prob))

    def tilted(self, batch: dict[str, Tensor], total, tilt: dict[str, Tensor]) -> Tensor:
        """log p of each row with `tilt` added to the latents' log-joint and `total` for sums; its gradient answers a query."""
        batch = with_room(batch)
        x = batch["x"]  # (word, i)
        x_len = batch["x_len"]  # (word,)
        inside_i = torch.arange(x.shape[1], device=self.one.device) < x_len[:, None]  # (word, i)
        h = self.past.prefixes(x)  # (word, i, H)
        count = number_of_joint_values(self.K, 2, self.max_joint_values)
        log_joint = every_log_joint(
            self.log_joint_of_z,
            (inside_i, h, x),
            count,
            values_at_once(x_len.shape[0] * (12 * (4 + (32 + self.CHAR) * x.shape[1])), self.memory, self.one.device),
            self.one.device,
        )  # (word, z[k])
        over = over_joint_values(tilt["z"])  # (word, z[k])
        return total(log_joint + over)  # (word,)

    def unknowns(self, batch: dict[str, Tensor]) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """A tilt of nothing for each latent, and which of its elements count where rows differ in length."""
        x = batch["x"]  # (word, i)
        return {"z": self.one.new_zeros(x.shape[0], self.K, 2)}, {}

    @torch.no_grad()
    def posterior(self, batch: dict[str, Tensor], query: str = "marginals", other: nn.Module | None = None) -> dict:
        """Exact posteriors of the summed latents, and the guides of the drawn ones.

        query: "marginals", probabilities with the values last; "mode", the best joint assignment; "kbest(5)", the five best;
        "sample", a draw; "entropy", in nats, of each value and of all together; "kl", the divergence from that of `other`.
        z: bit, (word, k).
        """
        batch = with_room(batch)
        return ask(self, batch, query, *self.unknowns(batch), other=other)

    @torch.no_grad()
    def begin_x(self, n: int, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """What each element of x reads, the same at all of them; rows first."""
        return {"z": torch.distributions.Bernoulli(probs=self.one * 0.5).expand((n, self.K)).sample()}

    @torch.no_grad()
    def next_x(self, kept: dict[str, Tensor], x: Tensor) -> Tensor:
        """Log-probabilities of the next element of x, which is the last of x and not read."""
        z = kept["z"]
        x_last = x[:, -2:-1]
        past = self.past.next(kept, x_last)  # (word, H)
        speller_raw = self.speller(past, z)  # (word, CHAR)
        return speller_raw.log_softmax(-1)  # (word, CHAR)

    @torch.no_grad()
    def sequences(
        self, batch: dict[str, Tensor], n: int, end: int, longest: int | Tensor, rule: str = "greedy", **how
    ) -> dict[str, Tensor]:
        """x of n rows, element by element up to the symbol `end`; see `decoded`."""
        rows, begin, steps = (), self.begin_x, (self.next_x,)
        return decoded(rows, begin, steps, batch, n, end, longest, rule, **how)

    @torch.no_grad()
    def generate(self, n: int, batch: dict[str, Tensor], lengths: dict[str, Tensor], rule: str) -> dict[str, Tensor]:
        """Every variable, each after those that its law reads; observed ones by the rule, latent ones drawn."""
        i_size = max(int(lengths["i"].max()), 1)
        z = torch.distributions.Bernoulli(probs=self.one * 0.5).expand((n, self.K)).sample()  # (word, k)
        x = self.one.new_zeros(n, i_size, dtype=torch.long)  # (word, i)
        kept: dict[str, Tensor] = {}  # what nets have read
        for i in range(i_size):
            past = self.past.next(kept, x[:, i - 1 : i])  # (word, H)
            speller = self.speller(past, z)  # (word, CHAR)
            x_now = decide(torch.distributions.Categorical(logits=speller).expand((n,)), rule, True)  # (word,)
            x[:, i] = x_now
        inside_i = torch.arange(i_size, device=self.one.device) < lengths["i"][:, None]  # (word, i)
        x_padded = up_to_the_ends(x, inside_i)  # (word, i)
        return {"z": z, "x": x_padded, "x_len": lengths["i"]}

    @torch.no_grad()
    def sample(self, n: int, batch: dict | None = None, lengths: dict | None = None) -> dict[str, Tensor]:
        """n rows of every variable, latents too, drawn in the order of the model; nothing need be given.

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
        rows, kinds = len(next(iter(batch.values()))), {"x": "draw"}
        return predictive(lambda by: self.generate(rows, batch, {"i": batch["x_len"]}, by), kinds, rule, samples)

    def forward(self, batch: dict[str, Tensor]) -> Tensor:
        """log_prob of the batch."""
        return self.log_prob(batch)
