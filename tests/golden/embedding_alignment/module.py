"""EmbeddingAlignment: emitted by vispec from embedding_alignment.vispec; imports torch and nothing else.

    log_prob: a bound or estimate, elbo(samples=1)

    kl_z_over_j = product over j of kl_z
    log_y_over_j = product over j of log_y
    sum_a = log-sum-exp over a of log_a, log_x
    sum_a_over_i = product over i of sum_a
    total = product of kl_z_over_j, log_y_over_j, sum_a_over_i

    z  elbo(samples=1); continuous; guide Normal
    y  data; scored at the data
    a  summed; discrete; independent in each element of its plates
    x  data; scored at the data
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F
# backward: first_derivative
# draws.kl: KlNormalStandard
# draws.kl: kl_normal_standard_vector
# heap: keep_pages
# layers.recurrent: Bidirectional
# layers.recurrent: Recurrent
# layers.recurrent: reverse
# rows: up_to_the_ends
# rows: with_room
# sums.algebra: Maximum
# sums.algebra: Sampled
# sums.algebra: maximum
# sums.algebra: sampled
# sums.enumeration: seeded
# sums.logsum: LogSumExp
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
# vectors: NormalVectorLogProb
# vectors: normal_vector_log_prob
# vectors: standard_normal_vector_log_prob


class Own(nn.Module):
    """(z: real[Z]) → simplex[EN]: linear(EN)."""

    def __init__(self, Z: int, EN: int):
        super().__init__()
        self.linear = nn.Linear(Z, EN)
        self.out = nn.Linear(EN, EN)

    def features(self, z: Tensor) -> Tensor:
        """z (*B, Z) → (*B, EN)."""
        return self.linear(z)

    def forward(self, z: Tensor) -> Tensor:
        """(*B, EN) unnormalised log-probabilities."""
        return self.out(self.features(z))


class Other(nn.Module):
    """(z: real[Z]) → simplex[FR]: linear(FR)."""

    def __init__(self, Z: int, FR: int):
        super().__init__()
        self.linear = nn.Linear(Z, FR)
        self.out = nn.Linear(FR, FR)

    def features(self, z: Tensor) -> Tensor:
        """z (*B, Z) → (*B, FR)."""
        return self.linear(z)

    def forward(self, z: Tensor) -> Tensor:
        """(*B, FR) unnormalised log-probabilities."""
        return self.out(self.features(z))


class Encode(nn.Module):
    """(words: token[EN]*) → real[64]*: gru(embed=64, hidden=64, bidirectional)."""

    def __init__(self, EN: int):
        super().__init__()
        self.embed = nn.Embedding(EN, 64)
        self.gru = Bidirectional("GRU", 64, 64)
        self.out = nn.Linear(128, 64)

    def features(self, words: Tensor, words_mask: Tensor | None = None) -> Tensor:
        """words (*B, T) → (*B, T, 128)."""
        return self.gru(self.embed(words), words_mask)

    def forward(self, words: Tensor, words_mask: Tensor | None = None) -> Tensor:
        """(*B, T, 64)."""
        return self.out(self.features(words, words_mask=words_mask))


class Code(nn.Module):
    """(state: real[64]) → (loc: real[Z], scale: positive[Z]): mlp([64])."""

    def __init__(self, Z: int):
        super().__init__()
        self.mlp = nn.Sequential(nn.Linear(64, 64), nn.ReLU())
        self.out = nn.Linear(64, 2 * Z)

    def features(self, state: Tensor) -> Tensor:
        """state (*B, 64) → (*B, 64)."""
        return self.mlp(state)

    def forward(self, state: Tensor) -> tuple[Tensor, ...]:
        """loc (*B, Z), scale (*B, Z) before softplus."""
        loc, scale = self.out(self.features(state)).chunk(2, -1)
        return loc, scale.contiguous()  # torch's softplus is slow on slices


class EmbeddingAlignment(nn.Module):
    """Batch: y (pair, j) token[EN]; x (pair, i) token[FR]; y_len (pair); x_len (pair)."""

    exact = False
    estimator = "elbo(samples=1)"

    def __init__(self, EN: int, FR: int, Z: int = 64):
        super().__init__()
        self.Z = Z
        self.own = Own(Z, EN)
        self.other = Other(Z, FR)
        self.encode = Encode(EN)
        self.code = Code(Z)
        self.kl_weight = 1.0
        self.register_buffer("one", torch.ones(()), persistent=False)  # its dtype and device are the module's
        keep_pages()

    def log_prob(self, batch: dict[str, Tensor]) -> Tensor:
        """A lower bound on log p of each row (pair,), in nats."""
        batch = with_room(batch)
        y = batch["y"]  # (pair, j)
        y_len = batch["y_len"]  # (pair,)
        inside_j = torch.arange(y.shape[1], device=self.one.device) < y_len[:, None]  # (pair, j)
        h = self.encode(y, words_mask=inside_j)  # (pair, j, 64)
        code_loc, code_scale_raw = self.code(h)  # (pair, j, Z)
        code_scale = F.softplus(code_scale_raw)  # (pair, j, Z)
        z = code_loc + code_scale * torch.randn_like(code_loc)  # (pair, j, Z)
        other_raw = self.other(z)  # (pair, a, FR)
        log_other = other_raw.log_softmax(-1)  # (pair, a, FR)
        x = batch["x"]  # (pair, i)
        log_x = pick_last(log_other[:, None], x[:, :, None])  # (pair, i, a)
        log_a = -y_len.to(self.one.dtype).log()  # (pair,)
        log_a_2 = torch.where(inside_j, log_a[:, None], -torch.inf)  # (pair, a)
        log_sum_a = log_sum_exp(log_a_2[:, None] + log_x)  # (pair, i)
        x_len = batch["x_len"]  # (pair,)
        inside_i = torch.arange(x.shape[1], device=self.one.device) < x_len[:, None]  # (pair, i)
        sum_i = torch.where(inside_i, log_sum_a, 0.0).sum(-1)  # (pair,)
        kl_z = kl_normal_standard_vector(code_loc, code_scale)  # (pair, j)
        value = torch.where(inside_j, -(self.kl_weight * kl_z), 0.0)  # (pair, j)
        log_y = vocabulary_log_prob(self.own.features(z), self.own.out, y, inside_j)  # (pair, j)
        return value.sum(-1) + log_y.sum(-1) + sum_i  # (pair,)

    def loss(self, batch: dict[str, Tensor], num_data: int) -> Tensor:
        """Minibatch estimate of -log p(data): (N/M) Σ over the rows of the batch."""
        log_prob = self.log_prob(batch)
        return log_prob.sum() * (-num_data / len(log_prob))

    @torch.no_grad()
    def log_weights(self, batch: dict[str, Tensor], samples: int) -> Tensor:
        """log p(row, latents) − log q(latents) at draws of the latents, (samples, pair)."""
        batch = with_room(batch)
        y = batch["y"]  # (pair, j)
        y_len = batch["y_len"]  # (pair,)
        inside_j = torch.arange(y.shape[1], device=self.one.device) < y_len[:, None]  # (pair, j)
        h = self.encode(y, words_mask=inside_j)  # (pair, j, 64)
        code_loc, code_scale_raw = self.code(h)  # (pair, j, Z)
        code_scale = F.softplus(code_scale_raw)  # (pair, j, Z)
        noise_z = self.one.new_empty(samples, y_len.shape[0], y.shape[1], self.Z).normal_()  # (s*, pair, j, Z)
        z = code_loc + code_scale * noise_z  # (s*, pair, j, Z)
        other_raw = self.other(z)  # (s*, pair, a, FR)
        log_other = other_raw.log_softmax(-1)  # (s*, pair, a, FR)
        x = batch["x"]  # (pair, i)
        log_x = pick_last(log_other[:, :, None], x[:, :, None])  # (s*, pair, i, a)
        log_a = -y_len.to(self.one.dtype).log()  # (pair,)
        log_a_2 = torch.where(inside_j, log_a[:, None], -torch.inf)  # (pair, a)
        log_sum_a = log_sum_exp(log_a_2[:, None] + log_x)  # (s*, pair, i)
        x_len = batch["x_len"]  # (pair,)
        inside_i = torch.arange(x.shape[1], device=self.one.device) < x_len[:, None]  # (pair, i)
        sum_i = torch.where(inside_i, log_sum_a, 0.0).sum(-1)  # (s*, pair)
        log_p_z = standard_normal_vector_log_prob(z)  # (s*, pair, j)
        log_q_z = normal_vector_log_prob(z, code_loc, code_scale)  # (s*, pair, j)
        value = torch.where(inside_j, log_p_z - log_q_z, 0.0)  # (s*, pair, j)
        log_y = vocabulary_log_prob(self.own.features(z), self.own.out, y, inside_j, alike=False)  # (s*, pair, j)
        return value.sum(-1) + log_y.sum(-1) + sum_i  # (s*, pair)

    @torch.no_grad()
    def divergences(self, batch: dict[str, Tensor], samples: int) -> dict[str, tuple[Tensor, Tensor | None]]:
        """Of z: log p − log q (samples, pair) at draws from the guide, and the draws, samples first."""
        batch = with_room(batch)
        y = batch["y"]  # (pair, j)
        y_len = batch["y_len"]  # (pair,)
        inside_j = torch.arange(y.shape[1], device=self.one.device) < y_len[:, None]  # (pair, j)
        h = self.encode(y, words_mask=inside_j)  # (pair, j, 64)
        code_loc, code_scale_raw = self.code(h)  # (pair, j, Z)
        code_scale = F.softplus(code_scale_raw)  # (pair, j, Z)
        noise_z = self.one.new_empty(samples, y_len.shape[0], y.shape[1], self.Z).normal_()  # (s*, pair, j, Z)
        z = code_loc + code_scale * noise_z  # (s*, pair, j, Z)
        log_p_z = standard_normal_vector_log_prob(z)  # (s*, pair, j)
        log_q_z = normal_vector_log_prob(z, code_loc, code_scale)  # (s*, pair, j)
        value = torch.where(inside_j, log_p_z - log_q_z, 0.0)  # (s*, pair, j)
        return {"z": (value.sum(-1), None)}

    @torch.no_grad()
    def guides(self, batch: dict[str, Tensor]) -> dict[str, dict[str, Tensor]]:
        """The parameters of the guides of z; drawn latents are read at their locations."""
        batch = with_room(batch)
        y = batch["y"]  # (pair, j)
        y_len = batch["y_len"]  # (pair,)
        inside_j = torch.arange(y.shape[1], device=self.one.device) < y_len[:, None]  # (pair, j)
        h = self.encode(y, words_mask=inside_j)  # (pair, j, 64)
        code_loc, code_scale_raw = self.code(h)  # (pair, j, Z)
        return {"z": {"loc": code_loc, "scale": F.softplus(code_scale_raw)}}

    def tilted(self, batch: dict[str, Tensor], total, tilt: dict[str, Tensor]) -> Tensor:
        """log p of each row with `tilt` added to the latents' log-joint and `total` for sums; its gradient answers a query."""
        batch = with_room(batch)
        y = batch["y"]  # (pair, j)
        y_len = batch["y_len"]  # (pair,)
        inside_j = torch.arange(y.shape[1], device=self.one.device) < y_len[:, None]  # (pair, j)
        h = self.encode(y, words_mask=inside_j)  # (pair, j, 64)
        code_loc, code_scale_raw = self.code(h)  # (pair, j, Z)
        code_scale = F.softplus(code_scale_raw)  # (pair, j, Z)
        z = code_loc + code_scale * torch.randn_like(code_loc)  # (pair, j, Z)
        other_raw = self.other(z)  # (pair, a, FR)
        log_other = other_raw.log_softmax(-1)  # (pair, a, FR)
        x = batch["x"]  # (pair, i)
        log_x = pick_last(log_other[:, None], x[:, :, None])  # (pair, i, a)
        log_a = -y_len.to(self.one.dtype).log()  # (pair,)
        log_joint = log_a[:, None, None] + log_x + tilt["a"]  # (pair, i, a)
        log_joint_2 = torch.where(inside_j[:, None], log_joint, -torch.inf)  # (pair, i, a)
        log_sum_a = total(log_joint_2)  # (pair, i)
        x_len = batch["x_len"]  # (pair,)
        inside_i = torch.arange(x.shape[1], device=self.one.device) < x_len[:, None]  # (pair, i)
        sum_i = torch.where(inside_i, log_sum_a, 0.0).sum(-1)  # (pair,)
        kl_z = kl_normal_standard_vector(code_loc, code_scale)  # (pair, j)
        value = torch.where(inside_j, -(self.kl_weight * kl_z), 0.0)  # (pair, j)
        log_y = vocabulary_log_prob(self.own.features(z), self.own.out, y, inside_j)  # (pair, j)
        return value.sum(-1) + log_y.sum(-1) + sum_i  # (pair,)

    def unknowns(self, batch: dict[str, Tensor]) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """A tilt of nothing for each latent, and which of its elements count where rows differ in length."""
        x_len = batch["x_len"]  # (pair,)
        x = batch["x"]  # (pair, i)
        y = batch["y"]  # (pair, j)
        value = self.one.new_zeros(x_len.shape[0], x.shape[1], y.shape[1])  # (pair, i, a)
        inside_i = torch.arange(x.shape[1], device=self.one.device) < x_len[:, None]  # (pair, i)
        return {"a": value}, {"a": inside_i}

    @torch.no_grad()
    def posterior(self, batch: dict[str, Tensor], query: str = "marginals") -> dict:
        """Exact posteriors of the summed latents, and the guides of the drawn ones.

        query: "marginals", probabilities with the values last; "mode", the best joint assignment; "kbest(5)", the five best;
        "sample", a draw; "entropy", in nats, of each value and of all together.
        a: index[j], (pair, i).
        z: real[Z], (pair, j).
        """
        batch = with_room(batch)
        zeros, inside = self.unknowns(batch)
        found = ask(self, batch, query, zeros, inside)
        return found | self.guides(batch)

    @torch.no_grad()
    def generate(self, n: int, batch: dict[str, Tensor], lengths: dict[str, Tensor], rule: str) -> dict[str, Tensor]:
        """Every variable, each after those that its law reads; observed ones by the rule, latent ones drawn."""
        j_size = max(int(lengths["j"].max()), 1)
        i_size = max(int(lengths["i"].max()), 1)
        inside_j = torch.arange(j_size, device=self.one.device) < lengths["j"][:, None]  # (pair, j)
        z = self.one.new_empty(n, j_size, self.Z).normal_()  # (pair, j, Z)
        z_padded = torch.where(inside_j[:, :, None], z, 0.0)  # (pair, j, Z)
        own = self.own(z)  # (pair, j, EN)
        y = decide(torch.distributions.Categorical(logits=own).expand((n, j_size)), rule, True)  # (pair, j)
        y_padded = up_to_the_ends(y, inside_j)  # (pair, j)
        noise_a = self.one.new_empty(n, i_size).uniform_()  # (pair, i)
        a = (noise_a * lengths["j"][:, None]).long()  # (pair, i)
        inside_i = torch.arange(i_size, device=self.one.device) < lengths["i"][:, None]  # (pair, i)
        a_padded = torch.where(inside_i, a, 0)  # (pair, i)
        z_at = pick_last(z.transpose(-2, -1)[:, None], a[:, :, None])  # (pair, i, Z)
        other = self.other(z_at)  # (pair, i, FR)
        x = decide(torch.distributions.Categorical(logits=other).expand((n, i_size)), rule, False)  # (pair, i)
        x_padded = up_to_the_ends(x, inside_i)  # (pair, i)
        return {"z": z_padded, "y": y_padded, "a": a_padded, "x": x_padded, "y_len": lengths["j"], "x_len": lengths["i"]}

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
        rows, kinds = len(next(iter(batch.values()))), {"y": "draw", "x": "probabilities"}
        return predictive(lambda by: self.generate(rows, batch, {"j": batch["y_len"], "i": batch["x_len"]}, by), kinds, rule, samples)

    def forward(self, batch: dict[str, Tensor]) -> Tensor:
        """log_prob of the batch."""
        return self.log_prob(batch)
