"""Grading: emitted by vispec from grading.vispec; imports torch and nothing else.

    log_prob: exact

    log_mark_of_kind_along_grader = for each joint value of kind along grader, log_mark
    log_mark_of_kind_along_grader_over_grader = product over grader of log_mark_of_kind_along_grader
    log_kind_of_kind_along_grader = for each joint value of kind along grader, log_kind
    log_kind_of_kind_along_grader_over_grader = product over grader of log_kind_of_kind_along_grader
    sum_worth = log-sum-exp over worth of log_worth, log_mark_of_kind_along_grader_over_grader
    sum_worth_over_essay = product over essay of sum_worth
    sum_kind_along_grader = log-sum-exp over kind_along_grader of log_kind_of_kind_along_grader_over_grader, sum_worth_over_essay

    kind   summed; discrete; coupled across grader: all joint values along it
    worth  summed; discrete; summed out for all values of kind
    mark   scored where seen; nothing depends on it: scored where it is seen
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
# sums.unrolled: over_joint_values
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


class Grading(nn.Module):
    """Batch: mark (panel, essay, grader) category[M]; mark_observed (panel, essay, grader) bool; essay_len (panel)."""

    exact = True
    estimator = "exact"
    sums = (
        "sum_mark = log-sum-exp over mark of log_mark, seen_mark, tilt_mark",
        "sum_worth = log-sum-exp over worth of log_worth, tilt_worth, sum_mark_of_kind_along_grader_over_grader",
        "sum_kind_along_grader = log-sum-exp over kind_along_grader of log_kind_of_kind_along_grader_over_grader, tilt_kind_of_kind_along_grader_over_grader, sum_worth_over_essay",
    )

    def __init__(self, K: int = 3, T: int = 2, G: int = 4, M: int = 5):
        super().__init__()
        self.K = K
        self.T = T
        self.G = G
        self.M = M
        self.raw_quality = nn.Parameter(torch.zeros(K))  # (K)
        self.raw_manner = nn.Parameter(torch.zeros(T))  # (T)
        self.raw_marks = nn.Parameter(torch.randn(K, T, M) * 0.1)  # (k, h, M)
        self.register_buffer("one", torch.ones(()), persistent=False)  # its dtype and device are the module's
        keep_pages()

    @property
    def quality(self) -> Tensor:
        """simplex[K]."""
        return self.raw_quality.softmax(-1)

    @quality.setter
    def quality(self, value: Tensor) -> None:
        with torch.no_grad():
            raw = value.log()
            self.raw_quality.copy_(in_domain(raw, raw.softmax(-1), value))

    @property
    def manner(self) -> Tensor:
        """simplex[T]."""
        return self.raw_manner.softmax(-1)

    @manner.setter
    def manner(self, value: Tensor) -> None:
        with torch.no_grad():
            raw = value.log()
            self.raw_manner.copy_(in_domain(raw, raw.softmax(-1), value))

    @property
    def marks(self) -> Tensor:
        """simplex[M], one for each element of k, h."""
        return self.raw_marks.softmax(-1)

    @marks.setter
    def marks(self, value: Tensor) -> None:
        with torch.no_grad():
            raw = value.log()
            self.raw_marks.copy_(in_domain(raw, raw.softmax(-1), value))

    def log_prob(self, batch: dict[str, Tensor]) -> Tensor:
        """log p of each row (panel,), exact, in nats."""
        batch = with_room(batch)
        mark_observed = batch["mark_observed"]  # (panel, essay, grader)
        mark = batch["mark"]  # (panel, essay, grader)
        mark_2 = torch.where(mark_observed, mark, 0)  # (panel, essay, grader)
        log_marks = self.raw_marks.log_softmax(-1)  # (worth, kind, M)
        log_marks_at = cells(log_marks.movedim(2, 0), mark_2)  # (panel, essay, grader, worth, kind)
        log_mark = torch.where(mark_observed[:, :, :, None, None], log_marks_at, 0.0)  # (panel, essay, grader, worth, kind)
        over = over_joint_values(log_mark.transpose(2, 3))  # (panel, essay, worth, kind_along_grader)
        log_quality = self.raw_quality.log_softmax(-1)  # (K,)
        total = log_quality[:, None] + over  # (panel, essay, worth, kind_along_grader)
        log_sum_worth = log_sum_exp(total.transpose(-2, -1))  # (panel, essay, kind_along_grader)
        essay_len = batch["essay_len"]  # (panel,)
        inside_essay = torch.arange(mark_observed.shape[1], device=self.one.device) < essay_len[:, None]  # (panel, essay)
        log_sum_worth_2 = torch.where(inside_essay[:, :, None], log_sum_worth, 0.0)  # (panel, essay, kind_along_grader)
        log_manner = self.raw_manner.log_softmax(-1)  # (T,)
        over_2 = over_joint_values(log_manner.expand(self.G, -1))  # (kind_along_grader,)
        return log_sum_exp(over_2 + log_sum_worth_2.sum(1))  # (panel,)

    def loss(self, batch: dict[str, Tensor], num_data: int) -> Tensor:
        """Minibatch estimate of -log p(data): (N/M) Σ over the rows of the batch."""
        log_prob = self.log_prob(batch)
        return log_prob.sum() * (-num_data / len(log_prob))

    def tilted(self, batch: dict[str, Tensor], total, tilt: dict[str, Tensor]) -> Tensor:
        """log p of each row with `tilt` added to the latents' log-joint and `total` for sums; its gradient answers a query."""
        batch = with_room(batch)
        mark = batch["mark"]  # (panel, essay, grader)
        test = torch.arange(self.M, device=self.one.device) != mark[:, :, :, None]  # (panel, essay, grader, mark)
        mark_observed = batch["mark_observed"]  # (panel, essay, grader)
        test_2 = mark_observed[:, :, :, None] & test  # (panel, essay, grader, mark)
        seen_mark = torch.where(test_2, self.one * -torch.inf, 0.0)  # (panel, essay, grader, mark)
        log_marks = self.raw_marks.log_softmax(-1)  # (worth, kind, M)
        total_ = (
            log_marks
            + seen_mark[:, :, :, None, None]
            + tilt["mark"][:, :, :, None, None]
        )  # (panel, essay, grader, worth, kind, mark)
        log_sum_mark = total(total_)  # (panel, essay, grader, worth, kind)
        over = over_joint_values(log_sum_mark.transpose(2, 3))  # (panel, essay, worth, kind_along_grader)
        log_quality = self.raw_quality.log_softmax(-1)  # (K,)
        total_2 = log_quality[:, None] + tilt["worth"][:, :, :, None] + over  # (panel, essay, worth, kind_along_grader)
        log_sum_worth = total(total_2.transpose(-2, -1))  # (panel, essay, kind_along_grader)
        essay_len = batch["essay_len"]  # (panel,)
        inside_essay = torch.arange(mark_observed.shape[1], device=self.one.device) < essay_len[:, None]  # (panel, essay)
        log_sum_worth_2 = torch.where(inside_essay[:, :, None], log_sum_worth, 0.0)  # (panel, essay, kind_along_grader)
        log_manner = self.raw_manner.log_softmax(-1)  # (T,)
        over_2 = over_joint_values(log_manner.expand(self.G, -1))  # (kind_along_grader,)
        over_3 = over_joint_values(tilt["kind"])  # (panel, kind_along_grader)
        total_3 = over_2 + over_3 + log_sum_worth_2.sum(1)  # (panel, kind_along_grader)
        return total(total_3)  # (panel,)

    def unknowns(self, batch: dict[str, Tensor]) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """A tilt of nothing for each latent, and which of its elements count where rows differ in length."""
        essay_len = batch["essay_len"]  # (panel,)
        value = self.one.new_zeros(essay_len.shape[0], self.G, self.T)  # (panel, grader, kind)
        mark = batch["mark"]  # (panel, essay, grader)
        value_2 = self.one.new_zeros(essay_len.shape[0], mark.shape[1], self.K)  # (panel, essay, worth)
        value_3 = self.one.new_zeros(essay_len.shape[0], mark.shape[1], self.G, self.M)  # (panel, essay, grader, mark)
        inside_essay = torch.arange(mark.shape[1], device=self.one.device) < essay_len[:, None]  # (panel, essay)
        return {"kind": value, "worth": value_2, "mark": value_3}, {
            "worth": inside_essay, "mark": inside_essay[:, :, None].expand(-1, -1, self.G)
        }

    @torch.no_grad()
    def posterior(self, batch: dict[str, Tensor], query: str = "marginals", other: nn.Module | None = None) -> dict:
        """Exact posteriors of the summed latents, and the guides of the drawn ones.

        query: "marginals", probabilities with the values last; "mode", the best joint assignment; "kbest(5)", the five best;
        "sample", a draw; "entropy", in nats, of each value and of all together; "kl", the divergence from that of `other`.
        kind: index[h], (panel, grader).
        worth: index[k], (panel, essay).
        mark: category[M], (panel, essay, grader).
        """
        batch = with_room(batch)
        return ask(self, batch, query, *self.unknowns(batch), other=other)

    @torch.no_grad()
    def initialise(self, batch: dict[str, Tensor]) -> None:
        """Start parameters at what the batch shows of their laws. Clusters stand in for latents."""
        batch = with_room(batch)
        mark_observed = batch["mark_observed"]  # (panel, essay, grader)
        essay_len = batch["essay_len"]  # (panel,)
        inside_essay = torch.arange(mark_observed.shape[1], device=self.one.device) < essay_len[:, None]  # (panel, essay)
        test = inside_essay[:, :, None] & mark_observed  # (panel, essay, grader)
        mark = batch["mark"]  # (panel, essay, grader)
        mark_2 = torch.where(mark_observed, mark, 0)  # (panel, essay, grader)
        mark_3 = frequencies(mark_2.transpose(-2, -1), self.M, 2, test.transpose(-2, -1), self.one)  # (panel, grader, M)
        kind = clusters(
            self.T, [], [mark_3], inside=torch.tensor(True, device=self.one.device).expand(mark_observed.shape[0], self.G)
        )  # (panel, grader)
        test_2 = mark_2[:, :, :, None] == torch.arange(self.M, device=self.one.device)  # (panel, essay, grader, M)
        test_3 = torch.where(mark_observed[:, :, :, None], test_2.to(self.one.dtype), torch.nan)  # (panel, essay, grader, M)
        worth = clusters(self.K, [], [test_3], inside=inside_essay)  # (panel, essay)
        marks = by_group_among(
            categorical_start, mark_2, 3, (worth[:, :, None], kind[:, None]), (self.marks,), self.M, inside=test
        )[0]  # (k, h, M)
        manner = by_group_among(categorical_start, kind, 2, (), (self.manner,), self.T)[0]  # (T,)
        quality = by_group_among(categorical_start, worth, 2, (), (self.quality,), self.K, inside=inside_essay)[0]  # (K,)
        self.marks = marks
        self.manner = manner
        self.quality = quality

    @torch.no_grad()
    def generate(self, n: int, batch: dict[str, Tensor], lengths: dict[str, Tensor], rule: str) -> dict[str, Tensor]:
        """Every variable, each after those that its law reads; observed ones by the rule, latent ones drawn."""
        essay_size = max(int(lengths["essay"].max()), 1)
        kind = torch.distributions.Categorical(logits=self.raw_manner).expand((n, self.G)).sample()  # (panel, grader)
        inside_essay = torch.arange(essay_size, device=self.one.device) < lengths["essay"][:, None]  # (panel, essay)
        worth = torch.distributions.Categorical(logits=self.raw_quality).expand((n, essay_size)).sample()  # (panel, essay)
        worth_padded = torch.where(inside_essay, worth, 0)  # (panel, essay)
        marks = self.raw_marks.softmax(-1)  # (k, h, M)
        marks_at = marks[worth[:, None], kind[:, :, None]]  # (panel, grader, essay, M)
        mark = decide(
            torch.distributions.Categorical(probs=marks_at.transpose(1, 2)).expand((n, essay_size, self.G)), rule, False
        )  # (panel, essay, grader)
        mark_padded = up_to_the_ends(mark, inside_essay[:, :, None])  # (panel, essay, grader)
        return {
            "kind": kind,
            "worth": worth_padded,
            "mark": mark_padded,
            "essay_len": lengths["essay"],
            "mark_observed": torch.tensor(True, device=self.one.device).expand(n, essay_size, self.G),
        }

    @torch.no_grad()
    def sample(self, n: int, batch: dict | None = None, lengths: dict | None = None) -> dict[str, Tensor]:
        """n rows of every variable, latents too, drawn in the order of the model; nothing need be given.

        lengths: for each ragged plate that the batch does not size, how many elements each row has (n,).
        """
        missing = [plate for plate in ("essay",) if plate not in (lengths or {})]
        if missing:
            raise ValueError(f"lengths must say how many elements each row has of {', '.join(missing)}")
        return self.generate(n, batch or {}, lengths or {}, "sample")

    @torch.no_grad()
    def predict(self, batch: dict[str, Tensor], rule: str = "mean", samples: int = 100) -> dict[str, Tensor]:
        """Each partial variable, from all that is seen: its posterior. rule: "mean", the probabilities of its values;
        "mode", the likeliest of each; "joint", the best of all together; "sample", a draw; "sample(5)", five, last in
        order. Cells that are seen are as they are seen. samples: for models without such variables.
        """
        return labelled(self.posterior, batch, rule, ("mark",))

    def forward(self, batch: dict[str, Tensor]) -> Tensor:
        """log_prob of the batch."""
        return self.log_prob(batch)
