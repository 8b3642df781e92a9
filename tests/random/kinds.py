"""python -m tests.random.kinds [--write]

The smallest specs of the kinds of failure that random models met, `kinds/NAME.vispec`, and beside each, `kinds/NAME.json`:
stored parameters, a batch, and log p of its rows by brute force. Says which still fail; `--write` makes the values anew."""

import json
import sys
from pathlib import Path
from random import Random
from typing import Any

import torch
from torch import Tensor

from tests.random.brute.data import random_batch
from tests.random.brute.scalars import measured
from tests.random.compare import VALUE, DifferenceError, Outcome, crash, distance, loaded, outcome, refusal, stored
from tests.random.oracle import answer, worlds
from vispec.compile import compile_spec
from vispec.diagnostics import SpecError
from vispec.model import model as m
from vispec.model.check import check_model
from vispec.model.types import INTEGER_DOMAINS
from vispec.plan.planner import plan_model
from vispec.source import Source
from vispec.syntax.parse import parse

FOLDER = Path(__file__).with_name("kinds")


def checked(text: str) -> tuple[m.Model, dict[str, int]]:
    model = check_model(parse(Source("kind.vispec", text)), {})
    return model, {size.name: int(size.value) for size in model.sizes if size.value is not None}


def value_of(text: str, seed: int = 0) -> dict[str, Any]:
    """Random stored parameters and a batch of two rows, and what is right for them; of a model without nets."""
    model, sizes = checked(text)
    if model.nets:
        raise ValueError("a kind needs a spec without nets, whose weights the module has")
    rng = Random(seed)
    raw = {p.name: _normal([measured(d, sizes) for d in _shape(model, p)], rng) for p in model.params}
    batch = random_batch(model, sizes, 2, rng)
    found = [answer(world).log_prob.item() for world in worlds(model, sizes, batch, 2, {}, raw)]
    return {"raw": _lists(raw), "batch": _lists(batch), "log_prob": found}


def _shape(model: m.Model, param: m.Param) -> list[int | str]:
    plates = [model.plate[plate].size for plate in param.plates]
    return [*(size for size in plates if size is not None), *param.type.shape]


def _normal(shape: list[int], rng: Random) -> Tensor:
    return torch.tensor([round(rng.gauss(0, 1), 3) for _ in range(torch.Size(shape).numel())]).double().reshape(shape)


def _lists(tensors: dict[str, Tensor]) -> dict[str, Any]:
    return {name: tensor.tolist() for name, tensor in tensors.items()}


def status(path: Path) -> Outcome:
    """The module's log p against the stored value, then everything else against brute force."""
    text = path.read_text()
    stage = "check"
    try:
        model, _ = checked(text)
        plan_model(model)
        stage = "compile"
        module = loaded(compile_spec(Source("kind.vispec", text)))
        stage = "run"
        expected = json.loads(path.with_suffix(".json").read_text())
        raw = stored(model, module)
        with torch.no_grad():
            for name, values in expected["raw"].items():
                raw[name].copy_(torch.tensor(values, dtype=torch.float64))
        got = module.log_prob(read_batch(model, expected["batch"]))  # pyright: ignore[reportCallIssue]
        if not distance(got, torch.tensor(expected["log_prob"], dtype=torch.float64)) <= VALUE:
            return Outcome("differ", "log_prob", f"{got.tolist()} for {expected['log_prob']}")
    except SpecError as error:
        return refusal(error, stage)
    except DifferenceError as found:
        return Outcome("differ", str(found).partition(": ")[0], str(found))
    except Exception as error:
        return crash(stage, error)
    return outcome(text)


def read_batch(model: m.Model, batch: dict[str, Any]) -> dict[str, Tensor]:
    """Labels and lengths as integers, what is seen as booleans, all else in float64."""
    labels = {v.name for v in model.variables if v.type.domain in INTEGER_DOMAINS}
    labels |= {plate.length_key for plate in model.plates}
    seen = {f"{v.name}_observed" for v in model.variables if v.role == "partial"}
    return {
        name: torch.tensor(values, dtype=torch.bool if name in seen else torch.int64 if name in labels else torch.float64)
        for name, values in batch.items()
    }


def main() -> int:
    failing = 0
    for path in sorted(FOLDER.glob("*.vispec")):
        if "--write" in sys.argv and status(path).status != "refused":  # of a refused one, the value is that of an equal model
            path.with_suffix(".json").write_text(json.dumps(value_of(path.read_text())) + "\n")
        found = status(path)
        failing += found.status != "agree"
        print(f"{path.stem}: {found}")
    print(f"{failing} fail")
    return int(failing > 0)


if __name__ == "__main__":
    sys.exit(main())
