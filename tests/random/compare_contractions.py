"""python -m tests.random.compare_contractions --seed 0 --count 100

Random plated contractions, written as specs in both spellings, through the compiler and against their own brute force."""

import argparse
import sys
from collections import Counter, defaultdict

import torch
from torch import Tensor

from tests.random.compare import (
    GRADIENT,
    MARGINAL,
    VALUE,
    DifferenceError,
    Outcome,
    crash,
    distance,
    gradients,
    loaded,
    refusal,
    stored,
)
from tests.random.contraction_specs import Written, read_back, written
from tests.random.contractions import Contraction, log_sum, marginals, random_contraction
from vispec.compile import compile_spec
from vispec.diagnostics import SpecError
from vispec.model.check import check_model
from vispec.plan.planner import plan_model
from vispec.source import Source
from vispec.syntax.parse import parse

SPELLINGS = ("index", "category", "mixed")


def outcome(contraction: Contraction, spec: Written) -> Outcome:
    """As of a random spec, but against the contraction's own sum."""
    source = Source("contraction.vispec", spec.text)
    stage = "check"
    try:
        plan_model(model := check_model(parse(source), {}))
        stage = "compile"
        module = loaded(compile_spec(source))
        stage = "run"
        compare(contraction, spec, module, stored(model, module))
    except SpecError as error:
        return refusal(error, stage)
    except DifferenceError as found:
        what, _, detail = str(found).partition(": ")
        return Outcome("differ", what, detail)
    except Exception as error:
        return crash(stage, error)
    return Outcome("agree")


def compare(contraction: Contraction, spec: Written, module: torch.nn.Module, raw: dict[str, Tensor]) -> None:
    """Value, gradients in what is stored, posterior marginals. Raises DifferenceError."""
    laws = {f"t_{factor.name}" for factor in contraction.factors if factor.child}
    with torch.no_grad():
        for name, value in spec.values.items():
            raw[name].copy_(value.log() if name in laws else value.logit())
    values = {name: raw[name].softmax(-1) if name in laws else raw[name].sigmoid() for name in spec.values}
    ours = read_back(contraction, spec, values)
    expected = log_sum(ours)
    got = module.log_prob(spec.batch)  # pyright: ignore[reportCallIssue]
    if not distance(got.reshape(()), expected) <= VALUE:
        raise DifferenceError(f"log_prob: {got.item()} for {expected.item()}")
    named = dict(module.named_parameters())
    theirs, wanted = gradients(got.sum(), named), gradients(expected, named)
    for name, gradient in wanted.items():
        if not distance(theirs[name], gradient) <= GRADIENT:
            raise DifferenceError(f"gradient: of {name}")
    posterior = module.posterior(spec.batch) if contraction.latents else {}  # pyright: ignore[reportCallIssue]
    for (name, place), expected in marginals(ours).items():
        at = dict(zip(contraction.latent[name].plates, place, strict=True))
        found = posterior[name][(0, *(at[plate] for plate in spec.order[name]))]
        if not distance(found, expected) <= MARGINAL:
            raise DifferenceError(f"posterior: of {name} at {place}, {found.tolist()} for {expected.tolist()}")


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser("python -m tests.random.compare_contractions", description=__doc__)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--count", type=int, default=100)
    parser.add_argument("--show", action="store_true", help="the shortest spec of each kind of failure")
    options = parser.parse_args(arguments)
    found = defaultdict[str, list[tuple[int, str, str]]](list)
    for seed in range(options.seed, options.seed + options.count):
        contraction = random_contraction(seed, limit=5000)
        spec = written(contraction, seed, SPELLINGS[seed % 3])
        result = outcome(contraction, spec)
        found[str(result)].append((seed, spec.text, result.detail))
    for kind, number in Counter({kind: len(results) for kind, results in found.items()}).most_common():
        print(f"{number:5}  {kind}")
        seed, text, detail = min(found[kind], key=lambda result: len(result[1]))
        if options.show and kind != "agree":
            print(f"---- seed {seed}: {detail}\n{text}")
    return int(any(kind.startswith(("crash", "differ")) for kind in found))


if __name__ == "__main__":
    sys.exit(main())
