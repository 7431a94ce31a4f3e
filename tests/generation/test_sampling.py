"""Draws of single tokens, worked out by hand."""

from __future__ import annotations

import pytest
import torch

from alignment.generation.sampling import Draw, inverse_cdf, processors, stream_of
from alignment.recipe.generation_settings import GenerationSettings


def test_a_token_is_the_first_whose_cumulative_probability_is_above_the_number():
    numbers = [0.0, 0.0999, 0.1, 0.69, 0.7, 1 - 2**-53]
    probabilities = torch.tensor([[0.1, 0.0, 0.6, 0.3, 0.0]], dtype=torch.float64).expand(len(numbers), -1)
    assert inverse_cdf(probabilities, torch.tensor(numbers, dtype=torch.float64)).tolist() == [0, 0, 2, 2, 3, 3]


def drawn(settings: GenerationSettings, logits: list[float], *, count: int = 4000) -> list[float]:
    """Share of draws of each token."""
    chain = processors(settings, range(count))
    tokens = chain(torch.zeros(count, 1, dtype=torch.long), torch.tensor(logits).repeat(count, 1)).argmax(-1)
    return (torch.bincount(tokens, minlength=len(logits)) / count).tolist()


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"temperature": 1.0}, [0.5, 0.3, 0.15, 0.05]),
        # p ** 2, normalized: .25 .09 .0225 .0025 over .365
        ({"temperature": 0.5}, [0.685, 0.247, 0.062, 0.007]),
        ({"temperature": 1.0, "top_k": 2}, [0.625, 0.375, 0, 0]),
        # .5 + .3 reaches .7; the rest goes
        ({"temperature": 1.0, "top_p": 0.7}, [0.625, 0.375, 0, 0]),
        # of .625 and .375, the first reaches .6
        ({"temperature": 1.0, "top_k": 2, "top_p": 0.6}, [1, 0, 0, 0]),
    ],
)
def test_shares_follow_temperature_top_k_and_top_p(settings, expected):
    logits = torch.tensor([0.5, 0.3, 0.15, 0.05]).log().tolist()
    # Four standard errors of a share of 4000 draws are 0.03.
    assert drawn(GenerationSettings(**settings), logits) == pytest.approx(expected, abs=0.03)


def test_a_row_draws_the_same_whichever_rows_are_beside_it():
    logits = torch.randn(3, 50, generator=torch.Generator().manual_seed(0))
    together, alone = Draw([7, 8, 9]), Draw([9])
    for _ in range(5):
        assert together(None, logits)[2].argmax() == alone(None, logits[2:])[0].argmax()


def test_prompts_have_streams_of_their_own():
    assert stream_of([1, 2], 5) == stream_of([1, 2], 5)
    assert len({stream_of([1, 2], 5), stream_of([12], 5), stream_of([1, 2], 6), stream_of([2, 1], 5)}) == 4
    assert 0 <= stream_of([1], 2**32 - 1) < 2**63
