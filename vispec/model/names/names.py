"""What a name in an expression stands for, and whether it can be read where it is."""

from collections.abc import Sequence

from vispec.catalog import written_laws
from vispec.model import model as m
from vispec.model.names.scope import Context, Scope, Signature, Symbol
from vispec.model.problems import did_you_mean, listed
from vispec.model.types import Type
from vispec.model.values.functions import FUNCTIONS
from vispec.source import Span
from vispec.syntax import tree as t


def find(scope: Scope, context: Context, node: t.Name) -> Symbol | None:
    """The symbol that a name in an expression stands for; an unknown one is reported once."""
    name = node.id
    if name in scope.poisoned:
        return None
    symbol = scope.symbols.get(name)
    unlabelled = name in scope.stretches and not scope.stretches[name].labelled
    if symbol is not None and (unlabelled or symbol.kind in ("chain of stretches", "length of stretches")):
        what = "a chain of stretches" if unlabelled else symbol.a
        message = f"`{name}` is {what}, and is read in the laws of that chain alone"
        help = "the law of a label reads the one before, `k[s-1]`; that of a length its label"
        scope.problems.add("V323", node.span, message, "no value here", cause=(symbol.span, "declared here"), help=help)
        return None
    if symbol is not None and isinstance(symbol.node, t.Variable) and symbol.node.of is not None:
        message = f"`{name}` is said of whole stretches, of which an element has many, and no law reads it"
        help = "let the label of a stretch say what its elements have in common"
        scope.problems.add("V323", node.span, message, "of stretches", cause=(symbol.span, "declared here"), help=help)
        return None
    if symbol is not None and (context.guide or not symbol.guide):
        scope.used.add(name)
        return symbol
    if symbol is not None:
        message = f"`{name}` is declared in the guide, and the model cannot read it"
        help = "declare it in the model: a guide may read what the model declares"
        scope.problems.add(
            "V101", node.span, message, "not of the model", cause=(symbol.span, "declared in `guide:`"), help=help
        )
        return None
    if name in ("true", "false"):
        return None
    known = [n for n, s in scope.symbols.items() if s.kind not in ("net", "plate", "chain") or n in context.open]
    help = did_you_mean(name, known, "declare it, or correct the name")
    if name in FUNCTIONS or name in written_laws():
        what = "function" if name in FUNCTIONS else "distribution"
        message, help = f"`{name}` is a {what}, not a value", f"apply it: `{name}(...)`"
        scope.problems.add("V103", node.span, message, f"a {what}", help=help)
        return None
    scope.problems.add("V101", node.span, f"nothing is called `{name}`", "not declared", help=help)
    scope.poisoned.add(name)
    return None


def own_element(scope: Scope, context: Context, symbol: Symbol, span: Span, kind: Type) -> m.Expression | None:
    """A bare name: its own element of every plate that it stands in."""
    missing = [plate for plate in symbol.plates if plate not in context.open]
    if missing:
        outside(scope, symbol, span, missing)
        return None
    return m.Ref(span, kind, symbol.name)


def outside(scope: Scope, symbol: Symbol, span: Span, missing: Sequence[str]) -> None:
    """Report a name that has many elements here."""
    name, plate = symbol.name, scope.plates[missing[-1]]
    if plate.data or scope.plates[missing[0]].data:
        plate = scope.plates[missing[0]]
        message = f"`{name}` differs from row to row, and is read where no row is"
        help = f"read it inside `{plate.kind} {plate.name}:`"
    else:
        message = f"`{name}` is read outside its {plate.kind} `{plate.name}`"
        whole = f"`{name}[*]`" if len(missing) == 1 and plate.name == symbol.plates[-1] else None
        one = f"`{name}[...]` with an `index[{plate.name}]`"
        read = f"read the whole sequence as {whole}, or one element as {one}" if whole else f"point at one element: {one}"
        help = f"move this into `{plate.kind} {plate.name}:`, or {read}"
    scope.problems.add("V201", span, message, f"varies over `{plate.name}`", cause=(plate.span, "opened here"), help=help)


def position(scope: Scope, context: Context, node: t.Name) -> m.Position | None:
    """A plate's own index as a number."""
    plate = scope.plates[node.id]
    if node.id not in context.open:
        message = f"`{node.id}` is read as a number outside its {plate.kind}"
        help = f"move this into `{plate.kind} {node.id}:`, or write `for {node.id}` after it"
        scope.problems.add("V201", node.span, message, "no element is meant here", cause=(plate.span, "opened here"), help=help)
        return None
    if plate.data:
        message = f"the rows of `{node.id}` have no numbers: they are independent, and come in any order"
        help = scope.sized(plate.name)
        scope.problems.add("V211", node.span, message, "a number of a row", cause=(plate.span, "the data plate"), help=help)
        return None
    return m.Position(node.span, Type("count"), node.id)


