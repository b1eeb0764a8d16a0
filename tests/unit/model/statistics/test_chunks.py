import pytest
import torch

from model.statistics.chunks import choose_rows, chunks


@pytest.mark.parametrize(
    ("rows", "size", "lengths"),
    [
        (10_000, 1000, [1000] * 10),
        (2999, 1000, [1000, 1999]),
        (1000, 1000, [1000]),
        (999, 1000, [999]),
        (1, 1000, [1]),
        (100, 32, [32, 32, 36]),
        (5, 1, [1] * 5),
    ],
)
def test_a_short_last_chunk_is_merged(rows, size, lengths):
    pieces = chunks(torch.arange(rows), size)

    assert [len(piece) for piece in pieces] == lengths
    assert torch.equal(torch.cat(pieces), torch.arange(rows))


def test_rows_are_a_permutation_that_equal_states_repeat():
    first, again = (choose_rows(50, torch.Generator().manual_seed(1)) for _ in range(2))
    other = choose_rows(50, torch.Generator().manual_seed(2))

    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert torch.equal(first.sort().values, torch.arange(50))


def test_at_most_ten_thousand_rows_are_chosen_from_all():
    rows = choose_rows(30_000, torch.Generator().manual_seed(0))

    assert len(rows.unique()) == 10_000
    assert int(rows.max()) > 29_000
