"""A step of 32 series of 200 elements with four states each, a trend and a season: vispec's, beside a Kalman filter in torch.

    python -m benchmarks.kalman

prints milliseconds for log p and its gradient, least and median, by turns in the same run, and the ratio of the two. The filter
is the loop that one writes by hand: a step of the recursion for all series at a time, its gradient by autograd."""

import time
from collections.abc import Callable
from statistics import median

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vispec.compile import class_of, compile_spec
from vispec.source import Source
from vispec.train.store.module import class_of_text

SERIES, LENGTH, ROUNDS = 32, 200, 10
SPEC = """param s_level : positive
param s_slope : positive
param s_season : positive
param s : positive
plate series:
    chain t:
        latent slope : real ~ Normal(0, 1) then Normal(slope[t-1], s_slope)
        latent level : real ~ Normal(0, 10) then Normal(level[t-1] + slope[t-1], s_level)
        latent season : real ~ Normal(0, 1) then Normal(0.8 * season[t-1] + 0.6 * other[t-1], s_season)
        latent other : real ~ Normal(0, 1) then Normal(0.8 * other[t-1] - 0.6 * season[t-1], s_season)
        observed x : real ~ Normal(level + season, s)
"""
MOVE = [[1.0, 0, 0, 0], [1, 1, 0, 0], [0, 0, 0.8, 0.6], [0, 0, -0.6, 0.8]]  # of slope, level, season, other
START, SEEN = [1.0, 100, 1, 1], [0.0, 1, 1, 0]


class Filter(nn.Module):
    """The same model by a Kalman filter in float64 (as vispec's integral is): with raw parameters by the same names."""

    def __init__(self) -> None:
        super().__init__()
        self.raw_s_level, self.raw_s_slope, self.raw_s_season, self.raw_s = (nn.Parameter(torch.zeros(())) for _ in range(4))

    def log_prob(self, batch: dict[str, Tensor]) -> Tensor:
        """log p of each series (series,)."""
        x, move, seen = batch["x"].double(), torch.tensor(MOVE).double(), torch.tensor(SEEN).double()
        level, slope, season, s = (
            F.softplus(raw).double() for raw in (self.raw_s_level, self.raw_s_slope, self.raw_s_season, self.raw_s)
        )
        noise = torch.stack([slope, level, season, season]).square().diag()
        mean, spread = x.new_zeros(len(x), 4), torch.tensor(START).double().diag().expand(len(x), 4, 4)
        total = x.new_zeros(len(x))
        for t in range(x.shape[1]):
            if t:
                mean, spread = mean @ move.T, move @ spread @ move.T + noise
            across = spread @ seen
            variance = across @ seen + s.square()
            error = x[:, t] - mean @ seen
            gain = across / variance[:, None]
            total = total - 0.5 * (error.square() / variance + variance.log()) - 0.9189385332046727
            mean, spread = mean + gain * error[:, None], spread - gain[:, :, None] * across[:, None]
        return total


def step(module: nn.Module, batch: dict[str, Tensor]) -> Callable[[], float]:
    """log p of all series, and its gradient in the module."""

    def one() -> float:
        module.zero_grad()
        total = module.log_prob(batch).sum()  # type: ignore[operator]
        total.backward()
        return float(total.detach())

    return one


def main() -> None:
    torch.set_num_threads(1)
    batch = {"x": torch.randn(SERIES, LENGTH, generator=torch.Generator().manual_seed(0)).cumsum(1)}
    batch["x_len"] = torch.full((SERIES,), LENGTH)
    text = compile_spec(Source("kalman.vispec", SPEC))
    ours = class_of_text(text, class_of(text))()
    steps = {"vispec": step(ours, batch), "filter": step(Filter(), batch)}
    values = {name: one() for name, one in steps.items()}
    times: dict[str, list[float]] = {name: [] for name in steps}
    for _ in range(ROUNDS):
        for name, one in steps.items():
            start = time.perf_counter()
            one()
            times[name].append(1e3 * (time.perf_counter() - start))
    for name, found in times.items():
        print(f"{name:8} {min(found):7.1f} ms, median {median(found):7.1f}   log p {values[name]:.4f}")
    print(f"ratio    {min(times['vispec']) / min(times['filter']):7.2f}")


if __name__ == "__main__":
    main()
