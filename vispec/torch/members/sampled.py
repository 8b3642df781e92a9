"""Methods that tell what is drawn: importance weights, posterior draws, divergences, and the parameters of guides."""

from __future__ import annotations

from collections.abc import Mapping

from vispec.lower.outputs import Outputs
from vispec.lower.weights import LOG_P, LOG_Q
from vispec.torch.members.members import BATCH, Members, rows
from vispec.torch.text.code import Code, listed, text

SAMPLES = (BATCH, "samples: int")


def weights(m: Members, o: Outputs) -> None:
    """log_weights, draws, shared_draws and divergences."""
    w = o.weighed
    if w is None:
        return
    told = {w.samples: "samples"}
    shared = ";\nwhat all rows share is drawn with each sample and adds nothing" if o.shared is not None else ""
    doc = f"log p(row, latents) − log q(latents) at draws of the latents, (samples, {rows(o)}){shared}."
    m.program("log_weights", w.log_weights, doc, SAMPLES, orders=w.orders, told=told, graph=False)
    if w.draws is not None:
        shapes = "; ".join(f"{name} ({', '.join(axis.hint for axis in w.orders[name])})" for name in w.draws.outputs)
        doc = f"Posterior draws, from the guides: {shapes}."
        m.program("draws", w.draws, doc, SAMPLES, "dict", "dict[str, Tensor]", orders=w.orders, told=told, graph=False)
    if w.shared is not None:
        names = [name for name in w.shared.outputs if name not in (LOG_P, LOG_Q)]
        shapes = "; ".join(f"{name} ({', '.join(axis.hint for axis in w.orders[name])})" for name in names)
        doc = f"Draws of what all rows share, {shapes}, and of each draw log p and log q (s*)."
        arguments, result = SAMPLES[1:], "dict[str, Tensor]"
        m.program("shared_draws", w.shared, doc, arguments, "dict", result, orders=w.orders, told=told, graph=False)
    if w.divergences is not None:
        names = [name.removeprefix("ratio ") for name in w.divergences.outputs if name.startswith("ratio ")]
        doc = (
            f"Of {', '.join(names)}: log p − log q (samples, {rows(o)}) at draws from the guide, and the draws, samples first."
        )
        result = "dict[str, tuple[Tensor, Tensor | None]]"
        m.program("divergences", w.divergences, doc, SAMPLES, paired, result, orders=w.orders, told=told, graph=False)


def drawn(m: Members, o: Outputs) -> None:
    """weighted_draws, and zeros to count them in."""
    d = o.drawn
    if d is None:
        return
    doc = "Draws of what the fit draws, samples first; log p(row, draws) − log q(draws) and log q (samples, rows)."
    beside = ("total", "tilt: dict[str, Tensor]") if d.summed else ()
    told, many = {d.samples: "samples"}, (*SAMPLES, *beside)
    result, graph = "dict[str, Tensor]", bool(d.summed)
    m.program("weighted_draws", d.program, doc, many, "dict", result, orders=d.orders, told=told, graph=graph)
    if d.zeros is not None:
        m.program(
            "no_chances", d.zeros, "0 for each value of what has finitely many, the values last.", SAMPLES[:1], "dict", result
        )


def paired(codes: Mapping[str, Code]) -> Code:
    """{"x": (ratio, draws)}; None where draws are no numbers, or rows differ in length."""
    items = []
    for name, code in codes.items():
        if name.startswith("ratio "):
            own = name.removeprefix("ratio ")
            pair = listed([code, codes.get(f"draw {own}", text("None"))])
            items.append(Code((f'"{own}": ', *pair.pieces), 0))
    return listed(items, "{}")


def guides(m: Members, o: Outputs) -> None:
    """The parameters of the guides, which the posterior gives."""
    if o.guided is None:
        return
    names = list(dict.fromkeys(name.partition(" ")[0] for name in o.guided.program.outputs))
    read = "; what they read of summed latents at `mode`" if o.guided.modes else ""
    exact, drawn = [name for name in names if is_integrated(o, name)], [name for name in names if not is_integrated(o, name)]
    doc = f"The parameters of the guides of {', '.join(drawn)}{read}; drawn latents are read at their locations."
    if exact:
        moments = f"The posterior mean and standard deviation of {', '.join(exact)}, exact."
        doc = f"{doc}\n{moments}" if drawn else moments
    arguments = (BATCH, "mode: dict[str, Tensor]") if o.guided.modes else (BATCH,)
    m.program(
        "guides", o.guided.program, doc, arguments, nested, "dict[str, dict[str, Tensor]]", orders=o.guided.orders, graph=False
    )


def is_integrated(o: Outputs, name: str) -> bool:
    """Whether the posterior of a latent is known in closed form."""
    return name in o.model.integrated


def nested(codes: Mapping[str, Code]) -> Code:
    """{"x": {"loc": ..., "scale": ...}}."""
    found: dict[str, list[Code]] = {}
    for name, code in codes.items():
        latent, _, param = name.partition(" ")
        found.setdefault(latent, []).append(Code((f'"{param}": ', *code.pieces), 0))
    return listed([Code((f'"{name}": ', *listed(items, "{}").pieces), 0) for name, items in found.items()], "{}")
