import numpy as np
import pytest
import torch

from model.data.scaling import Scaling
from model.statistics.row_batches import RowBatches

ROWS = np.random.default_rng(0).integers(0, 256, (33, 2, 3, 4)).astype(np.uint8)


def batches(batch_rows=8, seed=0, rows=ROWS, dtype=np.float32, least=1):
    scaling = Scaling.fit("standard", ROWS, images=True)
    return RowBatches.shuffled(rows, scaling, dtype, batch_rows, seed, least)


@pytest.mark.parametrize("batch_rows", [1, 8, 32, 33, 100])
def test_every_row_comes_once_scaled_as_the_checkpoint_scales(batch_rows):
    made = batches(batch_rows, dtype=np.float64)

    rows = torch.cat(list(made)).numpy()

    scaled = made.scaling.apply(ROWS, dtype=np.float64)
    assert np.array_equal(np.sort(rows, axis=0), np.sort(scaled, axis=0))
    assert np.array_equal(rows, scaled[made.order])
    assert [len(batch) for batch in made][:-1] == [min(batch_rows, 33)] * (len(made) - 1)
    assert made.num_rows == 33


def test_they_can_be_read_again():
    made = batches()

    assert torch.equal(torch.cat(list(made)), torch.cat(list(made)))


def test_the_seed_decides_the_order_and_nothing_else_is_drawn():
    state = torch.get_rng_state()

    one, same, other = batches(seed=1), batches(seed=1), batches(seed=2)

    assert np.array_equal(one.order, same.order)
    assert not np.array_equal(one.order, other.order)
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize(("batch_rows", "sizes"), [(8, [8, 8, 8, 9]), (32, [33]), (33, [33])])
def test_a_last_batch_that_is_too_short_joins_the_one_before(batch_rows, sizes):
    assert [len(batch) for batch in batches(batch_rows, least=2)] == sizes


def test_the_first_batches_are_the_first():
    made = batches(8)

    first = made.first(2)

    assert (len(first), first.num_rows) == (2, 16)
    assert torch.equal(torch.cat(list(first)), torch.cat(list(made))[:16])


@pytest.mark.parametrize(
    ("given", "wanted"), [(np.float32, torch.float32), (np.float64, torch.float64)]
)
def test_batches_have_the_type_of_the_network(given, wanted):
    assert next(iter(batches(dtype=given))).dtype == wanted
