"""RationaleHardkuma: emitted by vispec from rationale_hardkuma.vispec; imports torch and nothing else.

    log_prob: a bound or estimate, mc(samples=1)

    log p = log_x

    y  data; given by the data
    f  mc(samples=1); continuous; drawn from its own law
    x  data; scored at the data
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F


def hard_kumaraswamy_sample(concentration1: torch.Tensor, concentration0: torch.Tensor) -> torch.Tensor:
    """A draw of the parameters' shape, with a gradient: of k = (1 - u^(1/b))^(1/a) where it is between the ends, 0 at them."""
    noise = torch.empty_like(concentration1 + concentration0)
    noise.uniform_(torch.finfo(noise.dtype).tiny, 1)
    k = torch.exp(log_1_minus_exp(-noise.log() / concentration0) / concentration1)
    return (1.2 * k - 0.1).clamp(0, 1)


def decide(law: torch.distributions.Distribution, rule: str, read: bool) -> Tensor:
    """One value (*B, *event) of a law: rule "sample", "mode" (its most probable value) or "mean".

    The mean of a categorical law is its probabilities (*B, K); where the value is read again (`read`), its mode stands in.
    """
    if rule == "sample":
        return law.sample()
    finite = isinstance(law, torch.distributions.Categorical)
    if rule == "mean" and not (finite and read):
        return law.probs if finite else law.mean
    if isinstance(law, torch.distributions.Bernoulli):
        return (law.probs > 0.5).to(law.probs.dtype)  # torch's own mode is nan at 1/2
    return law.mode


def predictive(generate, kinds: dict[str, str], rule: str, samples: int) -> dict[str, Tensor]:
    """What generate(rule) gives of each variable of `kinds`, over that many draws of the latents.

    "mean": the mean over the draws, which of a finite variable is the probabilities of its values. "mode": the most probable
    value under these, and of numbers the mean. "sample", or kind "draw": what the first draw gives.
    kinds: "probabilities" (*B, K); "bit"; "count"; "number"; "draw", which cannot be averaged."""
    found = generate(rule) if rule == "sample" or "draw" in kinds.values() else {}
    averaged = [name for name, kind in kinds.items() if rule != "sample" and kind != "draw"]
    if averaged:
        mean = {name: value / samples for name, value in generate("mean").items() if name in averaged}
        for _ in range(samples - 1):
            again = generate("mean")
            mean = {name: value.add_(again[name], alpha=1 / samples) for name, value in mean.items()}
        decisions = {"probabilities": lambda p: p.argmax(-1), "bit": lambda p: (p > 0.5).to(p.dtype), "count": torch.round}
        for name, value in mean.items():
            found[name] = decisions[kinds[name]](value) if rule == "mode" and kinds[name] in decisions else value
    return {name: found[name] for name in kinds}


def distinct(tokens: Tensor) -> tuple[Tensor, Tensor]:
    """The distinct values (U,) and the row of each element among them, of tokens' shape.

    Their number is in the data, which a single traced graph cannot know: while compiling, every element is a row of its own.
    """
    if torch.compiler.is_compiling():
        return tokens.flatten(), torch.arange(tokens.numel(), device=tokens.device).view(tokens.shape)
    values, row = torch.unique(tokens, return_inverse=True)
    return values, row


def keep_pages() -> None:
    """Frees one block of 31 MiB, never written: from then on glibc keeps up to 62 MiB of freed memory for the next step.

    Otherwise it returns a step's tensors to the system, and a fifth of the next step's time may go into fresh pages for them.
    It learns from the largest block of up to 32 MiB that was freed (mallopt(3), M_MMAP_THRESHOLD and M_TRIM_THRESHOLD).
    """
    torch.empty(31 << 20, dtype=torch.uint8, device="cpu")


def log_1_minus_exp(x: Tensor) -> Tensor:
    """log (1 - exp(-x)) for x > 0, without a loss of digits at either end (Mächler 2012)."""
    near = x < 0.6931471805599453  # log 2
    return torch.where(
        near, torch.log(-torch.expm1(-torch.where(near, x, 1.0))), torch.log1p(-torch.exp(-torch.where(near, 1.0, x)))
    )


def with_room(batch: dict[str, Tensor]) -> dict[str, Tensor]:
    """The batch with one element of padding along each plate of which no row has any."""
    return {
        name: x if 0 not in x.shape[1:] else x.new_zeros(len(x), *(max(n, 1) for n in x.shape[1:])) for name, x in batch.items()
    }


