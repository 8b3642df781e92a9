"""Emitted steps beside programs in JAX, as one size grows: `python -m benchmarks.beside_jax [series ...] [--plot FILE]`.

A step is forward and backward, without an optimiser; JAX's is jitted. Both have one thread, each a process of its own, and are
timed in slices, in turn, on the same parameters and data; their losses have to agree. `/ JAX` is the median over the rounds.
`MiB` is what a process has taken at most beyond its start; `plan MiB`, what the plan says that torch keeps for a gradient.
Kernels in C++ are used as VISPEC_NATIVE says. JAX is no dependency: `pip install jax`.
"""

import argparse
import os
import resource
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import import_module
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path
from statistics import median
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))
AGREE = 1e-4  # relative, of two losses in float32
BOTH = ("vispec", "jax")


@dataclass(frozen=True)
class Series:
    """workload: of benchmarks/programs, at a size. values: what grows. lengths: of plates, for what the plan says."""

    workload: Callable[[int], Any]
    values: tuple[int, ...]
    lengths: Callable[[int], Mapping[str, int]]


def all_series() -> dict[str, Series]:
    from benchmarks.programs import hmm, ibm1, mixture, rationale

    def chains(steps: int, states: int) -> Any:
        return hmm.workload(rows=32, steps=steps, states=states, types=500)

    return {
        "chain-T": Series(
            lambda T: chains(T, 16), (64, 256, 1024, 4096, 16384), lambda T: {"|sentence|": 32, "|t|": T, "K": 16, "V": 500}
        ),
        "chain-K": Series(
            lambda K: chains(64, K), (4, 16, 64, 128, 256, 512), lambda K: {"|sentence|": 32, "|t|": 64, "K": K, "V": 500}
        ),
        "mixture-K": Series(
            lambda K: mixture.workload(rows=1024, dims=16, components=K),
            (8, 32, 128, 512, 2048, 4096),
            lambda K: {"|n|": 1024, "K": K, "D": 16},
        ),
        "masks-n": Series(
            lambda n: rationale.workload(rows=8, words=n, types=1000),
            (8, 10, 12, 14, 16, 18),
            lambda n: {"|review|": 8, "|i|": n, "V": 1000},
        ),
        "pairs-n": Series(
            lambda n: ibm1.workload(pairs=8, words=n, types=2000, embed=64, hidden=128),
            (12, 25, 50, 100, 200),
            lambda n: {"|pair|": 8, "|i|": n, "|j|": n, "EN": 2000, "FR": 2000},
        ),
    }


# ---- the programs in JAX, of the parameters that the emitted modules have


def chain(np: Any, jax: Any, p: Mapping[str, Any], b: Mapping[str, Any]) -> Any:
    trans, seen = jax.nn.softmax(p["raw_trans"], 1), jax.nn.softmax(p["raw_emit"], 1).T[b["x"].T]

    def step(alpha: Any, now: Any) -> Any:
        total = alpha.sum(1, keepdims=True)
        return (alpha / total) @ trans * now, total

    last, totals = jax.lax.scan(step, jax.nn.softmax(p["raw_init"]) * seen[0], seen[1:])
    return np.log(totals).sum() + np.log(last.sum(1)).sum()


def components(np: Any, jax: Any, p: Mapping[str, Any], b: Mapping[str, Any]) -> Any:
    mu, sigma, x = p["mu"], jax.nn.softplus(p["raw_sigma"]), b["x"]
    precision = sigma**-2.0
    const = -(0.5 * mu * mu * precision + np.log(sigma)).sum(1) - 0.9189385332046727 * mu.shape[1]
    log_x = const + x @ (mu * precision).T - 0.5 * (x * x) @ precision.T
    return jax.scipy.special.logsumexp(jax.nn.log_softmax(p["raw_pi"]) + log_x, axis=1).sum()


def masks(np: Any, jax: Any, p: Mapping[str, Any], b: Mapping[str, Any]) -> Any:
    n = b["y"].shape[1]
    chosen = ((np.arange(2**n)[:, None] >> np.arange(n)) & 1).astype("float32")
    score = (p["select.embed.weight"][b["y"]] @ p["select.out.weight"].T + p["select.out.bias"])[..., 0]
    log_f = score @ chosen.T + jax.nn.log_sigmoid(-score).sum(1, keepdims=True)
    share = chosen / np.maximum(chosen.sum(1, keepdims=True), 1)
    word = p["classify.embed.weight"][b["y"]] @ p["classify.mlp.0.weight"].T
    hidden = jax.nn.relu(share @ word + p["classify.mlp.0.bias"])
    logits = jax.nn.log_softmax(hidden @ p["classify.out.weight"].T + p["classify.out.bias"])
    log_x = np.take_along_axis(logits, b["x"][:, None, None], axis=2)[..., 0]
    return jax.scipy.special.logsumexp(log_f + log_x, axis=1).sum()


def pairs(np: Any, jax: Any, p: Mapping[str, Any], b: Mapping[str, Any]) -> Any:
    word = jax.nn.relu(p["lex.embed.weight"][b["y"]] @ p["lex.mlp.0.weight"].T + p["lex.mlp.0.bias"])
    logits = word @ p["lex.out.weight"].T + p["lex.out.bias"]
    of = np.broadcast_to(b["x"][:, None], (*logits.shape[:2], b["x"].shape[1]))
    picked = np.take_along_axis(logits, of, axis=2) - jax.scipy.special.logsumexp(logits, axis=2, keepdims=True)
    return (jax.scipy.special.logsumexp(picked, axis=1) - np.log(b["y"].shape[1])).sum()


