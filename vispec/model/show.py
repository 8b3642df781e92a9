"""The printed form of a checked model: one line per declaration, expressions in the language's own notation."""

from collections.abc import Iterator

from vispec.model import model as m

PRECEDENCE = {"or": 1, "and": 2, "not": 3, **dict.fromkeys(("<", "<=", ">", ">=", "==", "!="), 4)}
PRECEDENCE |= {"+": 5, "-": 5, "*": 6, "/": 6, "neg": 7, "^": 8}
CONDITIONAL = 0
ATOM = 9


def show_model(model: m.Model) -> str:
    """The model as text, ending in a newline; every plate, type and treatment of a name is spelt out."""
    return "\n".join(_lines(model)) + "\n"


def _lines(model: m.Model) -> Iterator[str]:
    yield f"model {model.name}"
    for size in model.sizes:
        yield f"size {size.name}" + (f" = {size.value}" if size.value is not None else "")
    for vocab in model.vocabs:
        options = ", ".join(f"{name}={show_setting(value)}" for name, value in vocab.options)
        yield f"vocab {vocab.name}" + (f"({options})" if options else "")
    for table in model.embeddings:
        file = "" if table.file is None else f', from="{table.file}"'
        yield f"embedding {table.name}({table.rows}, {table.width}{file}{', frozen' * table.frozen})"
    for plate in model.plates:
        yield show_plate(plate)
    for param in model.params:
        start = "" if param.value is None else f" = {show(param.value)}"
        yield f"param {param.name} : {param.type}{start}{_where(param.plates)}"
    for net in model.nets:
        yield from _net(net)
    for name in model.order:
        yield _node(model.variable.get(name) or model.let[name])
    for let in model.guide_lets:
        yield f"guide {_node(let)}"
    for law in model.guide:
        yield f"guide {law.name} ~ {show_law(law.law)}"
    if model.joint is not None:
        settings = ", ".join([model.joint.family, *(f"{name}={value}" for name, value in model.joint.settings)])
        yield f"guide auto({settings})"
    for infer in model.infer:
        yield _infer(infer)
    for entry in model.fit:
        yield _fit(entry)


def show_plate(plate: m.Plate) -> str:
    """`chain t: ragged in sentence, lengths x_len`."""
    size = f"[{plate.size}]" if plate.size is not None else ""
    rows = "the data" if not plate.implicit else "the one row of the data, no line of the text"
    told = rows if plate.data else f"ragged, lengths {plate.length_key}" if plate.ragged else ""
    inside = f"in {', '.join(plate.inside)}" if plate.inside else ""
    notes = "; ".join(note for note in (told, inside) if note)
    return f"{plate.kind} {plate.name}{size}" + (f": {notes}" if notes else "")


def _where(plates: tuple[str, ...]) -> str:
    return f"  in {', '.join(plates)}" if plates else ""


def _node(node: m.Variable | m.Let) -> str:
    if isinstance(node, m.Let):
        return f"let {node.name} : {node.type} = {show(node.value)}{_where(node.plates)}"
    law = f" ~ {show_law(node.law)}" if node.law is not None else ""
    return f"{node.role} {node.name} : {node.type}{law}{_where(node.plates)}"


def _net(net: m.Net) -> Iterator[str]:
    args = ", ".join(f"{name}: {kind}" for name, kind in net.args)
    heads = [f"{name}: {kind}" if name else str(kind) for name, kind in net.heads]
    prior = f" ~ {show_law(net.prior)}" if net.prior is not None else ""
    yield f"net {net.name}({args}) -> {heads[0] if net.heads[0][0] == '' else '(' + ', '.join(heads) + ')'}{prior}"
    for stage in net.trunk:
        yield f"  {show_stage(stage)}" + (f" ~ {show_law(stage.prior)}" if stage.prior is not None else "")


def show_stage(stage: m.Stage) -> str:
    """`mlp(sizes=[128])`; those that a guide's net was given need not name a setting."""
    settings = [*map(show_setting, stage.args), *(f"{name}={show_setting(value)}" for name, value in stage.kwargs)]
    return f"{stage.layer}({', '.join(settings)})"


def _estimator(estimator: m.Estimator) -> str:
    settings = ", ".join(f"{name}={show_setting(value)}" for name, value in estimator.settings)
    return estimator.name + (f"({settings})" if settings else "")


def _infer(infer: m.Infer) -> str:
    budget = f" up to {infer.budget}" if infer.budget is not None else ""
    otherwise = f" else {_estimator(infer.otherwise)}" if infer.otherwise is not None else ""
    return f"infer {infer.name} : {_estimator(infer.estimator)}{budget}{otherwise}"


