"""Decision rules: what to report of a predictive distribution. They stay outside the model."""

import torch
from torch import Tensor


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


def choose(test, then: Tensor, otherwise: Tensor, rank: int | None = None) -> Tensor:
    """One value or the other (*B, *rest) by a condition (*B), or by one that broadcasts to it where B has `rank` dimensions.

    A categorical law's mean has its probabilities last."""
    test = torch.as_tensor(test, device=then.device).bool()
    after = then.dim() - (test.dim() if rank is None else rank)
    return torch.where(test.view(*test.shape, *[1] * after) if test.dim() else test, then, otherwise)


def put(buffer: Tensor, at: int, index: int, value: Tensor) -> Tensor:
    """The buffer with a value in the place of its slice along dimension `at`; larger by one dimension if the value is."""
    if value.dim() == buffer.dim():
        buffer = value.new_zeros(*buffer.shape, value.shape[-1])
    buffer.select(at, index).copy_(value)
    return buffer


def predictive(generate, kinds: dict[str, str], rule: str, samples: int) -> dict[str, Tensor]:
    """What generate(rule) gives of each variable of `kinds`, over that many draws of the latents.

    "mean": the mean over the draws, which of a finite variable is the probabilities of its values. "mode": the most probable
    value under these, and of numbers the mean. "sample", or kind "draw": what the first draw gives.
    kinds: "probabilities" (*B, K); "bit"; "count"; "number"; "draw", which is not averaged."""
    if rule not in ("mean", "mode", "sample"):
        raise ValueError(f"this model has no rule {rule!r}; rules are mean, mode, sample")
    found = generate(rule) if rule == "sample" or "draw" in kinds.values() else {}
    averaged = [name for name, kind in kinds.items() if rule != "sample" and kind != "draw"]
    if averaged:
        mean = {name: value / samples for name, value in generate("mean").items() if name in averaged}
        for again in (generate("mean") for _ in range(samples - 1)):
            mean = {name: value.add_(again[name], alpha=1 / samples) for name, value in mean.items()}
        decisions = {"probabilities": lambda p: p.argmax(-1), "bit": lambda p: (p > 0.5).to(p.dtype), "count": torch.round}
        for name, value in mean.items():
            found[name] = decisions[kinds[name]](value) if rule == "mode" and kinds[name] in decisions else value
    return {name: found[name] for name in kinds}
