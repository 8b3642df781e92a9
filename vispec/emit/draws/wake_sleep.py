"""The sleep phase of wake–sleep (Hinton et al. 1995): the guide's log-density at latents that the model dreams, with its data.

The wake phase is log_prob: at draws of the guide, which carry no gradient, the model learns log p. Here the model dreams rows,
and the guide learns to say which latents they came from: ∇ KL(p(z | x) ‖ q(z | x)) at dreamed x in the place of
∇ KL(q(z | x) ‖ p(z | x)) at the data, so the gradient is that of no one bound.
"""

from vispec.emit.draws.combine import log_q_of
from vispec.emit.sampling.generator import given_in
from vispec.emit.writer import ModuleNeeds, Writer
from vispec.model.types import INTEGER_DOMAINS
from vispec.plan.axes import element_plates
from vispec.plan.plan import Plan


def sleeps(plan: Plan) -> bool:
    """Whether the guide of its latents learns from dreams."""
    return "wake_sleep" in plan.by_gradient


def sleep_method(plan: Plan, needs: ModuleNeeds) -> list[str]:
    """`sleep(batch)`: as many dreams as the batch has rows, under what is given in them and of their lengths."""
    w = Writer(plan.model, plan.scope, plan.order, needs)
    w.origin = "dream"
    w.taken.add("dream")
    for treatment in plan.drawn:
        variable = plan.model.variable[treatment.variable]
        integer = variable.type.domain in INTEGER_DOMAINS
        w.bound[variable.name] = w.entry(variable.name, element_plates(variable), variable.type.shape, integer)
    result = log_q_of(w, plan, "wake_sleep")
    return [
        "def sleep(self, batch: dict[str, Tensor]) -> Tensor:",
        f'    """log q of the latents of dreamed rows, as many as in the batch ({plan.data_plate},): it teaches the guide."""',
        f"    dream = self.sample({dreamed(plan)})",
        *(f"    {line}" for line in w.body(result.code)),
        f"    return {result.code}",
    ]


def dreamed(plan: Plan) -> str:
    """Arguments of `sample`, as text: the number of rows, what is given, and the lengths of ragged plates."""
    first = next(v.name for v in plan.model.variables if v.role != "latent" and plan.data_plate in v.plates)
    ragged = [plate for plate in plan.model.plates if plate.ragged and not given_in(plan.model, plate.name)]
    lengths = ", ".join(f'"{plate.name}": batch["{plate.length_key}"]' for plate in ragged)
    return f'len(batch["{first}"]), batch' + (f", {{{lengths}}}" if lengths else "")
