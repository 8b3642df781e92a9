"""The score function's learnt baseline: a net from a row's data to one number."""

from dataclasses import replace

from vispec.model.model import Let, Model, Net, NetCall, Variable
from vispec.model.types import Type
from vispec.plan.guides.nets import encoder, summed_up
from vispec.plan.guides.questions import fresh
from vispec.plan.guides.reading import BASELINE, arguments, readings


def learns_baseline(model: Model) -> bool:
    estimators = [e for infer in model.infer for e in (infer.estimator, infer.otherwise) if e is not None]
    new = all(let.name != BASELINE for let in model.guide_lets)
    return new and any(("baseline", "nvil") in estimator.settings for estimator in estimators)


def with_baseline(model: Model) -> Model:
    """A net from a row's data to one number, and a let that calls it."""
    span = next(infer.span for infer in model.infer)
    data = tuple(plate.name for plate in model.plates if plate.data)
    row = Variable(BASELINE, "latent", Type("real"), data, None, span)
    inputs = [read for other in model.variables for read in readings(other, row, model)]
    name = fresh("baseline", model)
    inputs, model = summed_up(inputs, name, model, span)
    net = Net(name, arguments(inputs, model), (("", Type("real")),), encoder(inputs, model, span), None, span)
    let = Let(BASELINE, Type("real"), data, NetCall(span, Type("real"), name, tuple(inputs), ""), span)
    return replace(model, nets=(*model.nets, net), guide_lets=(*model.guide_lets, let))
