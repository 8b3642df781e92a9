"""What can be said but not planned: each is a diagnostic that says why and what to write instead."""

from collections.abc import Iterator

from vispec.diagnostics import Diagnostic, Label, SpecError
from vispec.estimators import estimators
from vispec.model.model import All, Expression, Model, Past, Prefix, Ref, Select, Variable
from vispec.model.types import FINITE_DOMAINS, WHOLE_DOMAINS
from vispec.model.walk import is_read, law_parts, read_values, walk
from vispec.plan.guides import in_joint
from vispec.plan.random_weights import prior_problems
from vispec.plan.refused.suitable import estimator_problems
from vispec.plan.refused.trees import law_problems, root_problems

CODES = {
    "V701": "Latents of crossing plates are coupled",
    "V702": "A tree is neither given, observed nor summed out under one law",
    "V703": "The words before one, or more elements than the budget allows, are read together and summed out",
    "V704": "A discrete latent is shared by all rows",
    "V705": "A prior over a net's weights is not compiled",
    "V706": "An estimator is not compiled",
    "V707": "Nothing sums such a chain or structure at once, and it has too many elements to be taken apart",
    "V708": "Elements of enumerated latents are coupled by an index",
    "V709": "A latent without a finite number of values is enumerated",
    "V710": "A continuous latent has no guide",
    "V711": "A sum takes more terms or bytes than its budget",
    "V712": "The elements of a drawn latent before one are read together",
    "V713": "Something is read through a head, and the root has none",
    "V714": "An estimator does not suit its latent",
    "V715": "Latents of one row ask for different bounds",
    "V716": "A guide reads a latent that nothing else reads",
    "V717": "The past of a deterministic node that has none",
    "V718": "A variable with a law of a law is drawn in a way that is not compiled",
    "V720": "An element of another one's ragged plate is read, which may not be there",
    "V721": "A latent that all rows share reads data",
    "V723": "A latent that is to be integrated is neither jointly Gaussian nor in a conjugate pair",
    "V724": "A latent is drawn along a tree",
}


def check_plannable(model: Model) -> None:
    """Raise SpecError with every reason why this model has no plan."""
    found = tuple(problems(model))
    if found:
        raise SpecError(model.source, found)


def problems(model: Model) -> Iterator[Diagnostic]:
    data = next(plate.name for plate in model.plates if plate.data)
    yield from prior_problems(model)
    for infer in model.infer:
        for estimator in (infer.estimator, infer.otherwise):
            if estimator is not None and estimator.name not in estimators():
                message = f"estimator `{estimator.name}` is not compiled in this version"
                yield Diagnostic("V706", message, Label(estimator.span), help=f"compiled are {', '.join(sorted(estimators()))}")
    for variable in model.variables:
        yield from variable_problems(variable, model, data)
    yield from guide_problems(model)
    yield from absent_problems(model)
    yield from root_problems(model)
    yield from estimator_problems(model)


def guide_problems(model: Model) -> Iterator[Diagnostic]:
    """V716: what the model does not read is not drawn, so a guide that reads it has nothing to read."""
    unread = {v.name for v in model.variables if v.role == "latent" and not is_read(model, v.name)}
    parts = [part for law in model.guide for part in law_parts(law.law)] + [let.value for let in model.guide_lets]
    reads = [e for part in parts for e in walk(part) if isinstance(e, Ref | All | Prefix | Past | Select) and e.name in unread]
    for e in {e.name: e for e in reads}.values():
        message = f"the guide reads `{e.name}`, which no law of the model reads, so it is not drawn"
        declared = (Label(model.variable[e.name].span, "only the guide reads it"),)
        yield Diagnostic("V716", message, Label(e.span, "never drawn"), declared, "leave it out of the guide")


def absent_problems(model: Model) -> Iterator[Diagnostic]:
    """V720: how many elements a ragged plate has differs with the plates around it, so what stands at the same place of another
    element of these is not always there."""
    seen = set[tuple[str, str]]()
    for e in (*model_expressions(model), *guide_expressions(model)):
        node = model.variable.get(getattr(e, "name", "")) or model.let.get(getattr(e, "name", ""))
        moved = {e.plate} if isinstance(e, Past) else {plate for plate, _ in e.by} if isinstance(e, Select) else set[str]()
        if node is None or not moved:
            continue
        for plate in (model.plate[p] for p in node.plates):
            around = next((p for p in plate.inside if p in moved), None)
            if not plate.ragged or around is None or (node.name, plate.name) in seen:
                continue
            seen.add((node.name, plate.name))
            message = (
                f"`{node.name}` of another element of `{around}` is read, and that may have fewer elements of `{plate.name}`: "
                f"their number differs along `{around}`"
            )
            opened = (Label(plate.span, "its size is told for each one"),)
            sized = f"give it a size, `{plate.kind} {plate.name}[K]:`"
            help_ = f"{sized}, or open `{plate.name}` outside `{around}` first and again inside"
            yield Diagnostic("V720", message, Label(e.span, "may not be there"), opened, help_)


