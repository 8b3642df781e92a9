"""Annotators: emitted by vispec from annotators.vispec; imports torch and nothing else.

    log_prob: exact

    log_label_over_annotator = product over annotator of log_label
    sum_truth = log-sum-exp over truth of log_truth, log_label_over_annotator

    truth  summed; discrete; independent in each element of its plates
    label  scored where seen; nothing depends on it: scored where it is seen
"""

import torch
from torch import Tensor, nn
# backward: first_derivative
# constraints: in_domain
# heap: keep_pages
# starts: by_group
# starts: by_group_among
# starts: clusters
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
# sums.lookup: pick_last
# told.decide: decide
# told.predict: labelled
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


class Annotators(nn.Module):
    """Batch: label (item, annotator) category[K]; label_observed (item, annotator) bool."""

    exact = True
    estimator = "exact"
    sums = (
        "sum_label = log-sum-exp over label of log_label, seen_label, tilt_label",
        "sum_truth = log-sum-exp over truth of log_truth, tilt_truth, sum_label_over_annotator",
    )

    def __init__(self, A: int, K: int = 4):
        super().__init__()
        self.K = K
        self.A = A
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
        label_observed = batch["label_observed"]  # (item, annotator)
        label = batch["label"]  # (item, annotator)
        label_2 = torch.where(label_observed, label, 0)  # (item, annotator)
        log_confusion = self.raw_confusion.log_softmax(-1)  # (annotator, truth, K)
        log_confusion_at = pick_last(log_confusion, label_2[:, :, None])  # (item, annotator, truth)
        log_label = torch.where(label_observed[:, :, None], log_confusion_at, 0.0)  # (item, annotator, truth)
        log_prevalence = self.raw_prevalence.log_softmax(-1)  # (K,)
        return log_sum_exp(log_prevalence + log_label.sum(1))  # (item,)

    def loss(self, batch: dict[str, Tensor], num_data: int) -> Tensor:
        """Minibatch estimate of -log p(data): (N/M) Σ over the rows of the batch."""
        log_prob = self.log_prob(batch)
        return log_prob.sum() * (-num_data / len(log_prob))

    def tilted(self, batch: dict[str, Tensor], total, tilt: dict[str, Tensor]) -> Tensor:
        """log p of each row with `tilt` added to the latents' log-joint and `total` for sums; its gradient answers a query."""
        label = batch["label"]  # (item, annotator)
        test = torch.arange(self.K, device=self.one.device) != label[:, :, None]  # (item, annotator, label)
        label_observed = batch["label_observed"]  # (item, annotator)
        test_2 = label_observed[:, :, None] & test  # (item, annotator, label)
        seen_label = torch.where(test_2, self.one * -torch.inf, 0.0)  # (item, annotator, label)
        log_confusion = self.raw_confusion.log_softmax(-1)  # (annotator, truth, K)
        total_ = log_confusion + seen_label[:, :, None] + tilt["label"][:, :, None]  # (item, annotator, truth, label)
        log_sum_label = total(total_)  # (item, annotator, truth)
        log_prevalence = self.raw_prevalence.log_softmax(-1)  # (K,)
        total_2 = log_prevalence + tilt["truth"] + log_sum_label.sum(1)  # (item, truth)
        return total(total_2)  # (item,)

    def unknowns(self, batch: dict[str, Tensor]) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """A tilt of nothing for each latent, and which of its elements count where rows differ in length."""
        label = batch["label"]  # (item, annotator)
        value = self.one.new_zeros(label.shape[0], self.K)  # (item, truth)
        value_2 = self.one.new_zeros(label.shape[0], self.A, self.K)  # (item, annotator, label)
        return {"truth": value, "label": value_2}, {}

    @torch.no_grad()
    def posterior(self, batch: dict[str, Tensor], query: str = "marginals", other: nn.Module | None = None) -> dict:
        """Exact posteriors of the summed latents, and the guides of the drawn ones.

        query: "marginals", probabilities with the values last; "mode", the best joint assignment; "kbest(5)", the five best;
        "sample", a draw; "entropy", in nats, of each value and of all together; "kl", the divergence from that of `other`.
        truth: index[k], (item).
        label: category[K], (item, annotator).
        """
        return ask(self, batch, query, *self.unknowns(batch), other=other)

    @torch.no_grad()
    def initialise(self, batch: dict[str, Tensor]) -> None:
        """Start parameters at what the batch shows of their laws. Clusters stand in for latents."""
        label_observed = batch["label_observed"]  # (item, annotator)
        label = batch["label"]  # (item, annotator)
        label_2 = torch.where(label_observed, label, 0)  # (item, annotator)
        test = label_2[:, :, None] == torch.arange(self.K, device=self.one.device)  # (item, annotator, K)
        test_2 = torch.where(label_observed[:, :, None], test.to(self.one.dtype), torch.nan)  # (item, annotator, K)
        truth = clusters(self.K, [], [test_2])  # (item,)
        at_annotator = torch.arange(self.A, device=self.one.device)  # (annotator,)
        confusion = by_group_among(
            categorical_start, label_2, 2, (at_annotator, truth[:, None]), (self.confusion,), self.K, inside=label_observed
        )[0]  # (annotator, k, K)
        prevalence = by_group(categorical_start, truth, (), (self.prevalence,), self.K)[0]  # (K,)
        self.confusion = confusion
        self.prevalence = prevalence

    @torch.no_grad()
    def generate(self, n: int, batch: dict[str, Tensor], lengths: dict[str, Tensor], rule: str) -> dict[str, Tensor]:
        """Every variable, each after those that its law reads; observed ones by the rule, latent ones drawn."""
        truth = torch.distributions.Categorical(logits=self.raw_prevalence).expand((n,)).sample()  # (item,)
        confusion = self.raw_confusion.softmax(-1)  # (annotator, k, K)
        confusion_at = confusion.transpose(0, 1)[truth]  # (item, annotator, K)
        label = decide(
            torch.distributions.Categorical(probs=confusion_at).expand((n, self.A)), rule, False
        )  # (item, annotator)
        return {"truth": truth, "label": label, "label_observed": torch.tensor(True, device=self.one.device).expand(n, self.A)}

    @torch.no_grad()
    def sample(self, n: int, batch: dict | None = None, lengths: dict | None = None) -> dict[str, Tensor]:
        """n rows of every variable, latents too, drawn in the order of the model; nothing need be given.

        lengths: for each ragged plate that the batch does not size, how many elements each row has (n,).
        """
        return self.generate(n, batch or {}, lengths or {}, "sample")

    @torch.no_grad()
    def predict(self, batch: dict[str, Tensor], rule: str = "mean", samples: int = 100) -> dict[str, Tensor]:
        """Each partial variable, from all that is seen: its posterior. rule: "mean", the probabilities of its values;
        "mode", the likeliest of each; "joint", the best of all together; "sample", a draw; "sample(5)", five, last in
        order. Cells that are seen are as they are seen. samples: for models without such variables.
        """
        return labelled(self.posterior, batch, rule, ("label",))

    def forward(self, batch: dict[str, Tensor]) -> Tensor:
        """log_prob of the batch."""
        return self.log_prob(batch)
