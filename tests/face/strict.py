"""A program that uses the interface, for a type checker at its strictest (test_typed.py); what it returns is of known types."""

import polars

import vispec
from vispec import DataError, Model, Run


def fitted(spec: str, table: polars.DataFrame) -> Run | None:
    model: Model = vispec.load(spec, sizes={"K": 2})
    print(model, model.check(), model.compile(only=["log_prob"]), model.explain(only=["gradient"]))
    model.render("model.svg", laws=True)
    try:
        return model.fit(table, valid=0.1, columns={"x": ["eruptions", "waiting"]}, epochs=20, quiet=True)
    except DataError as error:
        print(error)
        return None


def asked(run: Run, table: polars.DataFrame) -> float:
    params = run.params(level=0.9)
    mean: float = float(params["mu"].mean() + params.se("mu").max())
    posterior: polars.DataFrame = run.posterior(table, "marginals", batch=100)
    predicted: polars.DataFrame = run.predict(table, "quantiles(.1, .9)", target="x", samples=100)
    rows: list[dict[str, object]] = run.predict("table.csv")
    each = run.pointwise(table)
    print(posterior, predicted, rows, run.sample(3), run.shared(table), run.folder, run.report())
    print(run.module.training, params.to_pandas())
    return run.score(table, estimator="iwae(10)").log_prob + mean + float(each.sum())


def again(folder: str, table: polars.DataFrame) -> float:
    run = vispec.open_run(folder)
    return run.score(table).per_row
