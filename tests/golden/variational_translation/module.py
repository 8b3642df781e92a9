"""VariationalTranslation: emitted by vispec from variational_translation.vispec; imports torch and nothing else.

    log_prob: a bound or estimate, elbo(samples=1)

    log_y_over_j = product over j of log_y
    log_x_over_i = product over i of log_x
    total = product of kl_z, log_y_over_j, log_x_over_i

    z  elbo(samples=1); continuous; guide Normal
    y  data; scored at the data
    x  data; scored at the data
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F
# draws.kl: KlNormalStandard
# draws.kl: kl_normal_standard_vector
# heap: keep_pages
# layers.attention: dot_attention
# layers.attention: masked_softmax
# layers.recurrent: Bidirectional
# layers.recurrent: Recurrent
# layers.recurrent: reverse
# layers.sequence: after_start
# layers.sequence: concatenate
# layers.sequence: masked_mean
# layers.sequence: weighted_sum
# layers.steps: once
# layers.steps: or_start
# layers.steps: recurrent_next
# rows: up_to_the_ends
# rows: with_room
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
# vectors: NormalVectorLogProb
# vectors: normal_vector_log_prob
# vectors: standard_normal_vector_log_prob


class Source(nn.Module):
    """(z: real[Z], prefix: token[DE]*) → simplex[DE]: gru(embed=128, hidden=128, init=z) |> dropout(0.3)."""

    def __init__(self, Z: int, DE: int):
        super().__init__()
        self.embed = nn.Embedding(DE, 128)
        self.start = nn.Parameter(torch.zeros(128))
        self.gru = Recurrent("GRU", 128, 128, batch_first=True)
        self.init = nn.Linear(Z, 128)
        self.dropout = nn.Dropout(0.3)
        self.out = nn.Linear(128, DE)

    def prefix_features(self, z: Tensor, prefix: Tensor, prefix_mask: Tensor | None = None) -> Tensor:
        """z (*B, Z), prefix (*B, T) → (*B, T, 128); position i has read only what stands before it."""
        h = self.gru(after_start(self.embed(prefix), self.start), self.init(z))  # (*B, T, 128)
        return self.dropout(h)

    def prefixes(self, z: Tensor, prefix: Tensor, prefix_mask: Tensor | None = None) -> Tensor:
        """(*B, T, DE) unnormalised log-probabilities."""
        return self.out(self.prefix_features(z, prefix, prefix_mask=prefix_mask))

    def next_features(self, kept: dict[str, Tensor], z: Tensor, prefix: Tensor, prefix_mask: Tensor | None = None) -> Tensor:
        """z (*B, Z), prefix (*B, 1 or 0) → (*B, 128): of the position behind those that `kept` has read."""
        h = recurrent_next(
            self.gru,
            or_start(self.embed(prefix), self.start),
            kept,
            "source.gru",
            lambda: self.init(z),
        )  # (*B, 1, 128)
        return self.dropout(h).squeeze(-2)

    def next(self, kept: dict[str, Tensor], z: Tensor, prefix: Tensor, prefix_mask: Tensor | None = None) -> Tensor:
        """(*B, DE) unnormalised log-probabilities."""
        return self.out(self.next_features(kept, z, prefix, prefix_mask=prefix_mask))


class Target(nn.Module):
    """(z: real[Z], prefix: token[EN]*, source: token[DE]*) → simplex[EN]:

    gru(embed=128, hidden=128, init=z) |> attend |> mlp([128], activation=tanh) |> dropout(0.3)
    """

    def __init__(self, Z: int, EN: int, DE: int):
        super().__init__()
        self.embed_source = nn.Embedding(DE, 128)
        self.gru_source = Recurrent("GRU", 128, 128, batch_first=True)
        self.embed = nn.Embedding(EN, 128)
        self.start = nn.Parameter(torch.zeros(128))
        self.gru = Recurrent("GRU", 128, 128, batch_first=True)
        self.init = nn.Linear(Z, 128)
        self.mlp = nn.Sequential(nn.Linear(256, 128), nn.Tanh())
        self.dropout = nn.Dropout(0.3)
        self.out = nn.Linear(128, EN)

    def prefix_features(
        self, z: Tensor, prefix: Tensor, source: Tensor, prefix_mask: Tensor | None = None, source_mask: Tensor | None = None
    ) -> Tensor:
        """z (*B, Z), prefix (*B, T), source (*B, S) → (*B, T, 128); position i has read only what stands before it."""
        h = self.gru(after_start(self.embed(prefix), self.start), self.init(z))  # (*B, T, 128)
        h2 = dot_attention(h, self.gru_source(self.embed_source(source)), source_mask)  # (*B, T, 128)
        return self.dropout(self.mlp(concatenate(h, h2)))

    def prefixes(
        self, z: Tensor, prefix: Tensor, source: Tensor, prefix_mask: Tensor | None = None, source_mask: Tensor | None = None
    ) -> Tensor:
        """(*B, T, EN) unnormalised log-probabilities."""
        return self.out(self.prefix_features(z, prefix, source, prefix_mask=prefix_mask, source_mask=source_mask))

    def memory_features(self, source: Tensor, source_mask: Tensor | None = None) -> Tensor:
        """source (*B, S) → (*B, S, 128)."""
        return self.gru_source(self.embed_source(source))

    def next_features(
        self,
        kept: dict[str, Tensor],
        z: Tensor,
        prefix: Tensor,
        source: Tensor,
        prefix_mask: Tensor | None = None,
        source_mask: Tensor | None = None,
    ) -> Tensor:
        """z (*B, Z), prefix (*B, 1 or 0), source (*B, S) → (*B, 128): of the position behind those that `kept` has read."""
        h = recurrent_next(
            self.gru,
            or_start(self.embed(prefix), self.start),
            kept,
            "target.gru",
            lambda: self.init(z),
        )  # (*B, 1, 128)
        h2 = dot_attention(
            h,
            once(kept, "target.memory", lambda: self.memory_features(source, source_mask)),
            source_mask,
        )  # (*B, 1, 128)
        return self.dropout(self.mlp(concatenate(h, h2))).squeeze(-2)

    def next(
        self,
        kept: dict[str, Tensor],
        z: Tensor,
        prefix: Tensor,
        source: Tensor,
        prefix_mask: Tensor | None = None,
        source_mask: Tensor | None = None,
    ) -> Tensor:
        """(*B, EN) unnormalised log-probabilities."""
        return self.out(self.next_features(kept, z, prefix, source, prefix_mask=prefix_mask, source_mask=source_mask))


class Encode(nn.Module):
    """(source: token[DE]*) → (loc: real[Z], scale: positive[Z]): gru(embed=128, hidden=128, bidirectional) |> mean."""

    def __init__(self, Z: int, DE: int):
        super().__init__()
        self.embed = nn.Embedding(DE, 128)
        self.gru = Bidirectional("GRU", 128, 128)
        self.out = nn.Linear(256, 2 * Z)

    def features(self, source: Tensor, source_mask: Tensor | None = None) -> Tensor:
        """source (*B, T) → (*B, 256)."""
        return masked_mean(self.gru(self.embed(source), source_mask), source_mask)

    def forward(self, source: Tensor, source_mask: Tensor | None = None) -> tuple[Tensor, ...]:
        """loc (*B, Z), scale (*B, Z) before softplus."""
        loc, scale = self.out(self.features(source, source_mask=source_mask)).chunk(2, -1)
        return loc, scale.contiguous()  # torch's softplus is slow on slices


class VariationalTranslation(nn.Module):
    """Batch: y (pair, j) token[DE]; x (pair, i) token[EN]; y_len (pair); x_len (pair)."""

    exact = False
    estimator = "elbo(samples=1)"

    def __init__(self, EN: int, DE: int, Z: int = 32):
        super().__init__()
        self.Z = Z
        self.source = Source(Z, DE)
        self.target = Target(Z, EN, DE)
        self.encode = Encode(Z, DE)
        self.register_buffer("one", torch.ones(()), persistent=False)  # its dtype and device are the module's
        keep_pages()

    def log_prob(self, batch: dict[str, Tensor], training: bool = False) -> Tensor:
        """A lower bound on log p of each row (pair,), in nats; in training as `fit:` changes it for the loss."""
        batch = with_room(batch)
        y = batch["y"]  # (pair, j)
        y_len = batch["y_len"]  # (pair,)
        inside_j = torch.arange(y.shape[1], device=self.one.device) < y_len[:, None]  # (pair, j)
        encode_loc, encode_scale_raw = self.encode(y, source_mask=inside_j)  # (pair, Z)
        encode_scale = F.softplus(encode_scale_raw)  # (pair, Z)
        z = encode_loc + encode_scale * torch.randn_like(encode_loc)  # (pair, Z)
        log_y = vocabulary_log_prob(self.source.prefix_features(z, y), self.source.out, y, inside_j)  # (pair, j)
        x = batch["x"]  # (pair, i)
        x_len = batch["x_len"]  # (pair,)
        inside_i = torch.arange(x.shape[1], device=self.one.device) < x_len[:, None]  # (pair, i)
        log_x = vocabulary_log_prob(
            self.target.prefix_features(z, x, y, source_mask=inside_j), self.target.out, x, inside_i
        )  # (pair, i)
        kl_z = kl_normal_standard_vector(encode_loc, encode_scale)  # (pair,)
        value = kl_z.clamp(min=5.0) if training else kl_z  # (pair,)
        return log_y.sum(-1) + log_x.sum(-1) - value  # (pair,)

    def loss(self, batch: dict[str, Tensor], num_data: int) -> Tensor:
        """Minibatch estimate of -log p(data): (N/M) Σ over the rows of the batch."""
        log_prob = self.log_prob(batch, training=self.training)
        return log_prob.sum() * (-num_data / len(log_prob))

    @torch.no_grad()
    def log_weights(self, batch: dict[str, Tensor], samples: int) -> Tensor:
        """log p(row, latents) − log q(latents) at draws of the latents, (samples, pair)."""
        batch = with_room(batch)
        y = batch["y"]  # (pair, j)
        y_len = batch["y_len"]  # (pair,)
        inside_j = torch.arange(y.shape[1], device=self.one.device) < y_len[:, None]  # (pair, j)
        encode_loc, encode_scale_raw = self.encode(y, source_mask=inside_j)  # (pair, Z)
        encode_scale = F.softplus(encode_scale_raw)  # (pair, Z)
        noise_z = self.one.new_empty(samples, y.shape[0], self.Z).normal_()  # (s*, pair, Z)
        z = encode_loc + encode_scale * noise_z  # (s*, pair, Z)
        log_p_z = standard_normal_vector_log_prob(z)  # (s*, pair)
        log_q_z = normal_vector_log_prob(z, encode_loc, encode_scale)  # (s*, pair)
        log_y = vocabulary_log_prob(
            self.source.prefix_features(z, y), self.source.out, y, inside_j, alike=False
        )  # (s*, pair, j)
        x = batch["x"]  # (pair, i)
        x_len = batch["x_len"]  # (pair,)
        inside_i = torch.arange(x.shape[1], device=self.one.device) < x_len[:, None]  # (pair, i)
        log_x = vocabulary_log_prob(
            self.target.prefix_features(z, x, y, source_mask=inside_j), self.target.out, x, inside_i, alike=False
        )  # (s*, pair, i)
        return log_p_z - log_q_z + log_y.sum(-1) + log_x.sum(-1)  # (s*, pair)

    @torch.no_grad()
    def divergences(self, batch: dict[str, Tensor], samples: int) -> dict[str, tuple[Tensor, Tensor | None]]:
        """Of z: log p − log q (samples, pair) at draws from the guide, and the draws, samples first."""
        batch = with_room(batch)
        y = batch["y"]  # (pair, j)
        y_len = batch["y_len"]  # (pair,)
        inside_j = torch.arange(y.shape[1], device=self.one.device) < y_len[:, None]  # (pair, j)
        encode_loc, encode_scale_raw = self.encode(y, source_mask=inside_j)  # (pair, Z)
        encode_scale = F.softplus(encode_scale_raw)  # (pair, Z)
        noise_z = self.one.new_empty(samples, y.shape[0], self.Z).normal_()  # (s*, pair, Z)
        z = encode_loc + encode_scale * noise_z  # (s*, pair, Z)
        log_p_z = standard_normal_vector_log_prob(z)  # (s*, pair)
        log_q_z = normal_vector_log_prob(z, encode_loc, encode_scale)  # (s*, pair)
        return {"z": (log_p_z - log_q_z, z)}

    @torch.no_grad()
    def guides(self, batch: dict[str, Tensor]) -> dict[str, dict[str, Tensor]]:
        """The parameters of the guides of z; drawn latents are read at their locations."""
        batch = with_room(batch)
        y = batch["y"]  # (pair, j)
        y_len = batch["y_len"]  # (pair,)
        inside_j = torch.arange(y.shape[1], device=self.one.device) < y_len[:, None]  # (pair, j)
        encode_loc, encode_scale_raw = self.encode(y, source_mask=inside_j)  # (pair, Z)
        return {"z": {"loc": encode_loc, "scale": F.softplus(encode_scale_raw)}}

    @torch.no_grad()
    def posterior(self, batch: dict[str, Tensor], query: str = "marginals") -> dict:
        """The parameters of the latents' guides, which are all that the posterior is told by.

        z: real[Z], (pair).
        """
        if query != "marginals":
            raise ValueError(f"this model answers no query {query!r}: its latents are drawn and told by guides")
        return self.guides(batch)

    @torch.no_grad()
    def begin_y(self, n: int, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """What each element of y reads, the same at all of them; rows first."""
        return {"z": self.one.new_empty(n, self.Z).normal_()}

    @torch.no_grad()
    def next_y(self, kept: dict[str, Tensor], y: Tensor) -> Tensor:
        """Log-probabilities of the next element of y, which is the last of y and not read."""
        z = kept["z"]
        y_last = y[:, -2:-1]
        source_raw = self.source.next(kept, z, y_last)  # (pair, DE)
        return source_raw.log_softmax(-1)  # (pair, DE)

    @torch.no_grad()
    def sequences(
        self, batch: dict[str, Tensor], n: int, end: int, longest: int | Tensor, rule: str = "greedy", **how
    ) -> dict[str, Tensor]:
        """y of n rows, element by element up to the symbol `end`; see `decoded`."""
        rows, begin, steps = (), self.begin_y, (self.next_y,)
        return decoded(rows, begin, steps, batch, n, end, longest, rule, **how)

    @torch.no_grad()
    def generate(self, n: int, batch: dict[str, Tensor], lengths: dict[str, Tensor], rule: str) -> dict[str, Tensor]:
        """Every variable, each after those that its law reads; observed ones by the rule, latent ones drawn."""
        j_size = max(int(lengths["j"].max()), 1)
        i_size = max(int(lengths["i"].max()), 1)
        z = self.one.new_empty(n, self.Z).normal_()  # (pair, Z)
        y = self.one.new_zeros(n, j_size, dtype=torch.long)  # (pair, j)
        kept: dict[str, Tensor] = {}  # what nets have read
        for j in range(j_size):
            source = self.source.next(kept, z, y[:, j - 1 : j])  # (pair, DE)
            y_now = decide(torch.distributions.Categorical(logits=source).expand((n,)), rule, True)  # (pair,)
            y[:, j] = y_now
        inside_j = torch.arange(j_size, device=self.one.device) < lengths["j"][:, None]  # (pair, j)
        y_padded = up_to_the_ends(y, inside_j)  # (pair, j)
        x = self.one.new_zeros(n, i_size, dtype=torch.long)  # (pair, i)
        kept: dict[str, Tensor] = {}  # what nets have read
        for i in range(i_size):
            target = self.target.next(kept, z, x[:, i - 1 : i], y, source_mask=inside_j)  # (pair, EN)
            x_now = decide(torch.distributions.Categorical(logits=target).expand((n,)), rule, True)  # (pair,)
            x[:, i] = x_now
        inside_i = torch.arange(i_size, device=self.one.device) < lengths["i"][:, None]  # (pair, i)
        x_padded = up_to_the_ends(x, inside_i)  # (pair, i)
        return {"z": z, "y": y_padded, "x": x_padded, "y_len": lengths["j"], "x_len": lengths["i"]}

    @torch.no_grad()
    def sample(self, n: int, batch: dict | None = None, lengths: dict | None = None) -> dict[str, Tensor]:
        """n rows of every variable, latents too, drawn in the order of the model; nothing need be given.

        lengths: for each ragged plate that the batch does not size, how many elements each row has (n,).
        """
        missing = [plate for plate in ("j", "i",) if plate not in (lengths or {})]
        if missing:
            raise ValueError(f"lengths must say how many elements each row has of {', '.join(missing)}")
        return self.generate(n, batch or {}, lengths or {}, "sample")

    @torch.no_grad()
    def predict(self, batch: dict[str, Tensor], rule: str = "mean", samples: int = 100) -> dict[str, Tensor]:
        """Each observed variable, from what is given, over so many draws of the latents.

        rule: "mean", "mode" or "sample". The mean of a categorical variable is its probabilities, its mode the likeliest
        value under them. What is read again is at its mode in one draw; a sample is one draw of all.
        """
        rows, kinds = len(next(iter(batch.values()))), {"y": "draw", "x": "draw"}
        return predictive(lambda by: self.generate(rows, batch, {"j": batch["y_len"], "i": batch["x_len"]}, by), kinds, rule, samples)

    def forward(self, batch: dict[str, Tensor]) -> Tensor:
        """log_prob of the batch."""
        return self.log_prob(batch)
