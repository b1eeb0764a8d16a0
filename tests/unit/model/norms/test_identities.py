"""What the papers prove of batch norm, as numbers in float64 with eps 0."""

import pytest
import torch
from torch import nn

from model import spec
from model.norms.batch import BatchNorm

ROWS, UNITS = 32, 7


def norm(**convention):
    asked = spec.BatchNorm.model_validate({"kind": "batch", "eps": 0.0, **convention})
    layer = BatchNorm(UNITS, asked, dtype=torch.float64)
    with torch.no_grad():
        layer.weight.copy_(draw(UNITS, seed=1))
        layer.bias.copy_(draw(UNITS, seed=2))
    return layer


def draw(*shape, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return 3 * torch.randn(shape, generator=generator, dtype=torch.float64) + 2


def loss(z):
    """Of a network above, no symmetry in it."""
    weights = draw(UNITS, 4, seed=5)
    return nn.functional.cross_entropy(torch.tanh(z @ weights), torch.arange(ROWS) % 4)


def gradients():
    """y, and the gradients of the loss for y and for what the norm makes of it."""
    layer, y = norm(), draw(ROWS, UNITS).requires_grad_()
    z = layer(y)
    z.retain_grad()
    loss(z).backward()
    return layer, y.detach(), y.grad, z.grad


def test_the_bound_on_the_gradient_norm_is_an_equality():
    """Santurkar et al. 2018, theorem 4.1: |dL/dy_j|^2 of the normalized network, unit by unit.

    gain^2 / sigma^2 (|dL/dz_j|^2 - <1, dL/dz_j>^2 / m - <dL/dz_j, yhat_j>^2 / m), where the
    network without norm would have |dL/dz_j|^2 alone.
    """
    layer, y, below, above = gradients()
    sigma = y.std(0, correction=0)
    y_hat = (y - y.mean(0)) / sigma

    kept = above.square().sum(0)
    kept = kept - above.sum(0).square() / ROWS - (above * y_hat).sum(0).square() / ROWS
    expected = (layer.weight.detach() / sigma).square() * kept

    torch.testing.assert_close(below.square().sum(0), expected, rtol=1e-10, atol=0)
    assert (kept < above.square().sum(0)).all()


def test_the_gradient_is_the_compact_form_of_the_chain_rule():
    """gain / (m sigma) (m g - sum g - yhat sum(g yhat)), which is orthogonal to 1 and yhat."""
    layer, y, below, above = gradients()
    sigma = y.std(0, correction=0)
    y_hat = (y - y.mean(0)) / sigma

    inner = ROWS * above - above.sum(0) - y_hat * (above * y_hat).sum(0)

    torch.testing.assert_close(below, layer.weight.detach() / (ROWS * sigma) * inner)
    for direction in (torch.ones_like(y_hat), y_hat):
        assert (below * direction).sum(0).abs().max() < 1e-12 * below.abs().max() * ROWS


@pytest.mark.parametrize("a", [1e-3, 10.0, 1e4])
def test_scaling_the_weights_scales_their_gradient_back_and_changes_no_output(a):
    layer, x = norm(), draw(ROWS, 6, seed=3)
    outputs, found = [], []
    for factor in (1.0, a):
        weight = (factor * draw(UNITS, 6, seed=4)).requires_grad_()
        z = layer(x @ weight.T)
        loss(z).backward()
        outputs.append(z.detach())
        found.append(weight.grad)

    torch.testing.assert_close(outputs[1], outputs[0], rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(a * found[1], found[0], rtol=1e-8, atol=1e-12)


def test_the_gradient_is_orthogonal_to_the_weights_of_each_unit_and_0_for_a_bias():
    layer, x = norm(), draw(ROWS, 6, seed=3)
    weight, bias = draw(UNITS, 6, seed=4).requires_grad_(), draw(UNITS, seed=6).requires_grad_()

    loss(layer(x @ weight.T + bias)).backward()

    cosine = nn.functional.cosine_similarity(weight.detach(), weight.grad, dim=1)
    assert cosine.abs().max() < 1e-12
    assert bias.grad.abs().max() < 1e-14


def test_gain_and_bias_can_give_back_what_was_taken():
    layer, y = norm(), draw(ROWS, UNITS)
    with torch.no_grad():
        layer.weight.copy_(y.std(0, correction=0))
        layer.bias.copy_(y.mean(0))

    torch.testing.assert_close(layer(y), y, rtol=1e-12, atol=1e-12)