def logits_log_prob(logits: Tensor, value: Tensor) -> Tensor:
    """log_softmax(logits)[value] for logits (*B, V) and value broadcast to (*B) → (*B)."""
    lead = logits.shape[:-1]
    return -F.cross_entropy(logits.flatten(0, -2), value.expand(lead).flatten(), reduction="none").view(lead)


class Select(nn.Module):
    """(word: token[V]) → (concentration1: positive, concentration0: positive): embed(64) |> mlp([64])."""

    def __init__(self, V: int):
        super().__init__()
        self.embed = nn.Embedding(V, 64)
        self.mlp = nn.Sequential(nn.Linear(64, 64), nn.ReLU())
        self.out = nn.Linear(64, 2)

    def features(self, word: Tensor) -> Tensor:
        """word (*B) → (*B, 64)."""
        return self.mlp(self.embed(word))

    def forward(self, word: Tensor) -> tuple[Tensor, ...]:
        """concentration1 (*B) before softplus, concentration0 (*B) before softplus."""
        concentration1, concentration0 = self.out(self.features(word)).unbind(-1)
        return concentration1.contiguous(), concentration0.contiguous()  # torch's softplus is slow on slices


class Meaning(nn.Module):
    """(word: token[V]) → real[128]: embed(128)."""

    def __init__(self, V: int):
        super().__init__()
        self.embed = nn.Embedding(V, 128)
        self.out = nn.Linear(128, 128)

    def features(self, word: Tensor) -> Tensor:
        """word (*B) → (*B, 128)."""
        return self.embed(word)

    def forward(self, word: Tensor) -> Tensor:
        """(*B, 128)."""
        return self.out(self.features(word))


class Classify(nn.Module):
    """(bag: real[128]) → simplex[5]: mlp([128])."""

    def __init__(self):
        super().__init__()
        self.mlp = nn.Sequential(nn.Linear(128, 128), nn.ReLU())
        self.out = nn.Linear(128, 5)

    def features(self, bag: Tensor) -> Tensor:
        """bag (*B, 128) → (*B, 128)."""
        return self.mlp(bag)

    def forward(self, bag: Tensor) -> Tensor:
        """(*B, 5) unnormalised log-probabilities."""
        return self.out(self.features(bag))