SAID_OTHERWISE = {
    **dict.fromkeys(("len", "length", "count"), "how many elements `x` has is `|x|`"),
    **dict.fromkeys(("pow", "power"), "x to the power of y is `x^y`"),
    **dict.fromkeys(("square", "squared"), "the square of x is `x^2`"),
    "log1p": "the log of 1 + x is `log(1 + x)`",
    "log2": "the log of x to the base 2 is `log(x) / log(2)`",
    "log10": "the log of x to the base 10 is `log(x) / log(10)`",
    "expm1": "exp(x) less 1 is `exp(x) - 1`",
    "rsqrt": "1 over the root of x is `1 / sqrt(x)`",
    **dict.fromkeys(("logsigmoid", "log_sigmoid"), "the log of the sigmoid is `log(sigmoid(x))`"),
    **dict.fromkeys(("logsoftmax", "log_softmax"), "the log of the softmax is `log(softmax(x))`"),
    **dict.fromkeys(("logsumexp", "log_sum_exp"), "the log of the sum of exponentials is `log(sum(exp(x)))`"),
    **dict.fromkeys(("normcdf", "norm_cdf", "probit"), "the distribution function of the standard normal law is `Phi`"),
    **dict.fromkeys(("gammaln", "loggamma"), "the log of the gamma function is `lgamma`"),
    **dict.fromkeys(("factorial", "log_factorial"), "the log of n! is `lgamma(n + 1)`"),
    **dict.fromkeys(("ifelse", "if_else", "where", "cond", "switch", "step"), "a choice is written `a if condition else b`"),
    "erfc": "erfc(x) is `1 - erf(x)`",
    "ceil": "x rounded up is `-floor(-x)`",
    "softmin": "the softmax of small numbers is `softmax(-x)`",
    **dict.fromkeys(("normalize", "normalise"), "x over its sum, of positive numbers, is `softmax(log(x))`"),
    "logit": "the logit of p is `log(p) - log(1 - p)`",
    **dict.fromkeys(("expit", "logistic", "inv_logit"), "the inverse of the logit is `sigmoid`"),
}
"""What stands in the language for functions of other ones."""
MISSING_HERE = frozenset(
    {"acos", "argmax", "argmin", "asin", "atan", "cosh", "cumsum", "elu", "gelu", "median"}
    | {"prod", "selu", "silu", "sinh", "softsign", "std", "tan", "var"}
)
"""Functions of other languages that this one has not: a name like theirs is not what was meant."""


def is_function(scope: Scope, name: str) -> bool:
    """Whether a call of this name is one of the language's functions: a net of the same name goes before it."""
    symbol = scope.symbols.get(name)
    return name in FUNCTIONS and (symbol is None or symbol.kind != "net")


def find_net(scope: Scope, node: t.Call) -> Signature | None:
    """The net of a call; anything else is reported."""
    name, span = node.function.id, node.function.span
    if name in scope.nets and name not in scope.poisoned:
        scope.used.add(name)
        return scope.nets[name]
    symbol = scope.symbols.get(name)
    if name in scope.poisoned or (symbol is not None and symbol.kind == "net"):
        return None
    if name in written_laws():
        drawn = f"a number drawn from it is a variable: `latent z : {_example(name)} ~ {name}(...)`"
        help = f"{drawn}; a mixture is a choice of laws: `{name}(...) if z else {name}(...)`"
        scope.problems.add("V319", span, f"`{name}` is a law; a value is needed here", "a law", help=help)
    elif symbol is not None:
        scope.used.add(name)
        help = f"index it with brackets: `{name}[...]`" if symbol.kind in ("variable", "parameter", "let") else None
        message = f"`{name}` is {symbol.a}, and cannot be applied"
        scope.problems.add(
            "V103", span, message, "neither a net nor a function", cause=(symbol.span, "declared here"), help=help
        )
    else:
        declare = f"declare it: `net {name}(...) -> real = mlp([64])`"
        functions = f"the functions are {listed(FUNCTIONS)}" if name in MISSING_HERE else None
        help = functions or SAID_OTHERWISE.get(name) or did_you_mean(name, [*scope.nets, *FUNCTIONS], declare)
        scope.problems.add("V312", span, f"there is no net or function `{name}`", "not declared", help=help)
        scope.poisoned.add(name)
    return None


def _example(name: str) -> str:
    support = written_laws()[name].support
    return {
        "index": "category[K]",
        "simplex": "simplex[K]",
        "ordered": "ordered[K]",
        "tree": "tree[i]",
        "parse": "parse[i, NT, PT]",
        "labels": "labels[i, K]",
    }.get(support, support)
