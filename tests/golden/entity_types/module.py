"""EntityTypes: emitted by vispec from entity_types.vispec; imports torch and nothing else.

    log_prob: exact

    log_w_by_entity = product over mention by entity of log_w
    sum_kind = log-sum-exp over kind of log_kind, log_number, log_w_by_entity
    sum_kind_over_entity = product over entity of sum_kind

    kind    summed; discrete; independent in each element of its plates
    number  data; scored at the data
    e       data; given by the data
    w       data; scored at the data
"""

import torch
from torch import Tensor, nn
# backward: first_derivative
# constraints: in_domain
# heap: keep_pages
# rows: up_to_the_ends
# rows: with_room
# starts: by_group
# starts: by_group_among
# starts: kept
# sums.algebra: Maximum
# sums.algebra: Sampled
# sums.algebra: maximum
# sums.algebra: sampled
# sums.enumeration: seeded
# sums.logsum: LogSumExp
# sums.logsum: impossible_alone
# sums.logsum: log_sum_exp
# sums.lookup: columns
# sums.lookup: pick_last
# sums.scatter: add_by_index
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


def bernoulli_log_prob(value: torch.Tensor, logit: torch.Tensor) -> torch.Tensor:
    """log P(value) of a bit with log-odds `logit`, elementwise; log-odds of ±inf make one value certain, the other -inf."""
    return torch.nn.functional.logsigmoid((2 * value - 1) * logit)


def bernoulli_start(value: torch.Tensor) -> tuple[torch.Tensor]:
    """Share of ones among elements (N, *event), with one more of either kind."""
    return ((value.sum(0) + 1) / (len(value) + 2),)


def categorical_start(value: torch.Tensor, size: int) -> tuple[torch.Tensor]:
    """Frequencies (*event, size) of elements (N, *event), with one more of each kind."""
    flat = value.reshape(len(value), -1)
    count = torch.stack([torch.bincount(column, minlength=size) for column in flat.unbind(1)])
    return (((count + 1.0) / (len(value) + size)).reshape(*value.shape[1:], size),)


