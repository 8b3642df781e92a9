"""AnnotatorsLong: emitted by vispec from annotators_long.vispec; imports torch and nothing else.

    log_prob: exact

    log_label_over_rating = product over rating of log_label
    sum_truth = log-sum-exp over truth of log_truth, log_label_over_rating

    truth  summed; discrete; independent in each element of its plates
    who    data; given by the data
    label  data; scored at the data
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
# starts: clusters
# starts: frequencies
# starts: k_means
# starts: kept
# starts: nearest
# starts: standardised
# sums.algebra: Maximum
# sums.algebra: Sampled
# sums.algebra: maximum
# sums.algebra: sampled
# sums.enumeration: seeded
# sums.logsum: LogSumExp
# sums.logsum: log_sum_exp
# sums.lookup: cells
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


def categorical_start(value: torch.Tensor, size: int) -> tuple[torch.Tensor]:
    """Frequencies (*event, size) of elements (N, *event), with one more of each kind."""
    flat = value.reshape(len(value), -1)
    count = torch.stack([torch.bincount(column, minlength=size) for column in flat.unbind(1)])
    return (((count + 1.0) / (len(value) + size)).reshape(*value.shape[1:], size),)


class AnnotatorsLong(nn.Module):
    """Batch: who (item, rating) index[annotator]; label (item, rating) category[K]; who_len (item)."""

    exact = True
    estimator = "exact"
    sums = ("sum_truth = log-sum-exp over truth of log_truth, tilt_truth, log_label_over_rating",)

    def __init__(self, A: int, K: int = 4):
        super().__init__()
        self.K = K
        self.raw_prevalence = nn.Parameter(torch.zeros(K))  # (K)
        self.raw_confusion = nn.Parameter(torch.randn(A, K, K) * 0.1)  # (annotator, k, K)
        self.register_buffer("one", torch.ones(()), persistent=False)  # its dtype and device are the module's
        keep_pages()

    @property
    def prevalence(self) -> Tensor:
        """simplex[K]."""
        return self.raw_prevalence.softmax(-1)

    @prevalence.setter
    def prevalence(self, value: Tensor) -> None:
        with torch.no_grad():
            raw = value.log()
            self.raw_prevalence.copy_(in_domain(raw, raw.softmax(-1), value))

    @property
    def confusion(self) -> Tensor:
        """simplex[K], one for each element of annotator, k."""
        return self.raw_confusion.softmax(-1)

    @confusion.setter
    def confusion(self, value: Tensor) -> None:
        with torch.no_grad():
            raw = value.log()
            self.raw_confusion.copy_(in_domain(raw, raw.softmax(-1), value))

    def log_prob(self, batch: dict[str, Tensor]) -> Tensor:
        """log p of each row (item,), exact, in nats."""
        batch = with_room(batch)
        label = batch["label"]  # (item, rating)
        who_len = batch["who_len"]  # (item,)
        inside_rating = torch.arange(label.shape[1], device=self.one.device) < who_len[:, None]  # (item, rating)
        log_confusion = self.raw_confusion.log_softmax(-1)  # (annotator, truth, K)
        who = batch["who"]  # (item, rating)
        log_label = cells(log_confusion.transpose(-2, -1), who, label)  # (item, rating, truth)
        log_label_2 = torch.where(inside_rating[:, :, None], log_label, 0.0)  # (item, rating, truth)
        log_prevalence = self.raw_prevalence.log_softmax(-1)  # (K,)
        return log_sum_exp(log_prevalence + log_label_2.sum(1))  # (item,)

    def loss(self, batch: dict[str, Tensor], num_data: int) -> Tensor:
        """Minibatch estimate of -log p(data): (N/M) Σ over the rows of the batch."""
        log_prob = self.log_prob(batch)
        return log_prob.sum() * (-num_data / len(log_prob))

    def tilted(self, batch: dict[str, Tensor], total, tilt: dict[str, Tensor]) -> Tensor:
        """log p of each row with `tilt` added to the latents' log-joint and `total` for sums; its gradient answers a query."""
        batch = with_room(batch)
        label = batch["label"]  # (item, rating)
        who_len = batch["who_len"]  # (item,)
        inside_rating = torch.arange(label.shape[1], device=self.one.device) < who_len[:, None]  # (item, rating)
        log_confusion = self.raw_confusion.log_softmax(-1)  # (annotator, truth, K)
        who = batch["who"]  # (item, rating)
        log_label = cells(log_confusion.transpose(-2, -1), who, label)  # (item, rating, truth)
        log_label_2 = torch.where(inside_rating[:, :, None], log_label, 0.0)  # (item, rating, truth)
        log_prevalence = self.raw_prevalence.log_softmax(-1)  # (K,)
        total_ = log_prevalence + tilt["truth"] + log_label_2.sum(1)  # (item, truth)
        return total(total_)  # (item,)

    def unknowns(self, batch: dict[str, Tensor]) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """A tilt of nothing for each latent, and which of its elements count where rows differ in length."""
        who = batch["who"]  # (item, rating)
        return {"truth": self.one.new_zeros(who.shape[0], self.K)}, {}

    @torch.no_grad()
    def posterior(self, batch: dict[str, Tensor], query: str = "marginals", other: nn.Module | None = None) -> dict:
        """Exact posteriors of the summed latents, and the guides of the drawn ones.

        query: "marginals", probabilities with the values last; "mode", the best joint assignment; "kbest(5)", the five best;
        "sample", a draw; "entropy", in nats, of each value and of all together; "kl", the divergence from that of `other`.
        truth: index[k], (item).
        """
        batch = with_room(batch)
        return ask(self, batch, query, *self.unknowns(batch), other=other)

    @torch.no_grad()
    def initialise(self, batch: dict[str, Tensor]) -> None:
        """Start parameters at what the batch shows of their laws. Clusters stand in for latents."""
        batch = with_room(batch)
        label = batch["label"]  # (item, rating)
        who_len = batch["who_len"]  # (item,)
        inside_rating = torch.arange(label.shape[1], device=self.one.device) < who_len[:, None]  # (item, rating)
        label_2 = frequencies(label, self.K, 1, inside_rating, self.one)  # (item, K)
        truth = clusters(self.K, [], [label_2])  # (item,)
        who = batch["who"]  # (item, rating)
        confusion = by_group_among(
            categorical_start, label, 2, (who, truth[:, None]), (self.confusion,), self.K, inside=inside_rating
        )[0]  # (annotator, k, K)
        prevalence = by_group(categorical_start, truth, (), (self.prevalence,), self.K)[0]  # (K,)
        self.confusion = confusion
        self.prevalence = prevalence

    @torch.no_grad()
    def generate(self, n: int, batch: dict[str, Tensor], lengths: dict[str, Tensor], rule: str) -> dict[str, Tensor]:
        """Every variable, each after those that its law reads; observed ones by the rule, latent ones drawn."""
        batch = with_room(batch)
        truth = torch.distributions.Categorical(logits=self.raw_prevalence).expand((n,)).sample()  # (item,)
        who = batch["who"]  # (item, rating)
        confusion = self.raw_confusion.softmax(-1)  # (annotator, k, K)
        confusion_at = confusion[who, truth[:, None]]  # (item, rating, K)
        label = decide(
            torch.distributions.Categorical(probs=confusion_at).expand((n, who.shape[1])), rule, False
        )  # (item, rating)
        who_len = batch["who_len"]  # (item,)
        inside_rating = torch.arange(who.shape[1], device=self.one.device) < who_len[:, None]  # (item, rating)
        label_padded = up_to_the_ends(label, inside_rating)  # (item, rating)
        return {"truth": truth, "who": who, "label": label_padded, "who_len": who_len}

    @torch.no_grad()
    def sample(self, n: int, batch: dict | None = None, lengths: dict | None = None) -> dict[str, Tensor]:
        """n rows of every variable, latents too, drawn in the order of the model; `batch` holds who.

        lengths: for each ragged plate that the batch does not size, how many elements each row has (n,).
        """
        return self.generate(n, batch or {}, lengths or {}, "sample")

    @torch.no_grad()
    def predict(self, batch: dict[str, Tensor], rule: str = "mean", samples: int = 100) -> dict[str, Tensor]:
        """Each observed variable, from what is given, over so many draws of the latents.

        rule: "mean", "mode" or "sample". The mean of a categorical variable is its probabilities, its mode the likeliest
        value under them. What is read again is at its mode in one draw; a sample is one draw of all.
        """
        rows, kinds = len(batch["who"]), {"label": "probabilities"}
        return predictive(lambda by: self.generate(rows, batch, {}, by), kinds, rule, samples)

    def forward(self, batch: dict[str, Tensor]) -> Tensor:
        """log_prob of the batch."""
        return self.log_prob(batch)