def _fit(entry: m.FitEntry | m.Schedule) -> str:
    if isinstance(entry, m.Schedule):
        return f"fit {entry.key} : {entry.what} from {entry.start:g} to {entry.stop:g} over {entry.over:g} {entry.unit}"
    if ("unit", "tokens") in entry.call:
        return f"fit {entry.key} : {entry.value} tokens"
    call = ", ".join(f"{name}={show_setting(value)}" for name, value in entry.call)
    return f"fit {entry.key} : {show_setting(entry.value)}" + (f"({call})" if call else "")


def show_setting(value: m.Setting) -> str:
    """A setting as the language writes it."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple):
        return f"[{', '.join(map(show_setting, value))}]"
    if isinstance(value, m.Embedding):
        return value.name
    return "none" if value is None else str(value)


def show_law(law: m.Law) -> str:
    """A law with its parameters by name."""
    match law:
        case m.Draw():
            outer, own, bounds = m.taken_apart(law)
            told = [f"{param}={show(value)}" for param, value in own.args]
            told += [f"{name}={show_setting(value)}" for name, value in own.options]
            inside = f"{own.distribution}({', '.join(told)})"
            return f"{outer}({', '.join([inside, *(f'{word}={show(value)}' for word, value in bounds)])})" if outer else inside
        case m.Choice(test=test, then=then, otherwise=otherwise):
            return f"{show_law(then)} if {show(test, CONDITIONAL + 1)} else {show_law(otherwise)}"
        case m.Then(laws=laws):
            return " then ".join(show_law(each) for each in laws)
        case m.Flow(base=base, context=context, settings=settings):
            args = base.args if context is None else (*base.args, ("context", context))
            told = [f"{name}={show(value)}" for name, value in args] + [f"{name}={value}" for name, value in settings]
            return f"Flow({', '.join(told)})"


def show(expression: m.Expression, least: int = CONDITIONAL) -> str:
    """An expression, in brackets where it binds more loosely than its place asks."""
    text, binds = _show(expression)
    return f"({text})" if binds < least else text


def _show(node: m.Expression) -> tuple[str, int]:
    match node:
        case m.Const(value=value):
            return f"{value:g}" if isinstance(value, float) else str(value), ATOM if value >= 0 else PRECEDENCE["neg"]
        case m.Ref(name=name) | m.SizeOf(name=name):
            return name, ATOM
        case m.All(name=name):
            return f"{name}[*]", ATOM
        case m.Base(draw=draw):
            return f"base({draw.name})", ATOM
        case m.Evidence(read=read, seen=seen):
            text, _ = _show(read)
            return f"seen({text})" if seen else text, ATOM
        case m.Prefix(name=name, plate=plate):
            return f"{name}[<{plate}]", ATOM
        case m.Past(name=name, plate=plate, lag=lag):
            return f"{name}[{plate}-{lag}]", ATOM
        case m.Recursion(steps=steps):
            return " then ".join(show(step, 1) for step in steps), 0
        case m.Select(name=name, by=by):
            return f"{name}[{', '.join(f'{plate}={show(index)}' for plate, index in by)}]", ATOM
        case m.Element(base=base, at=at):
            return f"{show(base, ATOM)}[{show(at)}]", ATOM
        case m.Position(plate=plate):
            return plate, ATOM
        case m.Length(plate=plate):
            return f"|{plate}|", ATOM
        case m.Where(sequence=sequence, mask=mask):
            return f"{show(sequence)} where {show(mask)}", CONDITIONAL
        case m.NetCall(net=net, args=args, head=head):
            return f"{net}({', '.join(show(argument) for argument in args)})" + (f".{head}" if head else ""), ATOM
        case m.Conditional(test=test, then=then, otherwise=otherwise):
            return f"{show(then, 1)} if {show(test, 1)} else {show(otherwise)}", CONDITIONAL
        case m.For(body=body, plate=plate):
            return f"{show(body)} for {plate}", CONDITIONAL
        case m.Stack(items=items):
            return f"[{', '.join(show(item) for item in items)}]", ATOM
        case m.Apply(function=function, args=args):
            return _apply(function, args)
    raise TypeError(f"no printed form for {type(node).__name__}")


def _apply(function: str, args: tuple[m.Expression, ...]) -> tuple[str, int]:
    binds = PRECEDENCE.get(function)
    if binds is None:
        return f"{function}({', '.join(show(argument) for argument in args)})", ATOM
    if len(args) == 1:
        return f"{'-' if function == 'neg' else 'not '}{show(args[0], binds)}", binds
    left, right = args
    chained = function == "^" or binds == PRECEDENCE["<"]  # a ^ b ^ c groups to the right; a < b < c does not group at all
    return f"{show(left, binds + chained)} {function} {show(right, binds + (function != '^'))}", binds
