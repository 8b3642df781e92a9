"""log_prob, loss, what all rows share, and the dreams that teach guides."""

from __future__ import annotations

from collections.abc import Sequence

from vispec.lower.generate import given_in
from vispec.lower.otherwise import Otherwise
from vispec.lower.outputs import Outputs
from vispec.plan.held.adds import TRAINING
from vispec.program.node import Input
from vispec.program.program import Program
from vispec.torch.members.members import BATCH, Members, entries_of, rows
from vispec.torch.text.names import local

SHARED = "shared: tuple[Tensor, ...] | None = None"
TOLD = "training: bool = False"
GRADIENT_ALONE = ("vispec.kernels.sums.logsum", "gradient_alone")


def density(m: Members, o: Outputs) -> None:
    """log_prob, loss, and what these need."""
    trained = reads_training(o.log_prob) or (o.otherwise is not None and reads_training(o.otherwise.log_prob))
    arguments, passed, before = [BATCH], ["batch"], list[str]()
    if o.shared is not None and o.shared.orders:
        before.append(f"{', '.join([*map(local, o.shared.orders), '_'])} = self.shared() if shared is None else shared")
        arguments, passed = [*arguments, SHARED], [*passed, "shared"]
    if trained:
        arguments, passed = [*arguments, TOLD], [*passed, "training=self.training"]
    if o.otherwise is None:
        m.program("log_prob", o.log_prob, summary(o, trained), arguments, before=before)
    else:
        log_prob_by_rows(m, o, o.otherwise, arguments)
        m.program("exact_log_prob", o.log_prob, summary(o, trained), arguments, before=before)
        doc = f"A bound on log p of each row ({rows(o)},) or an estimate, in nats{WITH if trained else ''}."
        m.program("estimated_log_prob", o.otherwise.log_prob, doc, arguments, before=before)
    loss(m, o, ", ".join(passed))
    if o.sleep is not None:
        sleep(m, o, o.sleep)
    if o.shared is not None:
        trained = reads_training(o.shared.program)
        shapes = [f"{name} ({', '.join(axis.hint for axis in order)})" for name, order in o.shared.orders.items()]
        doc = "; ".join([*shapes, "log p − log q of all that rows share" + (WITH if trained else "")]) + "."
        arguments, result = (TOLD,) if trained else (), "tuple[Tensor, ...]"
        m.program("shared", o.shared.program, doc, arguments, "tuple", result, orders=o.shared.orders)


def reads_training(program: Program) -> bool:
    """Whether training adds something to it."""
    return TRAINING in program.nodes()


def log_prob_by_rows(m: Members, o: Outputs, other: Otherwise, arguments: Sequence[str]) -> None:
    """log_prob by one of two methods, each row by its number of joint values."""
    assert o.plan is not None
    assert o.plan.exactly is not None
    name, most = o.plan.exactly
    (axis, *more) = o.setting.joint.held.along[name]
    short = axis.lengths.name if isinstance(axis.lengths, Input) and not more else ""
    entries = entries_of(o.model)
    keys = [f'"{key}"' for key, plates in entries.items() if rows(o) in plates]
    places = {key: plates.index(axis.hint) for key, plates in entries.items() if short and axis.hint in plates}
    along = ", ".join(f'"{key}": {place}' for key, place in places.items())
    told = [argument.partition(":")[0] for argument in arguments[1:]]
    passed = "".join(f", {each}" for each in told)
    lines = [
        f"def log_prob({', '.join(['self', *arguments])}) -> Tensor:",
        f'    """log p of each row ({rows(o)},) in nats: {o.plan.estimator}."""',
        f"    names, along = ({', '.join(keys)},), {{{along}}}",
        *(["    shared = self.shared() if shared is None else shared"] if "shared" in told else []),
        "    few, ways = self.few(batch), (self.exact_log_prob, self.estimated_log_prob)",
        f'    return by_rows(few, batch, *ways, names, along, "{short}"{passed})',
    ]
    m.text(lines, ("vispec.kernels.rows", "by_rows"))
    m.program("few", other.few, f"The rows ({rows(o)},) that have at most {most} joint values of {name}.")


WITH = "; in training as `fit:` changes it for the loss"


def summary(o: Outputs, trained: bool) -> str:
    """What log_prob gives."""
    kinds = {"exact": "log p", "elbo": "A lower bound on log p", "iwae": "A lower bound on log p"}
    kind = kinds.get(o.setting.combine, "An estimate of log p")
    exact = "exact, " if o.setting.combine == "exact" else ""
    return f"{kind} of each row ({rows(o)},), {exact}in nats{WITH if trained else ''}."


def loss(m: Members, o: Outputs, passed: str) -> None:
    """The rows of a batch for all rows, and once what these share."""
    counted = "Σ" if o.model.weight is None else "Σ w"
    what = "log p(data)" if o.shared is None else "log p(data) or its bound"
    over = "the rows of the batch" if o.shared is None else "the rows, and once what all rows share"
    lines = [f'"""Minibatch estimate of -{what}: (N/M) {counted} over {over}."""']
    if o.sleep is not None:
        lines = [
            f'"""Minibatch estimate of minus the bound: (N/M) {counted} over {over}.',
            "",
            "Its gradient for the model is that of log p at draws of the guide (wake), for the guide that of log q at dreams",
            "of the model (sleep), whose value cancels.",
            '"""',
        ]
    if o.shared is not None:
        lines.append(f"shared = self.shared({'self.training' if reads_training(o.shared.program) else ''})")
    dreams = "" if o.sleep is None else " + gradient_alone(self.sleep(batch))"
    kernels = [GRADIENT_ALONE] if dreams else []
    lines += [f"log_prob = self.log_prob({passed}){dreams}", *weighing(o)]
    if o.shared is None:
        lines.append("return log_prob.sum() * (-num_data / len(log_prob))")
    else:
        lines.append("return -log_prob.sum() * (num_data / len(log_prob)) - shared[-1]")
    m.text(["def loss(self, batch: dict[str, Tensor], num_data: int) -> Tensor:", *(f"    {x}" for x in lines)], *kernels)


def weighing(o: Outputs) -> list[str]:
    """log_prob as so many rows each; one of none, which may be impossible, adds nothing."""
    if o.model.weight is None:
        return []
    weights = f'batch["{o.model.weight}"]'
    return [f"log_prob = torch.where({weights} > 0, {weights} * log_prob, 0.0)"]


def sleep(m: Members, o: Outputs, program: Program) -> None:
    """As many dreams as the batch has rows, under what is given in them and of their lengths."""
    model = o.model
    first = next(v.name for v in model.variables if v.role != "latent" and rows(o) in v.plates)
    asked = [plate for plate in model.plates if plate.ragged and not given_in(model, plate.name)]
    lengths = ", ".join(f'"{plate.name}": batch["{plate.length_key}"]' for plate in asked)
    dream = f'batch = self.sample(len(batch["{first}"]), batch{", {" + lengths + "}" if lengths else ""})'
    doc = f"log q of the latents of dreamed rows, as many as in the batch ({rows(o)},): it teaches the guide."
    m.program("sleep", program, doc, before=[dream])