class EntityTypes(nn.Module):
    """Batch:
        number (doc, entity) bit
        e (doc, mention) index[entity]
        w (doc, mention) token[V]
        number_len (doc)
        e_len (doc)
    """

    exact = True
    estimator = "exact"
    sums = ("sum_kind = log-sum-exp over kind of log_kind, log_number, tilt_kind, log_w_by_entity",)

    def __init__(self, V: int, K: int = 10):
        super().__init__()
        self.K = K
        self.V = V
        self.raw_prior = nn.Parameter(torch.zeros(K))  # (K)
        self.raw_several = nn.Parameter(torch.randn(K) * 0.1)  # (k)
        self.raw_emit = nn.Parameter(torch.randn(K, V) * 0.1)  # (k, V)
        self.register_buffer("one", torch.ones(()), persistent=False)  # its dtype and device are the module's
        keep_pages()

    @property
    def prior(self) -> Tensor:
        """simplex[K]."""
        return self.raw_prior.softmax(-1)

    @prior.setter
    def prior(self, value: Tensor) -> None:
        with torch.no_grad():
            raw = value.log()
            self.raw_prior.copy_(in_domain(raw, raw.softmax(-1), value))

    @property
    def several(self) -> Tensor:
        """unit, one for each element of k."""
        return torch.sigmoid(self.raw_several)

    @several.setter
    def several(self, value: Tensor) -> None:
        with torch.no_grad():
            raw = torch.logit(value)
            self.raw_several.copy_(in_domain(raw, torch.sigmoid(raw), value))

    @property
    def emit(self) -> Tensor:
        """simplex[V], one for each element of k."""
        return self.raw_emit.softmax(-1)

    @emit.setter
    def emit(self, value: Tensor) -> None:
        with torch.no_grad():
            raw = value.log()
            self.raw_emit.copy_(in_domain(raw, raw.softmax(-1), value))

    def log_prob(self, batch: dict[str, Tensor]) -> Tensor:
        """log p of each row (doc,), exact, in nats."""
        batch = with_room(batch)
        w = batch["w"]  # (doc, mention)
        e_len = batch["e_len"]  # (doc,)
        inside_mention = torch.arange(w.shape[1], device=self.one.device) < e_len[:, None]  # (doc, mention)
        log_emit = self.raw_emit.log_softmax(-1)  # (kind[entity], V)
        log_w = columns(log_emit, w)  # (doc, mention, kind[entity])
        log_w_2 = torch.where(inside_mention[:, :, None], log_w, 0.0)  # (doc, mention, kind)
        e = batch["e"]  # (doc, mention)
        e_2 = torch.where(inside_mention, e, 0)  # (doc, mention)
        number = batch["number"]  # (doc, entity)
        add = add_by_index(log_w_2, e_2, size=number.shape[1], rest=1)  # (doc, entity, kind)
        log_number = bernoulli_log_prob(number[:, :, None], self.raw_several)  # (doc, entity, kind)
        log_prior = self.raw_prior.log_softmax(-1)  # (K,)
        log_sum_kind = log_sum_exp(log_prior + log_number + add)  # (doc, entity)
        number_len = batch["number_len"]  # (doc,)
        inside_entity = torch.arange(number.shape[1], device=self.one.device) < number_len[:, None]  # (doc, entity)
        sum_entity = torch.where(inside_entity, log_sum_kind, 0.0).sum(-1)  # (doc,)
        return impossible_alone(sum_entity)  # (doc,)

    def loss(self, batch: dict[str, Tensor], num_data: int) -> Tensor:
        """Minibatch estimate of -log p(data): (N/M) Σ over the rows of the batch."""
        log_prob = self.log_prob(batch)
        return log_prob.sum() * (-num_data / len(log_prob))

    def tilted(self, batch: dict[str, Tensor], total, tilt: dict[str, Tensor]) -> Tensor:
        """log p of each row with `tilt` added to the latents' log-joint and `total` for sums; its gradient answers a query."""
        batch = with_room(batch)
        w = batch["w"]  # (doc, mention)
        e_len = batch["e_len"]  # (doc,)
        inside_mention = torch.arange(w.shape[1], device=self.one.device) < e_len[:, None]  # (doc, mention)
        log_emit = self.raw_emit.log_softmax(-1)  # (kind[entity], V)
        log_w = columns(log_emit, w)  # (doc, mention, kind[entity])
        log_w_2 = torch.where(inside_mention[:, :, None], log_w, 0.0)  # (doc, mention, kind)
        e = batch["e"]  # (doc, mention)
        e_2 = torch.where(inside_mention, e, 0)  # (doc, mention)
        number = batch["number"]  # (doc, entity)
        add = add_by_index(log_w_2, e_2, size=number.shape[1], rest=1)  # (doc, entity, kind)
        log_number = bernoulli_log_prob(number[:, :, None], self.raw_several)  # (doc, entity, kind)
        log_prior = self.raw_prior.log_softmax(-1)  # (K,)
        log_joint = log_prior + log_number + tilt["kind"] + add  # (doc, entity, kind)
        log_sum_kind = total(log_joint)  # (doc, entity)
        number_len = batch["number_len"]  # (doc,)
        inside_entity = torch.arange(number.shape[1], device=self.one.device) < number_len[:, None]  # (doc, entity)
        return torch.where(inside_entity, log_sum_kind, 0.0).sum(-1)  # (doc,)

    def unknowns(self, batch: dict[str, Tensor]) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """A tilt of nothing for each latent, and which of its elements count where rows differ in length."""
        number_len = batch["number_len"]  # (doc,)
        number = batch["number"]  # (doc, entity)
        value = self.one.new_zeros(number_len.shape[0], number.shape[1], self.K)  # (doc, entity, kind)
        inside_entity = torch.arange(number.shape[1], device=self.one.device) < number_len[:, None]  # (doc, entity)
        return {"kind": value}, {"kind": inside_entity}

    @torch.no_grad()
    def posterior(self, batch: dict[str, Tensor], query: str = "marginals", other: nn.Module | None = None) -> dict:
        """Exact posteriors of the summed latents, and the guides of the drawn ones.

        query: "marginals", probabilities with the values last; "mode", the best joint assignment; "kbest(5)", the five best;
        "sample", a draw; "entropy", in nats, of each value and of all together; "kl", the divergence from that of `other`.
        kind: index[k], (doc, entity).
        """
        batch = with_room(batch)
        return ask(self, batch, query, *self.unknowns(batch), other=other)

    @torch.no_grad()
    def initialise(self, batch: dict[str, Tensor]) -> None:
        """Start parameters at what the batch shows of their laws. Latents that the batch does not show are guessed."""
        batch = with_room(batch)
        number = batch["number"]  # (doc, entity)
        kind = torch.randint(self.K, (number.shape[0], number.shape[1]), device=self.one.device)  # (doc, entity)
        number_len = batch["number_len"]  # (doc,)
        inside_entity = torch.arange(number.shape[1], device=self.one.device) < number_len[:, None]  # (doc, entity)
        several = by_group_among(bernoulli_start, number, 2, (kind,), (self.several,), inside=inside_entity)[0]  # (k,)
        e = batch["e"]  # (doc, mention)
        kind_at = kind.gather(-1, e)  # (doc, mention)
        w = batch["w"]  # (doc, mention)
        e_len = batch["e_len"]  # (doc,)
        inside_mention = torch.arange(w.shape[1], device=self.one.device) < e_len[:, None]  # (doc, mention)
        emit = by_group_among(categorical_start, w, 2, (kind_at,), (self.emit,), self.V, inside=inside_mention)[0]  # (k, V)
        self.several = several
        self.raw_several += torch.randn_like(self.raw_several)
        self.emit = emit
        self.raw_emit += torch.randn_like(self.raw_emit)

    @torch.no_grad()
    def generate(self, n: int, batch: dict[str, Tensor], lengths: dict[str, Tensor], rule: str) -> dict[str, Tensor]:
        """Every variable, each after those that its law reads; observed ones by the rule, latent ones drawn."""
        batch = with_room(batch)
        entity_size = max(int(lengths["entity"].max()), 1)
        inside_entity = torch.arange(entity_size, device=self.one.device) < lengths["entity"][:, None]  # (doc, entity)
        kind = torch.distributions.Categorical(logits=self.raw_prior).expand((n, entity_size)).sample()  # (doc, entity)
        kind_padded = torch.where(inside_entity, kind, 0)  # (doc, entity)
        several = self.raw_several.sigmoid()  # (k,)
        several_at = pick_last(several, kind)  # (doc, entity)
        number = decide(torch.distributions.Bernoulli(probs=several_at).expand((n, entity_size)), rule, False)  # (doc, entity)
        number_padded = up_to_the_ends(number, inside_entity)  # (doc, entity)
        e = batch["e"]  # (doc, mention)
        kind_at = kind.gather(-1, e)  # (doc, mention)
        emit = self.raw_emit.softmax(-1)  # (k, V)
        emit_at = emit[kind_at]  # (doc, mention, V)
        w = decide(torch.distributions.Categorical(probs=emit_at).expand((n, e.shape[1])), rule, False)  # (doc, mention)
        e_len = batch["e_len"]  # (doc,)
        inside_mention = torch.arange(e.shape[1], device=self.one.device) < e_len[:, None]  # (doc, mention)
        w_padded = up_to_the_ends(w, inside_mention)  # (doc, mention)
        return {
            "kind": kind_padded, "number": number_padded, "e": e, "w": w_padded, "number_len": lengths["entity"], "e_len": e_len
        }

    @torch.no_grad()
    def sample(self, n: int, batch: dict | None = None, lengths: dict | None = None) -> dict[str, Tensor]:
        """n rows of every variable, latents too, drawn in the order of the model; `batch` holds e.

        lengths: for each ragged plate that the batch does not size, how many elements each row has (n,).
        """
        missing = [plate for plate in ("entity",) if plate not in (lengths or {})]
        if missing:
            raise ValueError(f"lengths must say how many elements each row has of {', '.join(missing)}")
        return self.generate(n, batch or {}, lengths or {}, "sample")

    @torch.no_grad()
    def predict(self, batch: dict[str, Tensor], rule: str = "mean", samples: int = 100) -> dict[str, Tensor]:
        """Each observed variable, from what is given, over so many draws of the latents.

        rule: "mean", "mode" or "sample". The mean of a categorical variable is its probabilities, its mode the likeliest
        value under them. What is read again is at its mode in one draw; a sample is one draw of all.
        """
        rows, kinds = len(batch["e"]), {"number": "bit", "w": "probabilities"}
        return predictive(lambda by: self.generate(rows, batch, {"entity": batch["number_len"]}, by), kinds, rule, samples)

    def forward(self, batch: dict[str, Tensor]) -> Tensor:
        """log_prob of the batch."""
        return self.log_prob(batch)
