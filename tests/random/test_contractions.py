"""The random contractions' own laws: brute force over all joint values against a sum by hand, and against torch.einsum where
nothing is plated; and their specs, which are checked models with the same tables."""

import pytest
import torch

from tests.random.contraction_specs import read_back, written
from tests.random.contractions import Contraction, Factor, Latent, log_sum, marginals, random_contraction
from vispec.model.check import check_model
from vispec.source import Source
from vispec.syntax.parse import parse


def test_a_plated_sum_by_hand() -> None:
    """Σ_z p(z) Π_i f_i(z), with z outside the plate: (0.4 · 0.5 · 0.2) + (0.6 · 0.1 · 0.3)."""
    prior = torch.tensor([0.4, 0.6], dtype=torch.float64)
    seen = torch.tensor([[0.5, 0.1], [0.2, 0.3]], dtype=torch.float64)
    factors = (Factor("law", (), ("z",), prior.log(), (), "z"), Factor("f", ("i",), ("z",), seen.log(), ("i",)))
    contraction = Contraction(0, {"i": 2}, (Latent("z", 2, ()),), factors)
    assert log_sum(contraction).exp().item() == pytest.approx(0.04 + 0.018, rel=1e-12)
    assert marginals(contraction)["z", ()].tolist() == pytest.approx([0.04 / 0.058, 0.018 / 0.058], rel=1e-12)


@pytest.mark.parametrize("seed", range(20))
def test_unplated_sums_are_contractions_of_einsum(seed: int) -> None:
    contraction = random_contraction(seed, plates=0)
    letters = {v.name: "abcdefgh"[i] for i, v in enumerate(contraction.latents)}
    operands = [("".join(letters[v] for v in f.latents), f.table.exp()) for f in contraction.factors]
    expected = torch.einsum(f"{','.join(names for names, _ in operands)}->", *(table for _, table in operands))
    assert log_sum(contraction).exp().item() == pytest.approx(expected.item(), rel=1e-12)


def test_what_is_drawn() -> None:
    """Nested, crossed and disjoint plates are all there, and nothing is larger than it says."""
    drawn = [random_contraction(seed) for seed in range(200)]
    pairs = [(set(a.plates), set(b.plates)) for c in drawn for a in c.latents for b in c.latents if a.plates and b.plates]
    assert any(a < b for a, b in pairs)
    assert any(a & b and a - b and b - a for a, b in pairs)
    assert any(not a & b for a, b in pairs)
    assert max(len(c.latents) for c in drawn) == 6
    assert all(c.assignments <= 20_000 for c in drawn)


@pytest.mark.parametrize("spelling", ["index", "category", "mixed"])
def test_specs_are_checked_models(spelling: str) -> None:
    for seed in range(12):
        spec = written(random_contraction(seed), seed, spelling)
        model = check_model(parse(Source("contraction.vispec", spec.text)), {})
        assert set(spec.values) <= {param.name for param in model.params}
        for param in model.params:
            if param.name in spec.values:
                sizes = [model.plate[plate].size for plate in param.plates]
                assert len(sizes) + len(param.type.shape) == spec.values[param.name].ndim


def test_without_a_data_plate_nothing_else_changes() -> None:
    contraction = random_contraction(3)
    spec, other = written(contraction, 3), written(contraction, 3, data=False)
    assert [line.strip() for line in spec.text.splitlines() if line != "plate row:"] == [
        line.strip() for line in other.text.splitlines()
    ]
    assert all(torch.equal(spec.batch[name][0], value) for name, value in other.batch.items())


@pytest.mark.parametrize("seed", range(10))
def test_tables_are_read_back(seed: int) -> None:
    """Of the parameters' values the same sum is made."""
    contraction = random_contraction(seed)
    spec = written(contraction, seed)
    torch.testing.assert_close(log_sum(read_back(contraction, spec, spec.values)), log_sum(contraction), rtol=1e-12, atol=1e-12)
