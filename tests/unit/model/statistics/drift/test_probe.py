"""Probing changes nothing, and gathers exactly what enters the norms."""

import copy
import threading

import pytest
import torch
from torch import nn

from model.norms.batch import BatchNorm
from model.statistics.drift.probe import ANSWER, Probe, points
from model.statistics.drift.reference import recorded, reference, running


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def hooked(network: nn.Module, names: list[str], x: torch.Tensor) -> dict[str, torch.Tensor]:
    """What torch's own hooks see before these layers."""
    seen: dict[str, torch.Tensor] = {}
    handles = [
        network.get_submodule(name).register_forward_pre_hook(
            lambda module, given, name=name: seen.update({name: given[0].clone()})
        )
        for name in names
    ]
    network(x)
    for handle in handles:
        handle.remove()
    return seen


@pytest.mark.parametrize("norm", ["batch", "none", "layer", {"kind": "batch", "eps": 0}])
def test_probing_changes_no_bit(make_network, norm) -> None:
    network = make_network(norm=norm)
    x = torch.randn(9, 6, generator=seeded(1))
    plain = network(x)
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    modes = [module.training for module in network.modules()]
    classes = [type(module) for module in network.modules()]
    random_state = torch.get_rng_state()
    probe = Probe(network)
    passes = []
    probe.listen(passes.append)
    assert torch.equal(network(x), plain)
    probe.listen(None)
    assert len(passes) == 1
    assert torch.equal(passes[0][ANSWER], plain)
    assert torch.equal(torch.get_rng_state(), random_state)
    assert [type(module) for module in network.modules()] == classes
    assert [module.training for module in network.modules()] == modes
    after = network.state_dict()
    assert list(after) == list(before)
    assert all(torch.equal(after[name], before[name]) for name in before)


def test_what_passes_is_what_hooks_see(make_network, image_layers) -> None:
    network = make_network((3, 5, 5), image_layers)
    x = torch.randn(4, 3, 5, 5, generator=seeded(2))
    names = [name for name, module in network.named_modules() if isinstance(module, BatchNorm)]
    expected = hooked(network, names, x)
    probe, passes = Probe(network), []
    probe.listen(passes.append)
    network(x)
    probe.listen(None)
    assert [point.name for point in probe.points] == names == ["1", "3.branch.1"]
    for index, name in enumerate(names):
        assert torch.equal(passes[0][index], expected[name])


def test_a_network_has_its_own_classes_while_nobody_listens(make_network) -> None:
    network, x = make_network(), torch.ones(2, 6)
    own = [type(module) for module in network.modules()]
    probe, passes = Probe(network), []
    network(x)
    assert [type(module) for module in network.modules()] == own
    with pytest.raises(ValueError, match="channels"):
        listened(probe, passes.append, lambda: network[1](torch.ones(2, 5)))
    assert [type(module) for module in network.modules()] == own
    listened(probe, passes.append, lambda: network(x))
    assert len(passes) == 1
    assert [type(module) for module in network.modules()] == own


def listened(probe: Probe, take, predict) -> None:
    probe.listen(take)
    try:
        predict()
    finally:
        probe.listen(None)


def test_threads_listen_for_themselves_and_the_last_leaves_the_network_as_it_was(
    make_network,
) -> None:
    network = make_network()
    own = [type(module) for module in network.modules()]
    probe, rows = Probe(network), torch.randn(6, 400, 2, 6, generator=seeded(9))
    passes = [[] for _ in rows]

    def predict(mine: int) -> None:
        for x in rows[mine]:
            if mine < 4:
                listened(probe, passes[mine].append, lambda x=x: network(x))
            else:
                network(x)

    threads = [threading.Thread(target=predict, args=(mine,)) for mine in range(len(rows))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [len(seen) for seen in passes] == [400] * 4 + [0, 0]
    assert [type(module) for module in network.modules()] == own
    for mine in range(4):
        for x, seen in zip(rows[mine], passes[mine], strict=True):
            assert seen.keys() == {ANSWER, 0, 1}
            assert torch.equal(seen[0], network[0](x))


def test_a_copy_is_a_network_of_its_own(make_network) -> None:
    network, x = make_network(), torch.ones(2, 6)
    probe, passes = Probe(network), []
    probe.listen(passes.append)
    twin = copy.deepcopy(network)
    twin[0].weight.zero_()
    answers = network(x)
    probe.listen(None)
    assert not torch.equal(twin(x), answers)
    assert len(passes) == 1


def test_networks_without_batch_norm_are_watched_where_their_twins_norms_stand(
    make_network, image_layers
) -> None:
    x = torch.randn(5, 6, generator=seeded(3))
    plain = make_network(norm="none")
    assert [(point.name, point.side) for point in points(plain)] == [
        ("0", "output"),
        ("2", "output"),
    ]
    twin = make_network(norm="batch")
    assert [(point.name, point.side) for point in points(twin)] == [("1", "input"), ("4", "input")]
    probe, passes = Probe(plain), []
    probe.listen(passes.append)
    plain(x)
    probe.listen(None)
    expected = hooked(plain, ["1", "3"], x)
    assert torch.equal(passes[0][0], expected["1"])
    assert torch.equal(passes[0][1], expected["3"])
    linear = make_network(network={"kind": "mlp", "hidden": []}, norm="none")
    assert [point.name for point in points(linear)] == ["0"]


@pytest.mark.parametrize("running_spread", ["variance", "deviation"])
def test_running_references_are_the_running_statistics(make_network, running_spread) -> None:
    network = make_network(norm={"kind": "batch", "running": running_spread})
    for one, layer in zip(running(network), (network[1], network[4]), strict=True):
        spread = layer.running_spread.double()
        expected = spread.square() if running_spread == "deviation" else spread
        assert torch.equal(one.mean, layer.running_mean.double())
        assert torch.equal(one.variance, expected)


def test_recorded_references_are_the_moments_of_all_rows_whatever_the_blocks(
    make_network, image_layers
) -> None:
    network = make_network((3, 5, 5), image_layers, norm="none").train()
    x = torch.randn(50, 3, 5, 5, generator=seeded(4)) + 3
    names = [point.name for point in points(network)]
    values = network[0](x).double()
    expected = values.mean((0, 2, 3)), values.var((0, 2, 3))
    for block_rows in (7, 50):
        references = reference(network, x, block_rows)
        assert [one.name for one in references] == names
        torch.testing.assert_close(references[0].mean, expected[0], rtol=1e-6, atol=1e-6)
        torch.testing.assert_close(references[0].variance, expected[1], rtol=1e-6, atol=1e-6)
    assert all(module.training for module in network.modules())


def test_recording_at_norms_equals_what_enters_them_in_eval_mode(make_network) -> None:
    network = make_network()
    x = torch.randn(80, 6, generator=seeded(5))
    entering = hooked(network, ["1", "4"], x)
    for one in recorded(network, x, 32):
        torch.testing.assert_close(
            one.mean, entering[one.name].double().mean(0), rtol=1e-5, atol=1e-6
        )
