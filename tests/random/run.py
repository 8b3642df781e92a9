"""python -m tests.random.run --seed 0 --count 500 [--structures] [--plain-names] [--shrink]

Random specs against brute force: how many agree, crash, differ or are refused, by code; then the failures by kind, the
shortest of each."""

import argparse
import sys
import time
import warnings
from collections import Counter, defaultdict
from concurrent.futures import ProcessPoolExecutor
from functools import partial

import torch

from tests.random.compare import Outcome, outcome
from tests.random.grammar import Spec, random_spec
from tests.random.judge import judged
from tests.random.shrink import shrunk
from tests.random.structured import structured_spec

Result = tuple[Spec, Outcome]


def one(seed: int, plain: bool, size: int, in_order: bool = False, structures: bool = False) -> Result:
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    spec = Spec(seed, structured_spec(seed, plain), {}, {}) if structures else random_spec(seed, size, plain, in_order)
    return spec, judge(spec, spec.text, structures)


def judge(spec: Spec, text: str, structures: bool) -> Outcome:
    """What becomes of the text, which is the spec's or a shorter one."""
    return judged(text, spec.seed) if structures else outcome(text, spec.seed, spec.meant, spec.sizes)


def main(arguments: list[str] | None = None) -> int:
    options = parser().parse_args(arguments)
    started = time.perf_counter()
    job = partial(one, plain=options.plain_names, size=options.size, in_order=options.in_order, structures=options.structures)
    seeds = range(options.seed, options.seed + options.count)
    if options.processes > 1:
        with ProcessPoolExecutor(options.processes) as pool:
            results = list(pool.map(job, seeds, chunksize=8))
    else:
        results = [job(seed) for seed in seeds]
    report(results, time.perf_counter() - started, options)
    return int(any(found.fails for _, found in results))


def parser() -> argparse.ArgumentParser:
    parse = argparse.ArgumentParser("python -m tests.random.run", description=__doc__)
    parse.add_argument("--seed", type=int, default=0, help="the first seed")
    parse.add_argument("--count", type=int, default=100, help="how many specs")
    parse.add_argument("--structures", action="store_true", help="models with labels, trees, parses or stretches, by `verify`")
    parse.add_argument("--size", type=int, default=3, help="blocks to a level of nesting, at most")
    parse.add_argument("--plain-names", action="store_true", help="z1, x2, ... for names, not words")
    parse.add_argument("--in-order", action="store_true", help="parameters stand in plates in the order of their first opening")
    parse.add_argument("--processes", type=int, default=1)
    parse.add_argument("--shrink", action="store_true", help="make the shortest spec of each kind of failure shorter")
    parse.add_argument("--tries", type=int, default=400, help="specs tried to shrink one")
    parse.add_argument("--show", type=int, default=1, help="specs shown of each kind")
    return parse


def report(results: list[Result], seconds: float, options: argparse.Namespace) -> None:
    count = len(results)
    statuses = Counter(found.status for _, found in results)
    print(f"{count} specs, {'plain' if options.plain_names else 'ordinary'} names, {seconds:.0f} s")
    for status, number in statuses.most_common():
        print(f"  {status:10} {number:5}  {number / count:6.1%}")
    accepted = sum(number for status, number in statuses.items() if status not in ("refused", "unchecked"))
    print(f"  of {accepted} accepted and checked, {statuses['agree'] / max(1, accepted):.1%} agree")
    for code, number in Counter(found.kind for _, found in results if found.status in ("refused", "unchecked")).most_common():
        print(f"  {code}: {number}")
    kinds = defaultdict[str, list[Result]](list)
    for spec, found in results:
        if found.fails:
            kinds[str(found)].append((spec, found))
    for kind, failures in sorted(kinds.items(), key=lambda item: -len(item[1])):
        print(f"\n==== {len(failures)} × {kind}")
        for spec, found in sorted(failures, key=lambda failure: len(failure[0].text))[: options.show]:
            show(spec, found, options)


def show(spec: Spec, found: Outcome, options: argparse.Namespace) -> None:
    """The text of a failing spec, and its failure in full."""
    text = spec.text
    if options.shrink:
        text = shrunk(text, lambda t: str(judge(spec, t, options.structures)) == str(found), options.tries)
        found = judge(spec, text, options.structures)
    print(f"---- seed {spec.seed}: {found.detail[:400]}\n{text}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
