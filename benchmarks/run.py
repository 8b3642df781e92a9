"""Emitted modules against hand-written programs: `python benchmarks/run.py [workload ...]` prints a table for each workload.

A step is forward and backward, without an optimiser. Each program lives in a process of its own and is first compared with a
float64 reference. Then all of them are timed in slices, in turn (A B C, C B A, A B C, ...), so that they share what else the
machine does. `ms` is the median over all steps, `least` the shortest of them. `/ hand` and `/ best` are ratios to the program
`hand` and to the fastest hand-written one: medians over the rounds, with their quartiles, of the ratios of the slices' medians.
`MiB` is the largest memory of the process, torch's own included.

On a busy machine `--clock cpu --threads 1` counts the time for which a process had a processor, not the time on the wall.
"""

import argparse
import os
import resource
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path
from statistics import median, quantiles

sys.path.insert(0, str(Path(__file__).parents[1]))
VALUE_TOLERANCE, GRADIENT_TOLERANCE = 1e-5, 1e-2  # relative, in float32; a long recursion in log space loses the most
CLOCKS = {"wall": time.perf_counter, "cpu": time.process_time}


@dataclass(frozen=True)
class Measured:
    """errors: relative ones of the log-probability and of its gradient. slices: seconds a step, a list a round. peak: MiB."""

    errors: tuple[float, float]
    slices: list[list[float]]
    peak: float

    @property
    def medians(self) -> list[float]:
        return [median(times) for times in self.slices]

    @property
    def steps(self) -> list[float]:
        return [step for times in self.slices for step in times]


def work(pipe: Connection, workload_name: str, name: str, options: argparse.Namespace) -> None:
    """Answer with the errors, then with step times for each number of seconds received, then with the memory."""
    import torch

    from benchmarks.programs import WORKLOADS
    from benchmarks.workload import contender, errors

    torch.set_num_threads(options.threads)
    workload = WORKLOADS[workload_name]()
    found = errors(workload, contender(workload, name))
    one, clock = contender(workload, name, options.compile), CLOCKS[options.clock]
    for _ in range(3):
        one.step()
    pipe.send(found)
    while (seconds := pipe.recv()) is not None:
        one.step()  # caches are cold after the others
        times, end = [], time.perf_counter() + seconds
        while not times or time.perf_counter() < end:
            start = clock()
            one.step()
            times.append(clock() - start)
        pipe.send(times)
    pipe.send(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)


def measure(workload: str, names: Sequence[str], options: argparse.Namespace) -> dict[str, Measured]:
    """Every program of one workload, each in its process, in turn."""
    context = get_context("spawn")
    pipes, processes = {}, []
    for name in names:
        pipes[name], theirs = context.Pipe()
        process = context.Process(target=work, args=(theirs, workload, name, options), daemon=True)
        process.start()
        theirs.close()
        processes.append(process)
    found = {name: pipe.recv() for name, pipe in pipes.items()}
    slices: dict[str, list[list[float]]] = {name: [] for name in names}
    for turn in range(options.rounds):
        for name in names if turn % 2 == 0 else reversed(names):
            pipes[name].send(options.slice)
            slices[name].append(pipes[name].recv())
    for pipe in pipes.values():
        pipe.send(None)
    peaks = {name: pipe.recv() for name, pipe in pipes.items()}
    for process in processes:
        process.join()
    return {name: Measured(found[name], slices[name], peaks[name]) for name in names}


def show(workload: str, measured: dict[str, Measured], written: Sequence[str], options: argparse.Namespace) -> None:
    """Print one table; `written`: the programs written by hand."""
    best = min(written, key=lambda name: median(measured[name].medians))
    how = f"{options.threads} threads of {os.cpu_count()} cores, {options.clock} clock{', torch.compile' * options.compile}"
    print(f"\n{workload} ({how}; best by hand: {best})")
    print(f"  {'program':8} {'ms':>9} {'least':>9}  {'/ hand':18}  {'/ best':18} {'MiB':>6}  error of log p, of its gradient")
    for name, one in measured.items():
        value, gradient = one.errors
        wrong = "" if value < VALUE_TOLERANCE and gradient < GRADIENT_TOLERANCE else "  WRONG"
        ratios = "  ".join(ratio(one, measured[other]) for other in ("hand", best))
        print(
            f"  {name:8} {1e3 * median(one.steps):9.3f} {1e3 * min(one.steps):9.3f}  {ratios} {one.peak:6.0f}"
            f"  {value:.0e}, {gradient:.0e}{wrong}",
            flush=True,
        )


def ratio(one: Measured, other: Measured) -> str:
    """The median over the rounds, and its quartiles."""
    ratios = [a / b for a, b in zip(one.medians, other.medians, strict=True)]
    low, middle, high = quantiles(ratios, n=4) if len(ratios) > 1 else ratios * 3
    return f"{middle:4.2f} ({low:.2f}-{high:.2f})".ljust(18)


def main() -> None:
    from benchmarks.programs import WORKLOADS

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("workloads", nargs="*", metavar="workload", help=f"of {', '.join(WORKLOADS)} (default: all)")
    parser.add_argument("--rounds", type=int, default=8, help="slices of each program (default 8)")
    parser.add_argument("--slice", type=float, default=0.3, help="seconds of a slice (default 0.3)")
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1, help="threads of torch (default: one a core)")
    parser.add_argument("--clock", choices=CLOCKS, default="wall", help="wall (default), or cpu: the process's own time")
    parser.add_argument("--compile", action="store_true", help="put every program through torch.compile")
    options = parser.parse_args()
    unknown = sorted(set(options.workloads) - set(WORKLOADS))
    if unknown:
        parser.error(f"no workload {', '.join(unknown)}; there are {', '.join(WORKLOADS)}")
    for name in options.workloads or WORKLOADS:
        workload = WORKLOADS[name]()
        show(name, measure(name, workload.names, options), tuple(workload.programs), options)


if __name__ == "__main__":
    main()
