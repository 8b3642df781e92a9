"""The formulas of factors: densities of variables and guides, and divergences between them."""

from __future__ import annotations

from vispec.explain.formula import Formula, Writer
from vispec.model import model as m


def factor(writer: Writer, kind: str, name: str) -> Formula:
    """The formula of a factor, by what it says of its variable."""
    model = writer.model
    law, own = model.variable[name].law, writer.notation.own(name)
    p, q = writer.density(name, law), writer.density(name, guide(model, name), "q")
    minus = writer.sign("−", "-")
    match kind:
        case "log":
            return p
        case "guide":
            return q
        case "seen":
            seen = writer.sign(f"1[{own} as seen]", rf"\mathbb{{1}}[{own}\text{{ as seen}}]")
            return Formula(seen, writer.log(seen))
        case "kl":
            return less_divergence(writer, q, p)
    return Formula(f"{p.prob} / {q.prob}", f"{p.log} {minus} {q.log}")


def label_score(writer: Writer, variable: m.Variable, plate: str) -> Formula | None:
    """What a label adds to the score of all along the plate, its chain: exp(scores[i, tag[i]] + move[tag[i−1], tag[i]])."""
    if variable.type.along is None or not isinstance(variable.law, m.Draw):
        return None
    shown = [(writer.notation.expression(value), value) for _, value in variable.law.args]
    scores, move = (text if isinstance(value, m.Ref | m.All | m.NetCall) else f"({text})" for text, value in shown)
    own, before = writer.notation.own(variable.name), writer.notation.back(variable.name, plate, 1)
    log = f"{scores}[{writer.notation.name(plate)}, {own}] + {move}[{before}, {own}]"
    return Formula(f"{writer.sign('exp', chr(92) + 'exp')}({log})", log)


def less_divergence(writer: Writer, q: Formula, p: Formula) -> Formula:
    """exp(-KL(q ‖ p)) and its logarithm."""
    divergence, parallel = writer.sign("KL", r"\mathrm{KL}"), writer.sign(" ‖ ", r" \,\| ")
    minus, exp = writer.sign("−", "-"), writer.sign("exp", r"\exp")
    log = f"{minus}{divergence}({q.prob}{parallel}{p.prob})"
    return Formula(f"{exp}({log})", log)


def joint_guide(writer: Writer, found: m.JointGuide) -> Formula:
    """The one density that several latents are drawn from."""
    inside = ", ".join(map(writer.notation.own, found.names))
    return Formula(f"q({inside})", writer.log(f"q({inside})"))


def guide(model: m.Model, name: str) -> m.Law | None:
    return next((found.law for found in model.guide if found.name == name), None)


def guided(model: m.Model, name: str) -> bool:
    """Whether a latent has a guide, of its own or with others."""
    return guide(model, name) is not None or (model.joint is not None and name in model.joint.names)