def variable_problems(variable: Variable, model: Model, data: str) -> Iterator[Diagnostic]:
    name, type_ = variable.name, variable.type
    finite = type_.domain in FINITE_DOMAINS | WHOLE_DOMAINS and not type_.shape
    asked = next(
        (estimators()[i.estimator.name] for i in model.infer if i.name == name and i.estimator.name in estimators()), None
    )
    summed = asked is None or asked.way is None
    hidden = variable.role in ("latent", "partial")
    guided = any(guide.name == name for guide in model.guide) or in_joint(name, model) or name in model.integrated
    read = any(getattr(e, "name", None) == name for e in model_expressions(model))
    if type_.whole:
        yield from law_problems(variable, model)
    if variable.role == "latent" and data not in variable.plates and type_.discrete:
        message = f"discrete latent `{name}` is shared by all rows: summed over a minibatch, its gradient would be biased"
        sized = f"give the data plate a size, as `plate {data}[N]:`, so that all of the data is one row"
        help_ = f"move it into the data plate, make it continuous, or {sized}"
        yield Diagnostic("V704", message, Label(variable.span), help=help_)
        return
    if variable.role == "latent" and data not in variable.plates:
        yield from shared_problems(variable, model)
    if not hidden or not read:
        return
    if finite and asked is not None and not summed and (asked.point or type_.whole):
        message = f"`{name}` is discrete; `{asked.name}` over discrete latents is not compiled in this version"
        yield Diagnostic("V706", message, Label(variable.span), help="leave it out of `infer:`, so that it is summed exactly")
        return
    if finite and summed:
        yield from enumerated_problems(variable, model)
    elif type_.discrete and summed:
        message = f"`{name}` has no finite number of values to enumerate"
        yield Diagnostic("V709", message, Label(variable.span), help=bounded(name))
    elif not finite and not guided and asked is not None and asked.way is None and model.gaussian is not None:
        infer = next(infer for infer in model.infer if infer.name == name)
        real = type_.domain == "real"
        why = dict(model.reasons).get(name, "its law is no normal one" if real else "its law is no prior of a conjugate pair")
        message = f"`{name}` cannot be integrated exactly: {why}"
        declared = (Label(variable.span, f"{'not jointly Gaussian' if real else 'in no conjugate pair'} with what reads it"),)
        yield Diagnostic(
            "V723", message, Label(infer.span, "asked for here"), declared, "leave this line out, or write `elbo(samples=1)`"
        )
    elif not guided and not type_.discrete and (asked is None or asked.guide or asked.way is None):
        help_ = f"write `guide:` with `{name} ~ ...`, or `infer:` with `{name} : mc(samples=100)`"
        yield Diagnostic("V710", f"continuous latent `{name}` has no guide", Label(variable.span), help=help_)


def bounded(name: str) -> str:
    """How a count is written that has an end."""
    return (
        "bound it, for instance by 50 values, 0 to 49, of a plate that holds the logarithms of their weights, here Poisson's: "
        f"`plate v[50]:` with `let w = v * log(rate) - lgamma(v + 1)`, and `latent {name} : index[v] ~ "
        "Categorical(softmax(w[*]))`, which is a number in laws"
    )


def shared_problems(variable: Variable, model: Model) -> Iterator[Diagnostic]:
    """V721: what all rows share is drawn before any batch is there."""
    lets = {let.name: let for let in (*model.lets, *model.guide_lets)}
    laws = [variable.law, *(guide.law for guide in model.guide if guide.name == variable.name)]
    todo = [part for law in laws if law is not None for part in law_parts(law)]
    while todo:
        for e in walk(todo.pop()):
            name = getattr(e, "name", "")
            if name in lets:
                todo.append(lets.pop(name).value)
            elif name in model.variable and model.variable[name].role != "latent":
                message = f"`{variable.name}` is shared by all rows and drawn before any data are there, and it reads `{name}`"
                declared = (Label(model.variable[name].span, "from the data"),)
                help_ = (
                    f"draw it around 0, or around parameters, and add what depends on `{name}` in a `let` inside the data plate"
                )
                yield Diagnostic("V721", message, Label(e.span, "data"), declared, help_)
                return


def enumerated_problems(variable: Variable, model: Model) -> Iterator[Diagnostic]:
    """V703: words that are summed and read together before each element: a path for each text that there is, as many as a
    vocabulary of the data to the power of a length of the data. Of other types `check` counts the paths."""
    name = variable.name
    if variable.type.domain != "token":
        return
    reads = [e for e in (*model_expressions(model), *guide_expressions(model)) if getattr(e, "name", None) == name]
    before = next((e for e in reads if isinstance(e, Prefix)), None)
    if before is not None:
        message = (
            f"`{name}` is summed over, and its elements before one are read together: every path would have to be enumerated"
        )
        help_ = f"read the one before, `{name}[{before.plate}-1]`"
        if variable.role == "partial":
            help_ += f", or declare `observed {name}`, which has no gaps"
        yield Diagnostic("V703", message, Label(before.span, "all of them so far"), help=help_)


def guide_expressions(model: Model) -> Iterator[Expression]:
    """Every expression of the guide."""
    for part in (*(part for law in model.guide for part in law_parts(law.law)), *(let.value for let in model.guide_lets)):
        yield from walk(part)


def model_expressions(model: Model) -> Iterator[Expression]:
    """Every expression of the model itself, not of its guide, but for lets that no law and no guide reads."""
    for variable in model.variables:
        for part in law_parts(variable.law) if variable.law else ():
            yield from walk(part)
    for value in read_values(model):
        yield from walk(value)
