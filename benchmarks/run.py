"""Emitted modules against hand-written programs: `python benchmarks/run.py [workload ...]` prints a table for each workload.

A step is forward and backward, without an optimiser. Each program lives in a process of its own and is first compared with a
float64 reference. Then all of them are timed in slices, in turn (A B C, C B A, A B C, ...), so that they share what else the
machine does. `ms` is the median over all steps, with the quartiles beside it; `ratio` is to `expert`. `MiB` is the largest
memory of the process, torch's own included.
"""

import argparse
import os
import resource
import statistics
import sys
import time
from collections.abc import Sequence
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))
VALUE_TOLERANCE, GRADIENT_TOLERANCE = 1e-5, 1e-2  # relative, in float32; a long recursion in log space loses the most


def work(pipe: Connection, workload_name: str, name: str, threads: int, compiled: bool) -> None:
    """Answer with the errors, then with step times for each number of seconds received, then with the memory."""
    import torch

    from benchmarks.programs import WORKLOADS
    from benchmarks.workload import contender, errors

    torch.set_num_threads(threads)
    workload = WORKLOADS[workload_name]()
    found = errors(workload, contender(workload, name))
    one = contender(workload, name, compiled)
    for _ in range(3):
        one.step()
    pipe.send(found)
    while (seconds := pipe.recv()) is not None:
        one.step()  # caches are cold after the others
        times, end = [], time.perf_counter() + seconds
        while not times or time.perf_counter() < end:
            start = time.perf_counter()
            one.step()
            times.append(time.perf_counter() - start)
        pipe.send(times)
    pipe.send(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)


def measure(workload: str, names: Sequence[str], options: argparse.Namespace) -> None:
    """Print the table of one workload."""
    context = get_context("spawn")
    pipes, processes = {}, []
    for name in names:
        pipes[name], theirs = context.Pipe()
        process = context.Process(target=work, args=(theirs, workload, name, options.threads, options.compile), daemon=True)
        process.start()
        theirs.close()
        processes.append(process)
    found = {name: pipe.recv() for name, pipe in pipes.items()}
    times: dict[str, list[float]] = {name: [] for name in names}
    for turn in range(options.rounds):
        for name in names if turn % 2 == 0 else reversed(names):
            pipes[name].send(options.slice)
            times[name] += pipes[name].recv()
    for pipe in pipes.values():
        pipe.send(None)
    memory = {name: pipe.recv() for name, pipe in pipes.items()}
    for process in processes:
        process.join()
    print(f"\n{workload}{' (torch.compile)' if options.compile else ''}, {options.threads} threads, {os.cpu_count()} cores")
    print(f"  {'program':9} {'ms':>9} {'quartiles':>19} {'ratio':>6} {'MiB':>6} {'steps':>6}  error of log p, of its gradient")
    expert = statistics.median(times["expert"])
    for name in names:
        low, middle, high = statistics.quantiles(times[name], n=4) if len(times[name]) > 1 else times[name] * 3
        value, gradient = found[name]
        wrong = "" if value < VALUE_TOLERANCE and gradient < GRADIENT_TOLERANCE else "  WRONG"
        print(
            f"  {name:9} {1e3 * middle:9.3f} {1e3 * low:9.3f} {1e3 * high:9.3f} {middle / expert:6.2f} {memory[name]:6.0f}"
            f" {len(times[name]):6}  {value:.0e}, {gradient:.0e}{wrong}",
            flush=True,
        )


def main() -> None:
    from benchmarks.programs import WORKLOADS

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("workloads", nargs="*", metavar="workload", help=f"of {', '.join(WORKLOADS)} (default: all)")
    parser.add_argument("--rounds", type=int, default=8, help="slices of each program (default 8)")
    parser.add_argument("--slice", type=float, default=0.3, help="seconds of a slice (default 0.3)")
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1, help="threads of torch (default: one a core)")
    parser.add_argument("--compile", action="store_true", help="put every program through torch.compile")
    options = parser.parse_args()
    unknown = sorted(set(options.workloads) - set(WORKLOADS))
    if unknown:
        parser.error(f"no workload {', '.join(unknown)}; there are {', '.join(WORKLOADS)}")
    for name in options.workloads or WORKLOADS:
        measure(name, WORKLOADS[name]().names, options)


if __name__ == "__main__":
    main()
