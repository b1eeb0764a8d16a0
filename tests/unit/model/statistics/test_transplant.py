"""Statistics of one network on the weights of another, and what does not fit."""

import pytest
import torch
from torch import Tensor, nn

from model.errors import ShapeMismatch
from model.statistics.fingerprint import fingerprint, weights_hash
from model.statistics.transplant import transplanted


def state(seed: int, channels: int = 4) -> dict[str, Tensor]:
    torch.manual_seed(seed)
    network = nn.Sequential(
        nn.Linear(3, channels), nn.BatchNorm1d(channels), nn.Linear(channels, 2)
    )
    network(torch.randn(20, 3))
    return network.state_dict()


def test_weights_are_of_the_one_and_statistics_of_the_other() -> None:
    weights, donor = state(0), state(1)
    found = transplanted(weights, donor)
    assert weights_hash(found) == weights_hash(weights)
    assert fingerprint(found) == fingerprint(donor)
    assert list(found) == list(weights)
    rows = torch.randn(9, 3)
    plain = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 2)).eval()
    plain.load_state_dict(found, strict=True)
    hidden = rows @ weights["0.weight"].T + weights["0.bias"]
    spread = (donor["1.running_var"] + 1e-5).sqrt()
    normed = weights["1.weight"] * (hidden - donor["1.running_mean"]) / spread + weights["1.bias"]
    expected = normed @ weights["2.weight"].T + weights["2.bias"]
    torch.testing.assert_close(plain(rows), expected)


def test_nothing_is_shared_with_either() -> None:
    weights, donor = state(0), state(1)
    found = transplanted(weights, donor)
    found["1.running_mean"].zero_()
    found["0.weight"].zero_()
    assert donor["1.running_mean"].any()
    assert weights["0.weight"].any()


@pytest.mark.parametrize("change", ["channels", "missing", "type"])
def test_other_norm_layers_are_refused_by_name(change: str) -> None:
    donor = state(1, channels=5 if change == "channels" else 4)
    if change == "missing":
        donor.pop("1.running_var")
    if change == "type":
        donor["1.running_var"] = donor["1.running_var"].double()
    with pytest.raises(ShapeMismatch, match=r"1\.running_"):
        transplanted(state(0), donor)
