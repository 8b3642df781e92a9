"""python -m tests.random.roles [--names loss,index] [--role param]

One name after the other in each role that a name can have in a spec: where it crashes or changes a number."""

import argparse
import sys
from collections import defaultdict
from collections.abc import Iterable

from tests.random.compare import Outcome, outcome
from tests.random.names import POOL, SIZES

TEMPLATES = {
    "size": """
size NAME = 2
param prior_ : simplex[NAME]
plate state_[NAME]:
    param mean_ : real
plate row_:
    latent z_ : index[state_] ~ Categorical(prior_)
    observed x_ : real ~ Normal(mean_[z_], 1)
""",
    "vocab": """
vocab NAME
param prior_ : simplex[NAME]
plate row_:
    chain t_:
        observed x_ : token[NAME] ~ Categorical(prior_)
""",
    "param": """
param NAME : real
param NAME__ : positive
plate row_:
    latent z_ : bit ~ Bernoulli(0.3)
    observed x_ : real ~ Normal(NAME * z_, NAME__)
""",
    "constrained": """
size K_ = 3
param NAME : simplex[K_]
plate k_[K_]:
    param mean_ : real
plate row_:
    latent z_ : index[k_] ~ Categorical(NAME)
    observed x_ : real ~ Normal(mean_[z_], 1)
""",
    "plate": """
param prior_ : simplex[2]
plate NAME[2]:
    param mean_ : real
plate row_:
    plate i_:
        latent z_ : index[NAME] ~ Categorical(prior_)
        observed x_ : real ~ Normal(mean_[z_], 1)
""",
    "data plate": """
param mean_ : real
plate NAME:
    latent z_ : bit ~ Bernoulli(0.3)
    observed x_ : real ~ Normal(mean_ * z_, 1)
""",
    "ragged": """
param mean_ : real
plate row_:
    plate NAME:
        latent z_ : bit ~ Bernoulli(0.3)
        observed x_ : real ~ Normal(mean_ * z_ + 0.1 * NAME, 1)
""",
    "chain": """
plate k_[2]:
    param step_ : simplex[2]
    param mean_ : real
plate row_:
    chain NAME:
        latent z_ : index[k_] ~ Uniform() then Categorical(step_[z_[NAME-1]])
        observed x_ : real ~ Normal(mean_[z_], 1)
""",
    "latent": """
plate k_[2]:
    param step_ : simplex[2]
    param mean_ : real
plate row_:
    chain t_:
        latent NAME : index[k_] ~ Uniform() then Categorical(step_[NAME[t_-1]])
        observed x_ : real ~ Normal(mean_[NAME], 1)
""",
    "observed": """
param mean_ : real
plate row_:
    plate i_:
        latent z_ : bit ~ Bernoulli(0.3)
        observed NAME : real ~ Normal(mean_ * z_, 1)
""",
    "given": """
param mean_ : real
plate row_:
    latent z_ : bit ~ Bernoulli(0.3)
    plate i_:
        given NAME : real
        observed x_ : real ~ Normal(mean_ * z_ + NAME, 1)
""",
    "partial": """
param mean_ : real
plate row_:
    plate i_:
        partial NAME : bit ~ Bernoulli(0.3)
        observed x_ : real ~ Normal(mean_ * NAME, 1)
""",
    "let": """
param mean_ : real
plate row_:
    latent z_ : bit ~ Bernoulli(0.3)
    let NAME = mean_ * z_
    observed x_ : real ~ Normal(NAME, 1)
""",
    "net": """
net NAME(a_: category[3]) -> simplex[2] = embed(2) |> mlp([2])
plate row_:
    latent z_ : category[3] ~ Uniform()
    observed x_ : category[2] ~ Categorical(NAME(z_))
""",
    "argument": """
net net_(NAME: category[3]) -> simplex[2] = embed(2) |> mlp([2])
plate row_:
    latent z_ : category[3] ~ Uniform()
    observed x_ : category[2] ~ Categorical(net_(z_))
""",
}


def spec(role: str, name: str) -> str:
    return TEMPLATES[role].lstrip().replace("NAME", name)


def found(role: str, name: str) -> Outcome:
    return outcome(spec(role, name), 1, sizes={name: 3} if role == "vocab" else None)


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser("python -m tests.random.roles", description=__doc__)
    parser.add_argument("--names", help="some names, with commas between them; else the whole pool")
    parser.add_argument("--role", choices=list(TEMPLATES), help="one role")
    options = parser.parse_args(arguments)
    names: Iterable[str] = options.names.split(",") if options.names else dict.fromkeys([*POOL, *SIZES])
    bad = 0
    for role in [options.role] if options.role else TEMPLATES:
        kinds = defaultdict[str, list[str]](list)
        for name in names:
            result = found(role, name)
            if result.status != "agree":
                bad += result.fails
                kinds[str(result)].append(name)
        print(f"{role}:", *([""] if kinds else ["all names agree"]))
        for kind, those in sorted(kinds.items(), key=lambda item: -len(item[1])):
            print(f"  {len(those)} × {kind}: {' '.join(those)}")
    return int(bad > 0)


if __name__ == "__main__":
    sys.exit(main())
