"""One spec through `check`, the compiler and brute force: what came of it, as a value."""

import re
import traceback
from collections.abc import Mapping
from dataclasses import dataclass
from random import Random
from typing import Any

import torch
from torch import Tensor, nn

from tests.random.brute.data import random_batch
from tests.random.oracle import Answer, TooLargeError, UndefinedError, answer, worlds
from vispec.compile import class_of, compile_spec
from vispec.diagnostics import SpecError
from vispec.factors.frame import stored_names
from vispec.model import model as m
from vispec.model.check import check_model
from vispec.model.show import show
from vispec.model.types import FINITE_DOMAINS
from vispec.model.walk import law_parts, walk
from vispec.plan.planner import plan_model
from vispec.source import Source
from vispec.syntax.parse import parse

VALUE, GRADIENT, MARGINAL = 1e-10, 1e-8, 1e-8
ROWS = 2
Meant = Mapping[str, set[frozenset[tuple[str, str]]]]


@dataclass(frozen=True)
class Outcome:
    """status: agree, refused, crash, differ, or unchecked (brute force is too large or has no value here). kind: the code, or
    what failed, without names and numbers, so that two failures of one kind have one. detail: as it was."""

    status: str
    kind: str = ""
    detail: str = ""

    @property
    def fails(self) -> bool:
        return self.status in ("crash", "differ")

    def __str__(self) -> str:
        return f"{self.status} {self.kind}".strip()


class DifferenceError(Exception):
    """A difference from brute force."""


def outcome(
    text: str, seed: int = 0, meant: Meant | None = None, sizes: Mapping[str, int] | None = None, name: str = "drawn.vispec"
) -> Outcome:
    """What becomes of one spec; data and parameters follow from the seed. sizes: those that it does not tell."""
    source = Source(name, text)
    try:
        model = check_model(parse(source), sizes or {})
        plan_model(model)
    except SpecError as error:
        return refusal(error, "check")
    except Exception as error:
        return crash("check", error)
    if meant is not None and (wrong := misread(model, meant)):
        return Outcome("differ", "an index goes to another plate", wrong)
    stage = "compile"
    try:
        emitted = compile_spec(source, sizes)
        stage = "import"
        module = loaded(emitted)
        stage = "run"
        compare(model, module, seed, sizes or {})
    except DifferenceError as found:
        what, _, detail = str(found).partition(": ")
        return Outcome("differ", what, detail)
    except (TooLargeError, UndefinedError) as reason:
        return Outcome("unchecked", str(reason)[:60], str(reason))
    except SpecError as error:
        return refusal(error, stage)
    except Exception as error:
        return crash(stage, error)
    return Outcome("agree")


def refusal(error: SpecError, stage: str) -> Outcome:
    """What `check` says, by its first code; it is a crash where only the compiler says it."""
    first = next(d for d in error.diagnostics if d.severity == "error")
    if stage == "check":
        return Outcome("refused", first.code, first.message)
    return Outcome("crash", f"compile refuses with {first.code} what check accepts", first.message)


def crash(stage: str, error: Exception) -> Outcome:
    """The kind tells where in the compiler or the module it was, by function."""
    frames = [f for f in traceback.extract_tb(error.__traceback__) if "/tests/" not in f.filename]
    inner = [f for f in frames if "/vispec/" in f.filename or f.filename.startswith("<emitted")]
    where = inner[-1].name if inner else ""
    told = str(error.args[0]) if isinstance(error, KeyError) and error.args else str(error)
    lines = told.splitlines() or [""]
    message = re.sub(r"[`'\"][^`'\"]*[`'\"]|\([^()]*\)|\[[^\[\]]*\]|\d+|\w*_\w*", "_", lines[0])[:70]
    return Outcome("crash", f"{stage}: {type(error).__name__} in {where}: {message}", "\n".join(lines[:3]))


def loaded(text: str) -> nn.Module:
    namespace: dict[str, Any] = {"__name__": "emitted"}
    exec(compile(text, "<emitted>", "exec"), namespace)
    return namespace[class_of(text)]().double().eval()


def misread(model: m.Model, meant: Meant) -> str:
    """A table of which the checked model takes an index for another plate's than was meant; '' if there is none."""
    parts = [part for v in model.variables if v.law for part in law_parts(v.law)] + [let.value for let in model.lets]
    for e in (e for part in parts for e in walk(part)):
        if isinstance(e, m.Select) and e.name in meant:
            read = frozenset((plate, bare(show(index), model)) for plate, index in e.by)
            if read not in {frozenset((plate, bare(index, model)) for plate, index in one) for one in meant[e.name]}:
                return f"{e.name} at {sorted(read)}, meant {[sorted(one) for one in meant[e.name]]}"
    return ""


def bare(text: str, model: m.Model) -> str:
    """Without spaces, brackets, the plates that the printed model names before indices, and those where a name's own element is
    spelt out, which it does not print."""
    text = re.sub(r"(?<=[\[,])\w+=", "", re.sub(r"[ ()]", "", text))
    own = "|".join(re.escape(plate.name) for plate in model.plates)
    return re.sub(rf",(?:{own})(?=[,\]])", "", re.sub(rf"(?<=\[)(?:(?:{own}),)+", "", text))


# ---- numbers


