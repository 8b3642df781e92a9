"""SentenceVae: emitted by vispec from sentence_vae.vispec; imports torch and nothing else.

    log_prob: a bound or estimate, elbo(samples=1)

    log_x_over_i = product over i of log_x
    total = product of kl_z, log_x_over_i

    z  elbo(samples=1); continuous; guide Normal
    x  data; scored at the data
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F
# draws.kl: KlNormalStandard
# draws.kl: kl_normal_standard_vector
# heap: keep_pages
# layers.recurrent: Bidirectional
# layers.recurrent: Recurrent
# layers.recurrent: reverse
# layers.sequence: after_start
# layers.sequence: concatenate
# layers.sequence: masked_mean
# layers.sequence: weighted_sum
# layers.steps: or_start
# layers.steps: recurrent_next
# layers.tables: Shared
# layers.tables: Tied
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


class Lm(nn.Module):
    """(z: real[Z], prefix: token[V]*) → simplex[V]:

    embed(E) |> dropout(0.4) |> lstm(hidden=400, init=z) |> dropout(0.4) |> tied(E)
    """

    def __init__(self, Z: int, E: nn.Embedding):
        super().__init__()
        self.E = Shared(E)
        self.dropout = nn.Dropout(0.4)
        self.start = nn.Parameter(torch.zeros(Z + 400))
        self.lstm = Recurrent("LSTM", Z + 400, 400, batch_first=True)
        self.dropout2 = nn.Dropout(0.4)
        self.out = Tied(E)

    def prefix_features(self, z: Tensor, prefix: Tensor, prefix_mask: Tensor | None = None) -> Tensor:
        """z (*B, Z), prefix (*B, T) → (*B, T, 400); position i has read only what stands before it."""
        h = after_start(self.dropout(concatenate(z.unsqueeze(-2), self.E(prefix))), self.start)  # (*B, T, Z + 400)
        return self.dropout2(self.lstm(h))

    def prefixes(self, z: Tensor, prefix: Tensor, prefix_mask: Tensor | None = None) -> Tensor:
        """(*B, T, V) unnormalised log-probabilities."""
        return self.out(self.prefix_features(z, prefix, prefix_mask=prefix_mask))

    def next_features(self, kept: dict[str, Tensor], z: Tensor, prefix: Tensor, prefix_mask: Tensor | None = None) -> Tensor:
        """z (*B, Z), prefix (*B, 1 or 0) → (*B, 400): of the position behind those that `kept` has read."""
        h = or_start(self.dropout(concatenate(z.unsqueeze(-2), self.E(prefix))), self.start)  # (*B, 1, Z + 400)
        h = self.dropout2(recurrent_next(self.lstm, h, kept, "lm.lstm"))  # (*B, 1, 400)
        return h.squeeze(-2)

    def next(self, kept: dict[str, Tensor], z: Tensor, prefix: Tensor, prefix_mask: Tensor | None = None) -> Tensor:
        """(*B, V) unnormalised log-probabilities."""
        return self.out(self.next_features(kept, z, prefix, prefix_mask=prefix_mask))


class Encode(nn.Module):
    """(words: token[V]*) → (loc: real[Z], scale: positive[Z]): embed(E) |> gru(hidden=200, bidirectional) |> mean."""

    def __init__(self, Z: int, E: nn.Embedding):
        super().__init__()
        self.E = Shared(E)
        self.gru = Bidirectional("GRU", 400, 200)
        self.out = nn.Linear(400, 2 * Z)

    def features(self, words: Tensor, words_mask: Tensor | None = None) -> Tensor:
        """words (*B, T) → (*B, 400)."""
        return masked_mean(self.gru(self.E(words), words_mask), words_mask)

    def forward(self, words: Tensor, words_mask: Tensor | None = None) -> tuple[Tensor, ...]:
        """loc (*B, Z), scale (*B, Z) before softplus."""
        loc, scale = self.out(self.features(words, words_mask=words_mask)).chunk(2, -1)
        return loc, scale.contiguous()  # torch's softplus is slow on slices


class SentenceVae(nn.Module):
    """Batch: x (sentence, i) token[V]; x_len (sentence)."""

    exact = False
    estimator = "elbo(samples=1)"

    def __init__(self, V: int, Z: int = 32):
        super().__init__()
        self.Z = Z
        self.E = nn.Embedding(V, 400)
        nn.init.normal_(self.E.weight, std=400**-0.5)  # outputs are made by it too
        self.lm = Lm(Z, self.E)
        self.encode = Encode(Z, self.E)
        self.register_buffer("one", torch.ones(()), persistent=False)  # its dtype and device are the module's
        keep_pages()

    def log_prob(self, batch: dict[str, Tensor], training: bool = False) -> Tensor:
        """A lower bound on log p of each row (sentence,), in nats; in training as `fit:` changes it for the loss."""
        batch = with_room(batch)
        x = batch["x"]  # (sentence, i)
        x_len = batch["x_len"]  # (sentence,)
        inside_i = torch.arange(x.shape[1], device=self.one.device) < x_len[:, None]  # (sentence, i)
        encode_loc, encode_scale_raw = self.encode(x, words_mask=inside_i)  # (sentence, Z)
        encode_scale = F.softplus(encode_scale_raw)  # (sentence, Z)
        z = encode_loc + encode_scale * torch.randn_like(encode_loc)  # (sentence, Z)
        log_x = vocabulary_log_prob(self.lm.prefix_features(z, x), self.lm.out, x, inside_i)  # (sentence, i)
        kl_z = kl_normal_standard_vector(encode_loc, encode_scale)  # (sentence,)
        value = kl_z.clamp(min=6.0) if training else kl_z  # (sentence,)
        return log_x.sum(-1) - value  # (sentence,)

    def loss(self, batch: dict[str, Tensor], num_data: int) -> Tensor:
        """Minibatch estimate of -log p(data): (N/M) Σ over the rows of the batch."""
        log_prob = self.log_prob(batch, training=self.training)
        return log_prob.sum() * (-num_data / len(log_prob))

    @torch.no_grad()
    def log_weights(self, batch: dict[str, Tensor], samples: int) -> Tensor:
        """log p(row, latents) − log q(latents) at draws of the latents, (samples, sentence)."""
        batch = with_room(batch)
        x = batch["x"]  # (sentence, i)
        x_len = batch["x_len"]  # (sentence,)
        inside_i = torch.arange(x.shape[1], device=self.one.device) < x_len[:, None]  # (sentence, i)
        encode_loc, encode_scale_raw = self.encode(x, words_mask=inside_i)  # (sentence, Z)
        encode_scale = F.softplus(encode_scale_raw)  # (sentence, Z)
        noise_z = self.one.new_empty(samples, x.shape[0], self.Z).normal_()  # (s*, sentence, Z)
        z = encode_loc + encode_scale * noise_z  # (s*, sentence, Z)
        log_p_z = standard_normal_vector_log_prob(z)  # (s*, sentence)
        log_q_z = normal_vector_log_prob(z, encode_loc, encode_scale)  # (s*, sentence)
        log_x = vocabulary_log_prob(self.lm.prefix_features(z, x), self.lm.out, x, inside_i, alike=False)  # (s*, sentence, i)
        return log_p_z - log_q_z + log_x.sum(-1)  # (s*, sentence)

    @torch.no_grad()
    def divergences(self, batch: dict[str, Tensor], samples: int) -> dict[str, tuple[Tensor, Tensor | None]]:
        """Of z: log p − log q (samples, sentence) at draws from the guide, and the draws, samples first."""
        batch = with_room(batch)
        x = batch["x"]  # (sentence, i)
        x_len = batch["x_len"]  # (sentence,)
        inside_i = torch.arange(x.shape[1], device=self.one.device) < x_len[:, None]  # (sentence, i)
        encode_loc, encode_scale_raw = self.encode(x, words_mask=inside_i)  # (sentence, Z)
        encode_scale = F.softplus(encode_scale_raw)  # (sentence, Z)
        noise_z = self.one.new_empty(samples, x.shape[0], self.Z).normal_()  # (s*, sentence, Z)
        z = encode_loc + encode_scale * noise_z  # (s*, sentence, Z)
        log_p_z = standard_normal_vector_log_prob(z)  # (s*, sentence)
        log_q_z = normal_vector_log_prob(z, encode_loc, encode_scale)  # (s*, sentence)
        return {"z": (log_p_z - log_q_z, z)}

    @torch.no_grad()
    def guides(self, batch: dict[str, Tensor]) -> dict[str, dict[str, Tensor]]:
        """The parameters of the guides of z; drawn latents are read at their locations."""
        batch = with_room(batch)
        x = batch["x"]  # (sentence, i)
        x_len = batch["x_len"]  # (sentence,)
        inside_i = torch.arange(x.shape[1], device=self.one.device) < x_len[:, None]  # (sentence, i)
        encode_loc, encode_scale_raw = self.encode(x, words_mask=inside_i)  # (sentence, Z)
        return {"z": {"loc": encode_loc, "scale": F.softplus(encode_scale_raw)}}

    @torch.no_grad()
    def posterior(self, batch: dict[str, Tensor], query: str = "marginals") -> dict:
        """The parameters of the latents' guides, which are all that the posterior is told by.

        z: real[Z], (sentence).
        """
        if query != "marginals":
            raise ValueError(f"this model answers no query {query!r}: its latents are drawn and told by guides")
        return self.guides(batch)

    @torch.no_grad()
    def begin_x(self, n: int, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """What each element of x reads, the same at all of them; rows first."""
        return {"z": self.one.new_empty(n, self.Z).normal_()}

    @torch.no_grad()
    def next_x(self, kept: dict[str, Tensor], x: Tensor) -> Tensor:
        """Log-probabilities of the next element of x, which is the last of x and not read."""
        z = kept["z"]
        x_last = x[:, -2:-1]
        lm_raw = self.lm.next(kept, z, x_last)  # (sentence, V)
        return lm_raw.log_softmax(-1)  # (sentence, V)

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
        z = self.one.new_empty(n, self.Z).normal_()  # (sentence, Z)
        x = self.one.new_zeros(n, i_size, dtype=torch.long)  # (sentence, i)
        kept: dict[str, Tensor] = {}  # what nets have read
        for i in range(i_size):
            lm = self.lm.next(kept, z, x[:, i - 1 : i])  # (sentence, V)
            x_now = decide(torch.distributions.Categorical(logits=lm).expand((n,)), rule, True)  # (sentence,)
            x[:, i] = x_now
        inside_i = torch.arange(i_size, device=self.one.device) < lengths["i"][:, None]  # (sentence, i)
        x_padded = up_to_the_ends(x, inside_i)  # (sentence, i)
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