class RationaleHardkuma(nn.Module):
    """Batch: y (review, i) token[V]; x (review) category[5]; y_len (review)."""

    exact = False
    estimator = "mc(samples=1)"

    def __init__(self, V: int):
        super().__init__()
        self.select = Select(V)
        self.meaning = Meaning(V)
        self.classify = Classify()
        self.register_buffer("one", torch.ones(()), persistent=False)  # its dtype and device are the module's
        keep_pages()

    def log_prob(self, batch: dict[str, Tensor]) -> Tensor:
        """An estimate on log p of each row (review,), in nats: mc(samples=1)."""
        batch = with_room(batch)
        y = batch["y"]  # (review, i)
        y_words, y_row = distinct(y)  # (review, i)
        select_concentration1_raw, select_concentration0_raw = self.select(y_words)  # (distinct,)
        select_concentration1_raw_2 = select_concentration1_raw[y_row]  # (review, i)
        select_concentration0_raw_2 = select_concentration0_raw[y_row]  # (review, i)
        select_concentration1_raw_2_2 = F.softplus(select_concentration1_raw_2)  # (review, i)
        select_concentration0_raw_2_2 = F.softplus(select_concentration0_raw_2)  # (review, i)
        f = hard_kumaraswamy_sample(select_concentration1_raw_2_2, select_concentration0_raw_2_2)  # (review, i)
        x = batch["x"]  # (review,)
        meaning = self.meaning(y_words)  # (distinct, 128)
        meaning_2 = meaning[y_row]  # (review, i, 128)
        value = f[:, :, None] * meaning_2  # (review, i, 128)
        y_len = batch["y_len"]  # (review,)
        at_i = torch.arange(y.shape[1], device=self.one.device)  # (i,)
        inside_i = at_i < y_len[:, None]  # (review, i)
        mean_i = torch.where(inside_i[..., None], value, 0.0).sum(-2) / y_len[:, None].clamp(min=1)  # (review, 128)
        classify = self.classify(mean_i)  # (review, 5)
        return logits_log_prob(classify, x)  # (review,)

    def loss(self, batch: dict[str, Tensor], num_data: int) -> Tensor:
        """Minibatch estimate of -log p(data): (N/M) Σ over the rows of the batch."""
        log_prob = self.log_prob(batch)
        return log_prob.sum() * (-num_data / len(log_prob))

    @torch.no_grad()
    def log_weights(self, batch: dict[str, Tensor], samples: int) -> Tensor:
        """log p(row, latents) − log q(latents) at draws of the latents, (samples, review)."""
        batch = with_room(batch)
        y = batch["y"]  # (review, i)
        y_words, y_row = distinct(y)  # (review, i)
        select_concentration1_raw, select_concentration0_raw = self.select(y_words)  # (distinct,)
        select_concentration1_raw_2 = select_concentration1_raw[y_row]  # (review, i)
        select_concentration0_raw_2 = select_concentration0_raw[y_row]  # (review, i)
        select_concentration1_raw_2_2 = F.softplus(select_concentration1_raw_2)  # (review, i)
        select_concentration0_raw_2_2 = F.softplus(select_concentration0_raw_2)  # (review, i)
        f = hard_kumaraswamy_sample(select_concentration1_raw_2_2.expand(samples, y.shape[0], y.shape[1]), select_concentration0_raw_2_2.expand(samples, y.shape[0], y.shape[1]))  # (s*, review, i)
        x = batch["x"]  # (review,)
        meaning = self.meaning(y_words)  # (distinct, 128)
        meaning_2 = meaning[y_row]  # (review, i, 128)
        value = f[:, :, :, None] * meaning_2  # (s*, review, i, 128)
        y_len = batch["y_len"]  # (review,)
        at_i = torch.arange(y.shape[1], device=self.one.device)  # (i,)
        inside_i = at_i < y_len[:, None]  # (review, i)
        mean_i = torch.where(inside_i[..., None], value, 0.0).sum(-2) / y_len[:, None].clamp(min=1)  # (s*, review, 128)
        classify = self.classify(mean_i)  # (s*, review, 5)
        log_x = logits_log_prob(classify, x)  # (s*, review)
        return log_x

    def generate(self, n: int, batch: dict[str, Tensor], lengths: dict[str, Tensor], rule: str) -> dict[str, Tensor]:
        """Every variable, each after those that its law reads; observed ones by the rule, latent ones drawn."""
        batch = with_room(batch)
        y = batch["y"]  # (review, i)
        y_words, y_row = distinct(y)  # (review, i)
        select_concentration1_raw, select_concentration0_raw = self.select(y_words)  # (distinct,)
        select_concentration1_raw_2 = select_concentration1_raw[y_row]  # (review, i)
        select_concentration0_raw_2 = select_concentration0_raw[y_row]  # (review, i)
        select_concentration1_raw_2_2 = F.softplus(select_concentration1_raw_2)  # (review, i)
        select_concentration0_raw_2_2 = F.softplus(select_concentration0_raw_2)  # (review, i)
        f = hard_kumaraswamy_sample(select_concentration1_raw_2_2.expand(n, y.shape[1]), select_concentration0_raw_2_2.expand(n, y.shape[1]))  # (review, i)
        meaning = self.meaning(y_words)  # (distinct, 128)
        meaning_2 = meaning[y_row]  # (review, i, 128)
        value = f[:, :, None] * meaning_2  # (review, i, 128)
        y_len = batch["y_len"]  # (review,)
        at_i = torch.arange(y.shape[1], device=self.one.device)  # (i,)
        inside_i = at_i < y_len[:, None]  # (review, i)
        mean_i = torch.where(inside_i[..., None], value, 0.0).sum(-2) / y_len[:, None].clamp(min=1)  # (review, 128)
        classify = self.classify(mean_i)  # (review, 5)
        x = decide(torch.distributions.Categorical(logits=classify).expand((n,)), rule, False)  # (review,)
        return {"y": y, "f": f, "x": x, "y_len": y_len}

    @torch.no_grad()
    def sample(self, n: int, batch: dict | None = None, lengths: dict | None = None) -> dict[str, Tensor]:
        """n rows of every variable, latents too, drawn in the order of the model; `batch` holds y.

        lengths: for each ragged plate that the batch does not size, how many elements each row has (n,).
        """
        return self.generate(n, batch or {}, lengths or {}, "sample")

    @torch.no_grad()
    def predict(self, batch: dict[str, Tensor], rule: str = "mean", samples: int = 100) -> dict[str, Tensor]:
        """Each observed variable, from what is given, over so many draws of the latents.

        rule: "mean", "mode" or "sample". The mean of a categorical variable is its probabilities, its mode the likeliest
        value under them. What is read again is at its mode in one draw; a sample is one draw of all.
        """
        rows, kinds = len(batch["y"]), {"x": "probabilities"}
        return predictive(lambda by: self.generate(rows, batch, {}, by), kinds, rule, samples)