def compare(model: m.Model, module: nn.Module, seed: int, told: Mapping[str, int]) -> None:
    """Raises DifferenceError at the first difference."""
    rng, generator = Random(seed), torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.copy_(torch.randn(parameter.shape, dtype=parameter.dtype, generator=generator))
    raw = stored(model, module)
    sizes = {size.name: int(size.value) for size in model.sizes if size.value is not None} | dict(told)
    batch, answers = brute_force(model, sizes, nets_of(model, module), raw, rng)
    expected = torch.stack([one.log_prob for one in answers])
    got = module.log_prob(batch)  # pyright: ignore[reportCallIssue]
    if not distance(got, expected) <= VALUE:
        raise DifferenceError(f"log_prob: {got.tolist()} for {expected.tolist()}")
    compare_gradients(module, got, expected)
    compare_marginals(model, module, batch, answers)


def brute_force(
    model: m.Model, sizes: Mapping[str, int], nets: Mapping[str, nn.Module], raw: Mapping[str, Tensor], rng: Random
) -> tuple[dict[str, Tensor], list[Answer]]:
    """A batch with plates as long as can be enumerated, three at most, and the answer for each row."""
    for longest in (3, 2, 1):
        batch = random_batch(model, sizes, ROWS, rng, longest)
        try:
            return batch, [answer(world) for world in worlds(model, sizes, batch, ROWS, nets, raw)]
        except TooLargeError:
            continue
    raise TooLargeError("with one element in each plate")


def nets_of(model: m.Model, module: nn.Module) -> dict[str, nn.Module]:
    """The modules of the spec's nets; those that nothing calls are not there."""
    children, names = dict(module.named_children()), renamed(module)
    found = {net.name: children.get(names.get(net.name, net.name)) for net in model.nets}
    return {name: net for name, net in found.items() if net is not None}


def stored(model: m.Model, module: nn.Module) -> dict[str, Tensor]:
    """The tensor behind each parameter of the spec. Each has its own."""
    named, attributes = dict(module.named_parameters()), stored_names(model)
    found: dict[str, Tensor] = {}
    for param in model.params:
        name = attributes[param.name]
        name = renamed(module).get(name, name)
        if name not in named:
            raise DifferenceError(f"a parameter is not in the module: {param.name}")
        if any(named[name] is other for other in found.values()):
            raise DifferenceError(f"two parameters are one tensor: {name}")
        found[param.name] = named[name]
    return found


def renamed(module: nn.Module) -> dict[str, str]:
    """What has another name in the module than in the spec."""
    return getattr(module, "renamed", {})


def distance(got: Tensor, expected: Tensor) -> float:
    """The largest difference, relative where the expected value exceeds 1; equal infinities differ by 0."""
    if got.shape != expected.shape:
        raise DifferenceError(f"a shape: {tuple(got.shape)} for {tuple(expected.shape)}")
    got, expected = got.detach().double(), expected.detach().double()
    gap = torch.where(got == expected, 0.0, (got - expected).abs() / expected.abs().clamp(min=1))
    return float(gap.max()) if gap.numel() else 0.0


def compare_gradients(module: nn.Module, got: Tensor, expected: Tensor) -> None:
    """Of a weighted sum of the rows that are possible."""
    possible = expected.detach() > -torch.inf
    weights = torch.linspace(1, 2, len(expected), dtype=torch.float64)
    named = dict(module.named_parameters())
    if not named or not bool(possible.any()):
        return
    ours, theirs = (gradients((weights * x)[possible].sum(), named) for x in (expected, got))
    for name, gradient in ours.items():
        scale = max(1.0, float(gradient.abs().max())) if gradient.numel() else 1.0
        gap = distance(theirs[name] / scale, gradient / scale)
        if not gap <= GRADIENT:
            raise DifferenceError(f"gradient: of {name}, {theirs[name].tolist()} for {gradient.tolist()}")


def gradients(total: Tensor, named: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Zeros where nothing depends on a parameter."""
    if not total.requires_grad:
        return {name: torch.zeros_like(parameter) for name, parameter in named.items()}
    found = torch.autograd.grad(total, list(named.values()), allow_unused=True)
    return {name: torch.zeros_like(p) if g is None else g for (name, p), g in zip(named.items(), found, strict=True)}


def compare_marginals(model: m.Model, module: nn.Module, batch: Mapping[str, Tensor], answers: list[Answer]) -> None:
    """Of each unknown cell of a variable without event shape, in each possible row."""
    wanted = [
        v.name
        for v in model.variables
        if v.role in ("latent", "partial") and v.type.domain in FINITE_DOMAINS and not v.type.shape
    ]
    wanted = [name for name in wanted if any(cell[0] == name for one in answers for cell in one.marginals)]
    if not wanted:
        return
    got = module.posterior(batch, query="marginals")  # pyright: ignore[reportCallIssue]
    for row, one in enumerate(answers):
        for (name, place), expected in one.marginals.items():
            if name not in wanted or not bool(one.log_prob > -torch.inf):
                continue
            if name not in got:
                raise DifferenceError(f"posterior without a latent: {name}")
            found = got[name][(row, *place)][: len(expected)]
            gap = distance(found, torch.tensor(expected, dtype=torch.float64))
            if not gap <= MARGINAL:
                raise DifferenceError(f"posterior: of {name} at {place} in row {row}, {found.tolist()} for {expected}")
