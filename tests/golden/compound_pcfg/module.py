"""CompoundPcfg: emitted by vispec from compound_pcfg.vispec; imports torch and nothing else.

    log_prob: a bound or estimate, elbo(samples=1)

    parse_t = parse of t along i (the inside algorithm) of root_t, rule_t, log_x
    total = product of kl_z, parse_t

    z  elbo(samples=1); continuous; guide Normal
    t  parses, summed; discrete; a parse along i: the inside algorithm
    x  data; scored at the data
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F
# backward: first_derivative
# draws.kl: KlNormalStandard
# draws.kl: kl_normal_standard_vector
# heap: keep_pages
# layers.dense: OneHotLinear
# layers.recurrent: Bidirectional
# layers.recurrent: Recurrent
# layers.recurrent: reverse
# layers.sequence: masked_mean
# layers.sequence: weighted_sum
# rows: along_lengths
# rows: up_to_the_ends
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
# trees.brackets: algebra_of
# trees.brackets: counted
# trees.brackets: told_of
# trees.grammar: decide_grammar
# trees.grammar: divided
# trees.grammar: grammar_by
# trees.grammar: grammar_gradient
# trees.grammar: grammar_log_prob
# trees.grammar: grammar_save
# trees.grammar: grammar_shapes
# trees.grammar: grammar_sums
# trees.grammar: grammar_total
# trees.grammar: inside_pass
# trees.grammar: leaf_rules
# trees.grammar: leaf_tables
# trees.grammar: nothing
# trees.grammar: outside_pass
# trees.grammar: raised
# trees.grammar: rows
# trees.grammar: rows_of
# trees.grammar: times
# trees.grammar: ways
# trees.grammar: within
# trees.phrases: Phrased
# trees.phrases: best_parse
# trees.phrases: drawn_parse
# trees.phrases: in_preorder
# trees.phrases: one_parse
# vectors: NormalVectorLogProb
# vectors: normal_vector_log_prob
# vectors: standard_normal_vector_log_prob


class Rules(nn.Module):
    """(z: real[Z]) → (root: simplex[NT], rule: real[NT, NT + PT, NT + PT]): mlp([64])."""

    def __init__(self, NT: int, PT: int, Z: int):
        super().__init__()
        self.NT = NT
        self.PT = PT
        self.mlp = nn.Sequential(nn.Linear(Z, 64), nn.ReLU())
        self.out = nn.Linear(64, NT + NT * (NT + PT) * (NT + PT))

    def features(self, z: Tensor) -> Tensor:
        """z (*B, Z) → (*B, 64)."""
        return self.mlp(z)

    def forward(self, z: Tensor) -> tuple[Tensor, ...]:
        """root (*B, NT) unnormalised log-probabilities, rule (*B, NT, NT + PT, NT + PT)."""
        root, rule_ = self.out(self.features(z)).split((self.NT, self.NT * (self.NT + self.PT) * (self.NT + self.PT)), -1)
        return root, rule_.unflatten(-1, (self.NT, self.NT + self.PT, self.NT + self.PT))


class Word(nn.Module):
    """(p: category[PT], z: real[Z]) → simplex[V]: mlp([64])."""

    def __init__(self, PT: int, Z: int, V: int):
        super().__init__()
        self.from_p = OneHotLinear(PT, 64)
        self.from_z = nn.Linear(Z, 64)
        self.mlp = nn.Sequential(nn.ReLU(inplace=True))
        self.out = nn.Linear(64, V)

    def features(self, p: Tensor, z: Tensor) -> Tensor:
        """p (*B), z (*B, Z) → (*B, 64)."""
        return self.mlp(self.from_p(p) + self.from_z(z))

    def forward(self, p: Tensor, z: Tensor) -> Tensor:
        """(*B, V) unnormalised log-probabilities."""
        return self.out(self.features(p, z))


class Encode(nn.Module):
    """(words: token[V]*) → (loc: real[Z], scale: positive[Z]): embed(64) |> lstm(hidden=64, bidirectional) |> mean."""

    def __init__(self, Z: int, V: int):
        super().__init__()
        self.embed = nn.Embedding(V, 64)
        self.lstm = Bidirectional("LSTM", 64, 64)
        self.out = nn.Linear(128, 2 * Z)

    def features(self, words: Tensor, words_mask: Tensor | None = None) -> Tensor:
        """words (*B, T) → (*B, 128)."""
        return masked_mean(self.lstm(self.embed(words), words_mask), words_mask)

    def forward(self, words: Tensor, words_mask: Tensor | None = None) -> tuple[Tensor, ...]:
        """loc (*B, Z), scale (*B, Z) before softplus."""
        loc, scale = self.out(self.features(words, words_mask=words_mask)).chunk(2, -1)
        return loc, scale.contiguous()  # torch's softplus is slow on slices


class CompoundPcfg(nn.Module):
    """Batch: x (sentence, i) token[V]; x_len (sentence)."""

    exact = False
    estimator = "elbo(samples=1)"

    def __init__(self, V: int, NT: int = 8, PT: int = 16, Z: int = 16):
        super().__init__()
        self.PT = PT
        self.Z = Z
        self.rules = Rules(NT, PT, Z)
        self.word = Word(PT, Z, V)
        self.encode = Encode(Z, V)
        self.register_buffer("one", torch.ones(()), persistent=False)  # its dtype and device are the module's
        keep_pages()

    def log_prob(self, batch: dict[str, Tensor]) -> Tensor:
        """A lower bound on log p of each row (sentence,), in nats."""
        batch = with_room(batch)
        x = batch["x"]  # (sentence, i)
        x_len = batch["x_len"]  # (sentence,)
        inside_i = torch.arange(x.shape[1], device=self.one.device) < x_len[:, None]  # (sentence, i)
        encode_loc, encode_scale_raw = self.encode(x, words_mask=inside_i)  # (sentence, Z)
        encode_scale = F.softplus(encode_scale_raw)  # (sentence, Z)
        z = encode_loc + encode_scale * torch.randn_like(encode_loc)  # (sentence, Z)
        rules_root_raw, rules_rule = self.rules(z)  # (sentence, NT), (sentence, NT, NT + PT, NT + PT')
        log_sum_t_right = log_sum_exp(rules_rule.flatten(-2))  # (sentence, t_parent)
        difference = rules_rule - log_sum_t_right[:, :, None, None]  # (sentence, t_parent, t_left, t_right)
        at_t = torch.arange(self.PT, device=self.one.device)  # (t,)
        word_raw = self.word(at_t, z[:, None])  # (sentence, t, V)
        log_word = word_raw.log_softmax(-1)  # (sentence, t, V)
        log_x = pick_last(log_word[:, None], x[:, :, None])  # (sentence, i, t)
        log_rules_root = rules_root_raw.log_softmax(-1)  # (sentence, NT)
        grammar = grammar_log_prob(log_rules_root, difference, log_x, x_len)  # (sentence,)
        kl_z = kl_normal_standard_vector(encode_loc, encode_scale)  # (sentence,)
        return grammar - kl_z  # (sentence,)

    def loss(self, batch: dict[str, Tensor], num_data: int) -> Tensor:
        """Minibatch estimate of -log p(data): (N/M) Σ over the rows of the batch."""
        log_prob = self.log_prob(batch)
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
        rules_root_raw, rules_rule = self.rules(z)  # (s*, sentence, NT), (s*, sentence, NT, NT + PT, NT + PT')
        log_sum_t_right = log_sum_exp(rules_rule.flatten(-2))  # (s*, sentence, t_parent)
        difference = rules_rule - log_sum_t_right[:, :, :, None, None]  # (s*, sentence, t_parent, t_left, t_right)
        at_t = torch.arange(self.PT, device=self.one.device)  # (t,)
        word_raw = self.word(at_t, z[:, :, None])  # (s*, sentence, t, V)
        log_word = word_raw.log_softmax(-1)  # (s*, sentence, t, V)
        log_x = pick_last(log_word[:, :, None], x[:, :, None])  # (s*, sentence, i, t)
        log_rules_root = rules_root_raw.log_softmax(-1)  # (s*, sentence, NT)
        grammar = grammar_log_prob(log_rules_root, difference, log_x, x_len)  # (s*, sentence)
        log_p_z = standard_normal_vector_log_prob(z)  # (s*, sentence)
        log_q_z = normal_vector_log_prob(z, encode_loc, encode_scale)  # (s*, sentence)
        return log_p_z - log_q_z + grammar  # (s*, sentence)

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
        at_t = torch.arange(self.PT, device=self.one.device)  # (t,)
        word_raw = self.word(at_t, z[:, None])  # (sentence, t, V)
        log_word = word_raw.log_softmax(-1)  # (sentence, t, V)
        log_x = pick_last(log_word[:, None], x[:, :, None])  # (sentence, i, t)
        rules_root_raw, rules_rule = self.rules(z)  # (sentence, NT), (sentence, NT, NT + PT, NT + PT')
        log_sum_t_right = log_sum_exp(rules_rule.flatten(-2))  # (sentence, t_parent)
        difference = rules_rule - log_sum_t_right[:, :, None, None]  # (sentence, t_parent, t_left, t_right)
        log_rules_root = rules_root_raw.log_softmax(-1)  # (sentence, NT)
        grammar = grammar_total(total, log_rules_root, difference, log_x + tilt["t"], x_len)  # (sentence,)
        kl_z = kl_normal_standard_vector(encode_loc, encode_scale)  # (sentence,)
        return grammar - kl_z  # (sentence,)

    def unknowns(self, batch: dict[str, Tensor]) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """A tilt of nothing for each latent, and which of its elements count where rows differ in length."""
        x_len = batch["x_len"]  # (sentence,)
        x = batch["x"]  # (sentence, i)
        value = self.one.new_zeros(x_len.shape[0], x.shape[1], self.PT)  # (sentence, i, t)
        inside_i = torch.arange(x.shape[1], device=self.one.device) < x_len[:, None]  # (sentence, i)
        return {"t": value}, {"t": inside_i}

    @torch.no_grad()
    def posterior(self, batch: dict[str, Tensor], query: str = "marginals") -> dict:
        """Exact posteriors of the summed latents, and the guides of the drawn ones.

        query: "marginals", probabilities with the values last; "mode", the best joint assignment; "kbest(5)", the five best;
        "sample", a draw; "entropy", in nats, of each value and of all together.
        "tree": the best parse, its nodes in preorder, each by first element, last element and label.
        "tree(sample)": a parse that is drawn.
        t: parse[i, NT, PT], (sentence, i).
        z: real[Z], (sentence).
        """
        batch = with_room(batch)
        if query.startswith("kbest("):
            raise ValueError("the k best parses are not told by their preterminals; queries are marginals, mode, tree, tree(sample), sample, entropy, kl")
        if query == "tree":
            return {"t": best_parse(self.tilted, batch, *self.unknowns(batch), "t")}
        if query == "tree(sample)":
            return {"t": drawn_parse(self.tilted, batch, *self.unknowns(batch), "t")}
        zeros, inside = self.unknowns(batch)
        found = ask(self, batch, query, zeros, inside)
        return found | self.guides(batch)

    @torch.no_grad()
    def generate(self, n: int, batch: dict[str, Tensor], lengths: dict[str, Tensor], rule: str) -> dict[str, Tensor]:
        """Every variable, each after those that its law reads; observed ones by the rule, latent ones drawn."""
        i_size = max(int(lengths["i"].max()), 1)
        z = self.one.new_empty(n, self.Z).normal_()  # (sentence, Z)
        rules_root_raw, rules_rule = self.rules(z)  # (sentence, NT), (sentence, NT, NT + PT, NT + PT')
        log_sum_t_right = log_sum_exp(rules_rule.flatten(-2))  # (sentence, t_parent)
        difference = rules_rule - log_sum_t_right[:, :, None, None]  # (sentence, t_parent, t_left, t_right)
        log_rules_root = rules_root_raw.log_softmax(-1)  # (sentence, NT)
        value = self.one.new_zeros(n, i_size, self.PT)  # (sentence, i, PT)
        t = decide_grammar(log_rules_root, difference, value, length=lengths["i"], rule='sample')  # (sentence, i, 4)
        t_2 = t[:, :, 0]  # (sentence, i)
        inside_i = torch.arange(i_size, device=self.one.device) < lengths["i"][:, None]  # (sentence, i)
        t_padded = torch.where(inside_i, t_2, 0)  # (sentence, i)
        word = self.word(t_2, z[:, None])  # (sentence, i, V)
        x = decide(torch.distributions.Categorical(logits=word).expand((n, i_size)), rule, False)  # (sentence, i)
        x_padded = up_to_the_ends(x, inside_i)  # (sentence, i)
        return {"z": z, "t": t_padded, "x": x_padded, "x_len": lengths["i"]}

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
        rows, kinds = len(next(iter(batch.values()))), {"x": "probabilities"}
        return predictive(lambda by: self.generate(rows, batch, {"i": batch["x_len"]}, by), kinds, rule, samples)

    def forward(self, batch: dict[str, Tensor]) -> Tensor:
        """log_prob of the batch."""
        return self.log_prob(batch)
