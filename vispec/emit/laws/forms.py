"""A value in another form: its own numbers, log-odds, log-probabilities; reals, whole numbers, truth values."""

from vispec.emit.value import Form, Value
from vispec.emit.writer import Writer


def to_value(w: Writer, value: Value, domain: str) -> Value:
    """Its own numbers, link functions applied; of a comparison, 0 and 1."""
    value = linked(w, value, domain)
    if not value.truth:
        return value
    found = w.cache.get(("number", value.code))
    if not isinstance(found, Value):
        found = w.cache["number", value.code] = w.let("bit", f"{value.code}.to(self.one.dtype)", value.axes, value.event)
    return found


def linked(w: Writer, value: Value, domain: str) -> Value:
    """Its own values; a comparison stays a truth value."""
    match value.form:
        case "value":
            return value
        case "logit":
            return w.let(f"{stem(value)}_prob", f"torch.sigmoid({value.code})", value.axes, value.event)
        case "logits":
            return w.let(f"{stem(value)}_prob", f"{value.code}.softmax(-1)", value.axes, value.event)
        case "log":
            return w.let(f"{stem(value)}_prob", f"{value.code}.exp()", value.axes, value.event)
        case "raw":
            return w.let(stem(value), link(w, domain, value.code), value.axes, value.event)


def to_form(w: Writer, value: Value, domain: str, form: Form) -> Value:
    """The value as log-odds ("logit") or normalised log-probabilities ("log")."""
    if value.form == form:
        return value
    if form == "log" and value.form == "logits":
        return w.let(f"log_{stem(value)}", f"{value.code}.log_softmax(-1)", value.axes, value.event, "log")
    value = to_value(w, value, domain)
    if form == "log":
        function = w.needs.kernel("vispec.kernels.probability", "log_of")
        return w.let(f"log_{stem(value)}", f"{function}({tensor(w, value)})", value.axes, value.event, "log")
    if form == "logit":
        return w.let(f"{stem(value)}_logit", f"torch.logit({tensor(w, value)})", value.axes, value.event, "logit")
    return value


def link(w: Writer, domain: str, code: str) -> str:
    """A raw output in its domain; the same functions constrain parameters."""
    if domain == "positive":
        return f"F.softplus({code})"
    name = {"cholesky": "to_cholesky", "ordered": "to_ordered"}[domain]
    return f"{w.needs.kernel('vispec.kernels.constraints', name)}({code})"


def stem(value: Value) -> str:
    name = value.code.rsplit(".", 1)[-1].split("[")[0]
    return name.removeprefix("raw_").removesuffix("_raw") if name.isidentifier() else "value"


def tensor(w: Writer, value: Value) -> str:
    """The value's text where a tensor is needed: a number becomes one in the module's dtype."""
    return f"(self.one * {value.code})" if value.scalar else value.code


def truth(value: Value, code: str) -> str:
    """The text of a value as truth values: bits are the numbers 0 and 1."""
    if value.truth:
        return code
    return f"({code} != 0)" if value.scalar else f"{code}.bool()"


def real(w: Writer, value: Value) -> Value:
    """Whole numbers and truth values in the module's dtype."""
    if value.scalar or not (value.integer or value.truth):
        return value
    hint = value.code if value.code.isidentifier() else "number"
    return w.let(hint, f"{value.code}.to(self.one.dtype)", value.axes, value.event)


def logs(w: Writer, value: Value, domain: str) -> tuple[Value, Value]:
    """log p and log(1 - p) of a probability, which may be exactly 0 or 1 where it is computed."""
    name = stem(value)
    if value.form == "logit":
        codes = [f"F.logsigmoid({sign}{value.code})" for sign in ("", "-")]
    else:
        value = to_value(w, value, domain)
        functions = [w.needs.kernel("vispec.kernels.probability", function) for function in ("log_of", "log_of_rest")]
        codes = [f"{function}({tensor(w, value)})" for function in functions]
    hints = (f"log_{name}", f"log_not_{name}")
    log_p, log_rest = (w.let(hint, code, value.axes, value.event) for hint, code in zip(hints, codes, strict=True))
    return log_p, log_rest
