"""TopicLanguageModel: emitted by vispec from topic_language_model.vispec; imports torch and nothing else.

    log_prob: a bound or estimate, elbo(samples=1)

    log_x_over_i = product over i of log_x
    sum_topic = log-sum-exp over topic of log_topic, log_x_over_i
    total = product of kl_z, sum_topic

    topic  summed; discrete; independent in each element of its plates
    z      elbo(samples=1); continuous; guide Normal
    x      data; scored at the data
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F
# backward: first_derivative
# constraints: in_domain
# draws.kl: KlNormalStandard
# draws.kl: kl_normal_standard_vector
# heap: keep_pages
# layers.recurrent: Recurrent
# layers.sequence: after_start
# layers.sequence: concatenate
# layers.sequence: masked_mean
# layers.sequence: weighted_sum
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
# sums.logsum: log_sum_exp
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
# vectors: NormalVectorLogProb
# vectors: normal_vector_log_prob
# vectors: standard_normal_vector_log_prob


class Lm(nn.Module):
    """(topic: category[K], z: real[Z], prefix: token[V]*) → simplex[V]: lstm(embed=200, hidden=200, init=z) |> dropout(0.4)."""

    def __init__(self, K: int, Z: int, V: int):
        super().__init__()
        self.embed_topic = nn.Embedding(K, 200)
        self.embed_prefix = nn.Embedding(V, 200)
        self.start = nn.Parameter(torch.zeros(200))
        self.lstm = Recurrent("LSTM", 400, 200, batch_first=True)
        self.init = nn.Linear(Z, 400)
        self.dropout = nn.Dropout(0.4)
        self.out = nn.Linear(200, V)

    def prefix_features(self, topic: Tensor, z: Tensor, prefix: Tensor, prefix_mask: Tensor | None = None) -> Tensor:
        """topic (*B), z (*B, Z), prefix (*B, T) → (*B, T, 200); position i has read only what stands before it."""
        h = concatenate(
            after_start(self.embed_prefix(prefix), self.start),
            self.embed_topic(topic).unsqueeze(-2),
        )  # (*B, T, 400)
        return self.dropout(self.lstm(h, self.init(z)))

    def prefixes(self, topic: Tensor, z: Tensor, prefix: Tensor, prefix_mask: Tensor | None = None) -> Tensor:
        """(*B, T, V) unnormalised log-probabilities."""
        return self.out(self.prefix_features(topic, z, prefix, prefix_mask=prefix_mask))

    def next_features(
        self, kept: dict[str, Tensor], topic: Tensor, z: Tensor, prefix: Tensor, prefix_mask: Tensor | None = None
    ) -> Tensor:
        """topic (*B), z (*B, Z), prefix (*B, 1 or 0) → (*B, 200): of the position behind those that `kept` has read."""
        h = concatenate(
            or_start(self.embed_prefix(prefix), self.start),
            self.embed_topic(topic).unsqueeze(-2),
        )  # (*B, 1, 400)
        h = recurrent_next(self.lstm, h, kept, "lm.lstm", lambda: self.init(z))  # (*B, 1, 200)
        return self.dropout(h).squeeze(-2)

    def next(
        self, kept: dict[str, Tensor], topic: Tensor, z: Tensor, prefix: Tensor, prefix_mask: Tensor | None = None
    ) -> Tensor:
        """(*B, V) unnormalised log-probabilities."""
        return self.out(self.next_features(kept, topic, z, prefix, prefix_mask=prefix_mask))


class Encode(nn.Module):
    """(words: token[V]*) → (loc: real[Z], scale: positive[Z]): embed(200) |> mean |> mlp([200])."""

    def __init__(self, Z: int, V: int):
        super().__init__()
        self.embed = nn.Embedding(V, 200)
        self.mlp = nn.Sequential(nn.Linear(200, 200), nn.ReLU())
        self.out = nn.Linear(200, 2 * Z)

    def features(self, words: Tensor, words_mask: Tensor | None = None) -> Tensor:
        """words (*B, T) → (*B, 200)."""
        return self.mlp(masked_mean(self.embed(words), words_mask))

    def forward(self, words: Tensor, words_mask: Tensor | None = None) -> tuple[Tensor, ...]:
        """loc (*B, Z), scale (*B, Z) before softplus."""
        loc, scale = self.out(self.features(words, words_mask=words_mask)).chunk(2, -1)
        return loc, scale.contiguous()  # torch's softplus is slow on slices


class TopicLanguageModel(nn.Module):
    """Batch: x (sentence, i) token[V]; x_len (sentence)."""

    exact = False
    estimator = "elbo(samples=1)"

    def __init__(self, V: int, K: int = 10, Z: int = 16):
        super().__init__()
        self.K = K
        self.Z = Z
        self.raw_share = nn.Parameter(torch.zeros(K))  # (K)
        self.lm = Lm(K, Z, V)
        self.encode = Encode(Z, V)
        self.register_buffer("one", torch.ones(()), persistent=False)  # its dtype and device are the module's
        keep_pages()

    @property
    def share(self) -> Tensor:
        """simplex[K]."""
        return self.raw_share.softmax(-1)

    @share.setter
    def share(self, value: Tensor) -> None:
        with torch.no_grad():
            raw = value.log()
            self.raw_share.copy_(in_domain(raw, raw.softmax(-1), value))

    def log_prob(self, batch: dict[str, Tensor], training: bool = False) -> Tensor:
        """A lower bound on log p of each row (sentence,), in nats; in training as `fit:` changes it for the loss."""
        batch = with_room(batch)
        x = batch["x"]  # (sentence, i)
        x_len = batch["x_len"]  # (sentence,)
        inside_i = torch.arange(x.shape[1], device=self.one.device) < x_len[:, None]  # (sentence, i)
        encode_loc, encode_scale_raw = self.encode(x, words_mask=inside_i)  # (sentence, Z)
        encode_scale = F.softplus(encode_scale_raw)  # (sentence, Z)
        z = encode_loc + encode_scale * torch.randn_like(encode_loc)  # (sentence, Z)
        at_topic = torch.arange(self.K, device=self.one.device)  # (topic,)
        log_x = vocabulary_log_prob(
            self.lm.prefix_features(at_topic, z[:, None], x[:, None]), self.lm.out, x[:, None], inside_i[:, None]
        )  # (sentence, topic, i)
        log_share = self.raw_share.log_softmax(-1)  # (K,)
        log_sum_topic = log_sum_exp(log_share + log_x.sum(-1))  # (sentence,)
        kl_z = kl_normal_standard_vector(encode_loc, encode_scale)  # (sentence,)
        value = kl_z.clamp(min=2.0) if training else kl_z  # (sentence,)
        return log_sum_topic - value  # (sentence,)

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
        at_topic = torch.arange(self.K, device=self.one.device)  # (topic,)
        log_x = vocabulary_log_prob(
            self.lm.prefix_features(at_topic, z[:, :, None], x[:, None]),
            self.lm.out,
            x[:, None],
            inside_i[:, None],
            alike=False,
        )  # (s*, sentence, topic, i)
        log_share = self.raw_share.log_softmax(-1)  # (K,)
        log_sum_topic = log_sum_exp(log_share + log_x.sum(-1))  # (s*, sentence)
        log_p_z = standard_normal_vector_log_prob(z)  # (s*, sentence)
        log_q_z = normal_vector_log_prob(z, encode_loc, encode_scale)  # (s*, sentence)
        return log_p_z - log_q_z + log_sum_topic  # (s*, sentence)

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

    def tilted(self, batch: dict[str, Tensor], total, tilt: dict[str, Tensor]) -> Tensor:
        """log p of each row with `tilt` added to the latents' log-joint and `total` for sums; its gradient answers a query."""
        batch = with_room(batch)
        x = batch["x"]  # (sentence, i)
        x_len = batch["x_len"]  # (sentence,)
        inside_i = torch.arange(x.shape[1], device=self.one.device) < x_len[:, None]  # (sentence, i)
        encode_loc, encode_scale_raw = self.encode(x, words_mask=inside_i)  # (sentence, Z)
        encode_scale = F.softplus(encode_scale_raw)  # (sentence, Z)
        z = encode_loc + encode_scale * torch.randn_like(encode_loc)  # (sentence, Z)
        at_topic = torch.arange(self.K, device=self.one.device)  # (topic,)
        log_x = vocabulary_log_prob(
            self.lm.prefix_features(at_topic, z[:, None], x[:, None]), self.lm.out, x[:, None], inside_i[:, None]
        )  # (sentence, topic, i)
        log_share = self.raw_share.log_softmax(-1)  # (K,)
        total_ = log_share + tilt["topic"] + log_x.sum(-1)  # (sentence, topic)
        log_sum_topic = total(total_)  # (sentence,)
        kl_z = kl_normal_standard_vector(encode_loc, encode_scale)  # (sentence,)
        return log_sum_topic - kl_z  # (sentence,)

    def unknowns(self, batch: dict[str, Tensor]) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """A tilt of nothing for each latent, and which of its elements count where rows differ in length."""
        x = batch["x"]  # (sentence, i)
        return {"topic": self.one.new_zeros(x.shape[0], self.K)}, {}

    @torch.no_grad()
    def posterior(self, batch: dict[str, Tensor], query: str = "marginals") -> dict:
        """Exact posteriors of the summed latents, and the guides of the drawn ones.

        query: "marginals", probabilities with the values last; "mode", the best joint assignment; "kbest(5)", the five best;
        "sample", a draw; "entropy", in nats, of each value and of all together.
        topic: category[K], (sentence).
        z: real[Z], (sentence).
        """
        batch = with_room(batch)
        zeros, inside = self.unknowns(batch)
        found = ask(self, batch, query, zeros, inside)
        return found | self.guides(batch)

    @torch.no_grad()
    def begin_x(self, n: int, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """What each element of x reads, the same at all of them; rows first."""
        topic = torch.distributions.Categorical(logits=self.raw_share).expand((n,)).sample()  # (sentence,)
        z = self.one.new_empty(n, self.Z).normal_()  # (sentence, Z)
        return {"topic": topic, "z": z}

    @torch.no_grad()
    def next_x(self, kept: dict[str, Tensor], x: Tensor) -> Tensor:
        """Log-probabilities of the next element of x, which is the last of x and not read."""
        topic, z = kept["topic"], kept["z"]
        x_last = x[:, -2:-1]
        lm_raw = self.lm.next(kept, topic, z, x_last)  # (sentence, V)
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
        topic = torch.distributions.Categorical(logits=self.raw_share).expand((n,)).sample()  # (sentence,)
        z = self.one.new_empty(n, self.Z).normal_()  # (sentence, Z)
        x = self.one.new_zeros(n, i_size, dtype=torch.long)  # (sentence, i)
        kept: dict[str, Tensor] = {}  # what nets have read
        for i in range(i_size):
            lm = self.lm.next(kept, topic, z, x[:, i - 1 : i])  # (sentence, V)
            x_now = decide(torch.distributions.Categorical(logits=lm).expand((n,)), rule, True)  # (sentence,)
            x[:, i] = x_now
        inside_i = torch.arange(i_size, device=self.one.device) < lengths["i"][:, None]  # (sentence, i)
        x_padded = up_to_the_ends(x, inside_i)  # (sentence, i)
        return {"topic": topic, "z": z, "x": x_padded, "x_len": lengths["i"]}

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
