"""Sum out discrete latents that are independent in each element of their plates: log Σ_z exp Σ_f f(z)."""

from collections.abc import Mapping

from vispec.emit.laws.categorical import Lookup, Unnormalised
from vispec.emit.laws.densities import Density, Mixed, Table, dense
from vispec.emit.laws.forms import tensor
from vispec.emit.laws.joins import add, last, tilt
from vispec.emit.steps import StepKind
from vispec.emit.steps.unroll import joint_values
from vispec.emit.value import Value, align, paren
from vispec.emit.writer import Writer
from vispec.plan.axes import present, unrolled_plate
from vispec.plan.plan import Step


def derivation(step: Step) -> str:
    latents = ", ".join(step.eliminated)
    return f"{step.output} = log Σ_{{{latents}}} exp({' + '.join(step.inputs)})"


def emit(w: Writer, step: Step, inputs: Mapping[str, Density], query: bool) -> Value | Mixed:
    if not query and (found := mixed_lookup(w, step, inputs)):
        return found
    inputs = {name: dense(w, found) if isinstance(found, Unnormalised) else found for name, found in inputs.items()}
    if not query and (found := mixture(w, step, inputs)):
        return found
    guides = [dense(w, found) for name, found in inputs.items() if name.startswith("guide_")]
    if guides:
        return under_guide(w, step, add(w, guides, "log_q"), inputs, query)
    parts = [dense(w, found) for found in inputs.values()]
    if query:
        parts += [tilt_of(w, axis) for axis in step.eliminated]
    names = "_".join(map(present, step.eliminated))
    joint = add(w, parts, f"log_joint_of_{names}")
    for latent in step.eliminated:
        joint = ensure_axis(w, joint, latent)
    joint = last(w, joint, step.eliminated)
    sum_of = "total" if query else w.needs.kernel("vispec.kernels.sums.logsum", "log_sum_exp")
    return w.let(f"log_sum_{names}", f"{sum_of}({joint.code})", joint.axes[:-1])


def tilt_of(w: Writer, axis: str) -> Value:
    """A query's own term for a latent, or for the joint values of one that is unrolled."""
    plate, own = unrolled_plate(axis), tilt(w, present(axis))
    return own if plate is None else joint_values(w, own, plate)


def under_guide(w: Writer, step: Step, log_q: Value, inputs: Mapping[str, Density], query: bool) -> Value:
    """Σ_z q(z) (log f(z) − log q(z)), every value enumerated; a query asks the guide itself, and under each value what is
    summed out inside."""
    latents = step.eliminated
    parts = {name: found for name, found in inputs.items() if not name.startswith("guide_")}
    if query:
        sums = [dense(w, found) for name, found in parts.items() if name.startswith(("sum_", "chain_", "trees_"))]
        asked = [log_q, *(tilt(w, latent) for latent in latents), *([silent(w, sums)] if sums else [])]
        tilted = last(w, add(w, asked, "tilted"), latents)
        return w.let(f"log_sum_{'_'.join(latents)}", f"total({tilted.code})", tilted.axes[:-1])
    joint = add(w, [dense(w, found) for found in parts.values()], f"log_joint_of_{'_'.join(latents)}")
    for latent in latents:
        joint = ensure_axis(w, joint, latent)
    axes = w.sort({*joint.axes, *log_q.axes, *latents})
    function = w.needs.kernel("vispec.kernels.sums.logsum", "expected_under")
    if axes[-1:] == latents:
        q = tensor(w, log_q) if log_q.scalar else align(log_q, axes)
        return w.let(f"bound_{axes[-1]}", f"{function}({q}, {align(joint, axes)})", axes[:-1])
    q, f = (last(w, wide(w, value, axes), latents) for value in (log_q, joint))
    return w.let(f"bound_{'_'.join(latents)}", f"{function}({q.code}, {f.code})", q.axes[:-1])


def silent(w: Writer, sums: list[Value]) -> Value:
    """What is summed out inside: it has no say in the weights of a guided latent, and an answer of its own under each value."""
    inner = add(w, sums, "log_inside")
    function = w.needs.kernel("vispec.kernels.sums.logsum", "gradient_alone")
    return w.let("inside", f"{function}({inner.code})", inner.axes)


def wide(w: Writer, value: Value, axes: tuple[str, ...]) -> Value:
    """The value with all of the axes."""
    if value.axes == axes:
        return value
    code = tensor(w, value) if value.scalar else align(value, axes)
    return Value(f"{paren(code)}.expand({', '.join(map(w.axis_size, axes))})", axes)


def ensure_axis(w: Writer, joint: Value, latent: str) -> Value:
    """A factor that is the same for every value of the latent still counts each of them."""
    if latent in joint.axes:
        return joint
    axes = w.sort((*joint.axes, latent))
    ones = align(w.position(latent), axes)
    return w.let("joint", f"{align(joint, axes)} + 0 * {ones}", axes)


def mixture(w: Writer, step: Step, inputs: Mapping[str, Density]) -> Value | None:
    """One table, and otherwise only what is the same for all elements: responsibilities and gradient in one operation."""
    tables = [found for found in inputs.values() if isinstance(found, Table)]
    others = [found for found in inputs.values() if isinstance(found, Value)]
    if (
        len(tables) != 1
        or len(tables) + len(others) < len(inputs)
        or len(step.eliminated) != 1
        or tables[0].axes[-1] != step.eliminated[0]
    ):
        return None
    if any(set(value.axes) - {step.eliminated[0]} for value in others):
        return None
    table = tables[0]
    const = add(w, [table.const, *others], "const")
    function = w.needs.kernel("vispec.kernels.sums.mixture", "mixture_log_prob")
    code = f"{function}({const.code}, {table.weight.code}, {table.statistics.code})"
    return w.let(f"log_sum_{step.eliminated[0]}", code, table.axes[:-1])


def mixed_lookup(w: Writer, step: Step, inputs: Mapping[str, Density]) -> Mixed | None:
    """One table of outcomes, and otherwise only what is the same along some of their plates, as in a topic model."""
    lookups = [found for found in inputs.values() if isinstance(found, Lookup)]
    others = [found for found in inputs.values() if isinstance(found, Value | Unnormalised)]
    if len(lookups) != 1 or not others or 1 + len(others) < len(inputs) or lookups[0].table.axes != step.eliminated:
        return None
    (lookup,), (latent,) = lookups, step.eliminated
    weight = others[0] if len(others) == 1 else add(w, [dense(w, each) for each in others], f"log_weight_of_{latent}")
    rows, axes = weight.axes[:-1], lookup.value.axes
    if weight.axes[-1:] != (latent,) or len(rows) == len(axes) or rows != axes[: len(rows)]:
        return None
    return Mixed(weight, lookup, f"log_sum_{latent}")


ENTRY = StepKind("sum", derivation, emit)