IN_JAX = {"chain-T": chain, "chain-K": chain, "mixture-K": components, "masks-n": masks, "pairs-n": pairs}


# ---- measuring


def step_of(name: str, value: int, who: str) -> Callable[[], float]:
    """A step that is over when it gives its loss."""
    workload = all_series()[name].workload(value)
    if who == "vispec":
        import torch

        from benchmarks.workload import EMITTED, contender

        torch.set_num_threads(1)
        one = contender(workload, EMITTED)
        return lambda: float(one.step())
    jax, np = import_module("jax"), import_module("jax.numpy")
    p, b = ({k: np.asarray(v.numpy()) for k, v in part.items()} for part in (workload.parameters, workload.batch))
    gradient = jax.jit(jax.value_and_grad(lambda p, b: -IN_JAX[name](np, jax, p, b)))
    return lambda: float(jax.block_until_ready(gradient(p, b))[0])


def work(pipe: Connection, name: str, value: int, who: str) -> None:
    """Answers with the loss, then with step times for each number of seconds received, then with the memory."""
    step = step_of(name, value, who)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    pipe.send(step())
    step()
    while (seconds := pipe.recv()) is not None:
        times, end = [], time.perf_counter() + seconds
        while not times or time.perf_counter() < end:
            start = time.perf_counter()
            step()
            times.append(time.perf_counter() - start)
        pipe.send(median(times))
    pipe.send((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024)


def measured(name: str, value: int, rounds: int, seconds: float) -> tuple[dict[str, list[float]], dict[str, float]]:
    """Seconds a step of each round, and MiB, of both."""
    context, pipes = get_context("spawn"), dict[str, Connection]()
    for who in BOTH:
        pipes[who], theirs = context.Pipe()
        context.Process(target=work, args=(theirs, name, value, who), daemon=True).start()
        theirs.close()
    ours, theirs = (pipes[who].recv() for who in BOTH)
    if abs(ours - theirs) > AGREE * abs(theirs):
        raise SystemExit(f"{name} at {value}: {ours} by vispec, {theirs} by JAX")
    found: dict[str, list[float]] = {who: [] for who in BOTH}
    for turn in range(rounds):
        for who in BOTH if turn % 2 == 0 else reversed(BOTH):
            pipes[who].send(seconds)
            found[who].append(pipes[who].recv())
    for pipe in pipes.values():
        pipe.send(None)
    return found, {who: pipes[who].recv() for who in BOTH}


def kept(series: Series, value: int) -> float:
    """MiB that the plan says are kept for a gradient."""
    from benchmarks.growth import multiply_adds
    from vispec.model.check import check_model
    from vispec.plan.planner import plan_model
    from vispec.source import Source
    from vispec.syntax.parse import parse

    workload = series.workload(value)
    source = Source.read(Path(__file__).with_name("specs") / workload.spec)
    plan = plan_model(check_model(parse(source), workload.sizes))
    known = {**workload.sizes, **series.lengths(value)}
    return sum(multiply_adds(term, known) for term in plan.cost.bytes.split(" + ")) / 2**20


def main() -> None:
    series = all_series()
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("series", nargs="*", metavar="series", help=f"of {', '.join(series)} (default: all)")
    parser.add_argument("--rounds", type=int, default=5, help="slices of each (default 5)")
    parser.add_argument("--slice", type=float, default=0.3, help="seconds of a slice (default 0.3)")
    parser.add_argument("--plot", type=Path, metavar="FILE", help="an SVG, PNG or PDF file to draw (needs matplotlib)")
    options = parser.parse_args()
    os.environ |= {"OMP_NUM_THREADS": "1", "XLA_FLAGS": "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1"}
    drawn = dict[str, tuple[list[int], list[float]]]()
    for name in options.series or series:
        print(f"\n{name:10} {'vispec ms':>10} {'JAX ms':>10} {'/ JAX':>6} {'MiB':>7} {'plan MiB':>8} {'JAX MiB':>8}")
        for value in series[name].values:
            times, memory = measured(name, value, options.rounds, options.slice)
            ratio = median(a / b for a, b in zip(times["vispec"], times["jax"], strict=True))
            ours, theirs = (1e3 * median(times[who]) for who in BOTH)
            mib = f"{memory['vispec']:7.0f} {kept(series[name], value):8.1f} {memory['jax']:8.0f}"
            print(f"{value:10} {ours:10.3f} {theirs:10.3f} {ratio:6.2f} {mib}", flush=True)
            xs, ys = drawn.setdefault(name, ([], []))
            xs.append(value)
            ys.append(ratio)
    if options.plot:
        plot(drawn, options.plot)


def plot(drawn: Mapping[str, tuple[list[int], list[float]]], path: Path) -> None:
    """The ratio of times against what grows."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 4), layout="constrained")
    axes = figure.subplots()
    for name, (values, ratios) in drawn.items():
        axes.loglog([each / values[0] for each in values], ratios, "o-", label=f"{name}, from {values[0]}")
    axes.axhline(1, color="gray", linewidth=1)
    axes.set(xlabel="how many times the first size", ylabel="a step of vispec in steps of JAX")
    axes.legend()
    figure.savefig(path)


if __name__ == "__main__":
    main()
