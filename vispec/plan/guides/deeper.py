"""What stands several plates further in than a latent: summed up plate by plate, from the inside, by a net each."""

from dataclasses import replace

from vispec.model.model import All, Expression, Let, Model, Net, NetCall, Variable
from vispec.plan.guides.questions import fresh
from vispec.plan.guides.reading import SUMMARY, arguments, inner_plates, readings


def read_deeper(variable: Variable, model: Model) -> tuple[list[Expression], Model]:
    """What a latent's net reads of all that stands at least two plates further in, and the model with the lets it reads: along
    the first of these plates, a summary of what each of its elements holds."""
    from vispec.plan.guides.nets import encoder, summed_up  # which asks for this

    inputs: list[Expression] = []
    deep = [plates for other in model.variables if len(plates := inner_plates(other, variable)) > 1]
    for plate in dict.fromkeys(plates[0] for plates in deep):
        around = replace(variable, plates=(*variable.plates, plate))
        own = [read for other in model.variables if plate in other.plates for read in readings(other, around, model)]
        own = [read for read in own if not (isinstance(read, All) and read.name == variable.name)]
        further, model = read_deeper(around, model)
        name, span = fresh(f"each_{plate}_of_{variable.name}", model), variable.span
        read, model = summed_up([*own, *further], name, model, span)
        net = Net(name, arguments(read, model), (("", SUMMARY),), encoder(read, model, span), None, span)
        model = replace(model, nets=(*model.nets, net))
        let = Let(
            fresh(f"{plate}_of_{variable.name}", model),
            SUMMARY,
            around.plates,
            NetCall(span, SUMMARY, name, tuple(read), ""),
            span,
        )
        model = replace(model, guide_lets=(*model.guide_lets, let))
        inputs.append(All(span, replace(SUMMARY, star=True, over=plate), let.name, plate))
    return inputs, model
