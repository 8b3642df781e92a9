"""What becomes of a spec by `vispec verify`, whose brute force knows structures, and by every question to its module."""

import re

import torch

from tests.random.compare import Outcome, crash, refusal
from vispec.diagnostics import SpecError
from vispec.model.check import check_model
from vispec.plan.planner import plan_model
from vispec.source import Source
from vispec.syntax.parse import parse
from vispec.verify.build import Built, build, randomise
from vispec.verify.errors import NotCheckedError
from vispec.verify.trial import small_batch
from vispec.verify.verify import LIMIT, verify

QUERIES = ("marginals", "mode", "sample", "entropy", "kbest(2)", "pairs", "moments")
RULES = ("mean", "mode", "sample", "sample(3)", "median", "probs", "joint")
ROWS = 3


def judged(text: str, seed: int) -> Outcome:
    """The outcome; where verify compares nothing, or does not know whose a draw is, it is unchecked."""
    source = Source("drawn.vispec", text)
    try:
        plan_model(check_model(parse(source)))
    except SpecError as error:
        return refusal(error, "check")
    except Exception as error:
        return crash("check", error)
    try:
        report = verify(source, {}, seed)
    except SpecError as error:
        return refusal(error, "compile")
    except Exception as error:
        return crash("verify", error)
    if wrong := [check for check in report.checks if check.differs]:
        return Outcome("differ", ", ".join(check.name for check in wrong), "; ".join(str(check) for check in wrong))
    if (found := asked(build(source, {}), seed)) is not None:
        return found
    skipped = [check.skipped for check in report.checks if check.skipped]
    if len(skipped) == len(report.checks) or any("look like none" in reason for reason in skipped):
        return Outcome("unchecked", re.sub(r"\d+|`\w+`", "_", skipped[0])[:80], skipped[0])
    return Outcome("agree", detail="; ".join(f"{check.name}: {check.skipped}" for check in report.checks if check.skipped))


def asked(built: Built, seed: int) -> Outcome | None:
    """A crash, if there is one: a question that a module has no answer to is a ValueError."""
    generator = torch.Generator().manual_seed(seed)
    randomise(built, generator)
    try:
        batch = small_batch(built, ROWS, generator, LIMIT)[0]
    except NotCheckedError:
        return None
    module = built.module
    questions = {}
    if posterior := getattr(module, "posterior", None):
        questions |= {f"posterior {query}": lambda query=query: posterior(batch, query=query) for query in QUERIES}
    if predict := getattr(module, "predict", None):
        questions |= {f"predict {rule}": lambda rule=rule: predict(batch, rule=rule) for rule in RULES}
    if sample := getattr(module, "sample", None):
        lengths = {name.removesuffix("_len"): value for name, value in batch.items() if name.endswith("_len")}
        questions["sample"] = lambda: sample(ROWS, batch, lengths)
    for name, question in questions.items():
        try:
            question()
        except ValueError:
            pass
        except Exception as error:
            return crash(name, error)
    return None
