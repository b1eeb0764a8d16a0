import copy
import json
import math

import pytest
import torch
from scipy.stats import binomtest
from torch import nn

from model.data import builtin
from model.networks.build import build
from model.networks.init import initialize
from model.plan import Limits, check, plan
from model.statistics.class_order import class_order
from model.statistics.gap import Gap, Score, finding, train_eval_gap
from model.training.arrays import Part, prepare
from model.training.evaluate import evaluate
from model.training.loop import Training

ROWS, CLASSES = 2500, 4  # two chunks: 1,000 and 1,500 rows


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def draw(*shape, seed=0):
    return torch.randn(shape, generator=generator(seed), dtype=torch.float64)


@pytest.fixture
def make_network(make_spec, make_facts):
    """An mlp in float64 whose running statistics stand at 0 and 1, in training mode."""

    def make(hidden=(12, 12), **norm):
        network = {"kind": "mlp", "hidden": list(hidden), "activation": "tanh"}
        norm = {"kind": "batch", **norm}
        spec = make_spec(network, norm=norm, precision="float64")
        planned = plan(spec, make_facts(input_shape=(6,), outputs=CLASSES))
        made = build(planned, dtype=torch.float64)
        initialize(made, planned, spec.init, generator(1))
        return made

    return make


@pytest.fixture
def part():
    inputs = 3 * draw(ROWS, 6) + 1
    classes = torch.randint(CLASSES, (ROWS,), generator=generator(2))
    return Part(inputs, classes, classes)


def answered_by_batch(network, part):
    """The same rows with the network's own answers under batch statistics as classes."""
    classes = copy.deepcopy(network).train()(part.inputs).argmax(1)
    return Part(part.inputs, classes, classes)


def in_torch(network, by_batch):
    """The network of torch's own layers; those named are in training mode, on a copy."""
    theirs = nn.Sequential()
    for name, module in network.named_children():
        if hasattr(module, "running_mean"):
            module = nn.BatchNorm1d(module.num_features, eps=module.eps, dtype=torch.float64)
        theirs.add_module(name, copy.deepcopy(module))
    theirs.load_state_dict(network.state_dict(), strict=True)
    theirs.eval()
    for name in by_batch:
        theirs.get_submodule(name).train()
    return theirs


def plain(network, part, by_batch, size, seed=0, kept=ROWS):
    """Accuracy in points, loss and right rows by torch, over chunks written out."""
    rows = torch.randperm(len(part), generator=generator(seed))[:kept]
    starts = list(range(0, len(rows) - len(rows) % size, size)) or [0]
    ends = [*starts[1:], len(rows)]
    theirs = in_torch(network, by_batch)
    with torch.no_grad():
        logits = torch.cat(
            [theirs(part.inputs[rows[a:b]]) for a, b in zip(starts, ends, strict=True)]
        )
    right = logits.argmax(1) == part.classes[rows]
    loss = nn.functional.cross_entropy(logits, part.classes[rows]).item()
    return 100 * right.double().mean().item(), loss, right


def norm_names(network):
    return [name for name, one in network.named_modules() if hasattr(one, "running_mean")]


def test_it_is_batch_minus_running_accuracy_and_running_minus_batch_loss(make_network, part):
    network = make_network()
    part = answered_by_batch(network, part)
    running, running_loss, right = plain(network, part, [], 1000)
    batch, batch_loss, batch_right = plain(network, part, norm_names(network), 1000)

    gap = train_eval_gap(network, "cross_entropy", part, generator())

    assert gap.points == pytest.approx(batch - running, abs=1e-9)
    assert gap.points > 20
    assert gap.loss == pytest.approx(running_loss - batch_loss, abs=1e-9)
    assert gap.only_running == int((right & ~batch_right).sum())
    assert gap.only_batch == int((batch_right & ~right).sum())
    discordant = gap.only_running + gap.only_batch
    assert gap.p_value == pytest.approx(binomtest(gap.only_batch, discordant).pvalue, rel=1e-9)
    assert (gap.rows, gap.chunk_rows) == (ROWS, 1000)


@pytest.mark.parametrize("hidden", [(12,), (12, 12), (8, 8, 8, 8)], ids=str)
def test_the_parts_are_cumulative_from_the_input_and_sum_to_the_gap(make_network, part, hidden):
    network = make_network(hidden)
    part = answered_by_batch(network, part)
    names = norm_names(network)
    steps = [plain(network, part, names[:k], 1000) for k in range(len(names) + 1)]

    gap = train_eval_gap(network, "cross_entropy", part, generator())

    assert [one.layer for one in gap.layers] == names
    for one, before, after in zip(gap.layers, steps, steps[1:], strict=False):
        assert one.points == pytest.approx(after[0] - before[0], abs=1e-9)
        assert one.loss == pytest.approx(before[1] - after[1], abs=1e-9)
    assert math.fsum(one.points for one in gap.layers) == pytest.approx(gap.points, abs=1e-9)
    assert math.fsum(one.loss for one in gap.layers) == pytest.approx(gap.loss, abs=1e-9)


def test_a_layer_whose_statistics_are_right_has_no_part(make_network, part):
    network = make_network(momentum=1.0)
    network(part.inputs)
    part = answered_by_batch(network, part)
    network.get_submodule(norm_names(network)[1]).running_mean.add_(1.0)

    gap = train_eval_gap(network, "cross_entropy", part, generator())

    first, second = gap.layers
    assert abs(first.points) < 2 < 10 < second.points


def test_without_attribution_the_gap_is_the_same(make_network, part):
    network = make_network()

    plainly = train_eval_gap(network, "cross_entropy", part, generator(), attribute=False)

    gap = train_eval_gap(network, "cross_entropy", part, generator())
    assert plainly.layers == ()
    assert (plainly.points, plainly.loss) == (gap.points, gap.loss)


def test_at_the_training_batch_size_it_has_a_name_of_its_own(make_network, part):
    network = make_network()
    part = answered_by_batch(network, part)
    names = norm_names(network)
    running, running_loss, _ = plain(network, part, [], 16)
    small, small_loss, _ = plain(network, part, names, 16)

    gap = train_eval_gap(network, "cross_entropy", part, generator(), batch_size=16)

    assert gap.batch_size == 16
    assert gap.batch_points == pytest.approx(small - running, abs=1e-9)
    assert gap.batch_loss == pytest.approx(running_loss - small_loss, abs=1e-9)
    assert gap.batch_points < gap.points


def test_at_most_ten_thousand_rows_of_the_callers_choice_are_scored(make_network):
    network = make_network((4,))
    inputs = 3 * draw(12_000, 6)
    part = answered_by_batch(network, Part(inputs, inputs, None))
    running, _, _ = plain(network, part, [], 1000, seed=5, kept=10_000)
    batch, _, _ = plain(network, part, norm_names(network), 1000, seed=5, kept=10_000)
    choosing, once = generator(5), generator(5)

    gap = train_eval_gap(network, "cross_entropy", part, choosing)

    torch.randperm(12_000, generator=once)
    assert gap.rows == 10_000
    assert gap.points == pytest.approx(batch - running, abs=1e-9)
    assert torch.equal(choosing.get_state(), once.get_state())


@pytest.mark.parametrize("is_training", [True, False])
def test_the_probe_changes_nothing(make_network, part, is_training):
    network = make_network()
    network(part.inputs)
    network.train(is_training)
    network[1].train()
    tensors = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    modes = [one.training for one in network.modules()]
    gradients = [one.requires_grad for one in network.parameters()]
    random = torch.get_rng_state()

    train_eval_gap(network, "cross_entropy", part, generator(), batch_size=32)

    assert all(torch.equal(network.state_dict()[name], tensors[name]) for name in tensors)
    assert [one.training for one in network.modules()] == modes
    assert [one.requires_grad for one in network.parameters()] == gradients
    assert torch.equal(torch.get_rng_state(), random)


@pytest.mark.parametrize("kind", ["layer", "none"])
def test_without_batch_statistics_it_is_exactly_0(make_spec, make_facts, part, kind):
    norm = {"kind": kind}
    spec = make_spec({"kind": "mlp", "hidden": [12]}, norm=norm, precision="float64")
    planned = plan(spec, make_facts(input_shape=(6,), outputs=CLASSES))
    network = build(planned, dtype=torch.float64)
    initialize(network, planned, spec.init, generator(1))

    gap = train_eval_gap(network, "cross_entropy", part, generator(), batch_size=2)

    assert (gap.points, gap.loss, gap.batch_points, gap.batch_loss) == (0, 0, 0, 0)
    assert (gap.p_value, gap.layers) == (1, ())
    assert finding(gap) is None


def test_without_batch_statistics_it_is_0_also_where_the_loss_is_infinite(part):
    network = nn.Sequential(nn.Linear(6, CLASSES)).double()
    with torch.no_grad():
        network[0].weight.fill_(torch.inf)

    gap = train_eval_gap(network, "cross_entropy", part, generator(), batch_size=4)

    assert (gap.points, gap.loss, gap.batch_points, gap.batch_loss) == (0, 0, 0, 0)


@pytest.mark.parametrize("kind", ["squared_error", "half_sum_squares"])
def test_regression_has_the_loss_form_only(make_network, part, kind):
    network = make_network()
    numbers = Part(part.inputs, draw(ROWS, CLASSES, seed=7), None)
    rows = torch.randperm(ROWS, generator=generator())
    losses = []
    for names in ([], norm_names(network)):
        theirs = in_torch(network, names)
        outputs = torch.cat([theirs(numbers.inputs[one]) for one in rows.split([1000, 1500])])
        squares = (outputs - numbers.targets[rows]).square()
        scale = squares.numel() if kind == "squared_error" else 2 * ROWS
        losses.append(squares.sum().item() / scale)

    gap = train_eval_gap(network, kind, numbers, generator(), batch_size=32)

    assert gap.loss == pytest.approx(losses[0] - losses[1], abs=1e-9)
    assert math.fsum(one.loss for one in gap.layers) == pytest.approx(gap.loss, abs=1e-9)
    assert gap.points is gap.p_value is gap.batch_points is gap.only_batch is None
    assert all(one.points is None for one in gap.layers)
    assert gap.batch_loss is not None
    assert finding(gap) is None


def test_a_sorted_file_fakes_a_gap_in_file_order_and_none_in_a_permutation(make_network):
    """A row's place tells its class, and a chunk of one class loses it to its own mean."""
    classes = torch.arange(CLASSES).repeat_interleave(1000)
    inputs = draw(len(classes), 6)
    inputs[torch.arange(len(classes)), classes] += 8
    part = Part(inputs, classes, classes)
    network = nn.Sequential(make_network((6,), momentum=1.0)[1], nn.Linear(6, CLASSES).double())
    network[0](inputs)
    with torch.no_grad():
        network[1].weight.copy_(torch.eye(CLASSES, 6))
        network[1].bias.zero_()

    theirs = copy.deepcopy(network).train()
    in_file_order = torch.cat([theirs(chunk) for chunk in inputs.split(1000)]).argmax(1)
    running = copy.deepcopy(network).eval()(inputs).argmax(1)
    faked = 100 * ((in_file_order == classes).double() - (running == classes).double()).mean()
    gap = train_eval_gap(network, "cross_entropy", part, generator())

    assert class_order(classes.numpy()).is_sorted
    assert abs(faked) > 50
    assert abs(gap.points) < 0.5


@pytest.mark.parametrize("eps", [0.0, 1e-5])
def test_statistics_that_do_not_exist_give_no_gap_and_no_error(make_network, part, eps):
    network = make_network((6,), eps=eps)
    with torch.no_grad():
        network[0].weight[3] = 0

    gap = train_eval_gap(network, "cross_entropy", part, generator())

    assert (gap is None) == (eps == 0)


def test_a_channel_constant_in_a_small_batch_alone_leaves_the_gap_itself(make_network, part):
    network = make_network((6,), eps=0.0)
    part.inputs[:, 0] = 0.0
    part.inputs[::100, 0] = 1.0
    with torch.no_grad():
        network[0].weight[3] = torch.eye(6)[0]

    gap = train_eval_gap(network, "cross_entropy", part, generator(), batch_size=4)

    assert gap.points is not None
    assert gap.small is gap.batch_size is gap.batch_points is gap.batch_loss is None


def test_one_row_has_no_gap(make_network, part):
    one = Part(part.inputs[:1], part.targets[:1], part.classes[:1])

    assert train_eval_gap(make_network(), "cross_entropy", one, generator()) is None


def test_a_poisoned_layer_is_found_although_training_mode_never_reads_it(make_network, part):
    network = make_network()
    part = answered_by_batch(network, part)
    network.get_submodule(norm_names(network)[0]).running_var.fill_(torch.nan)

    gap = train_eval_gap(network, "cross_entropy", part, generator())

    assert gap.running.correct == 0
    assert gap.points > 90
    found = finding(gap)
    assert found.evidence["loss"] is None
    json.dumps(found.to_json(), allow_nan=False)


@pytest.mark.parametrize(("scaling", "is_told"), [("none", True), ("standard", False)])
def test_stale_statistics_are_told_where_they_cost_something(make_spec, scaling, is_told):
    dataset = builtin.build("digits")
    spec = make_spec(
        {"kind": "mlp", "hidden": [100], "activation": "tanh"},
        scaling=scaling,
        norm={"kind": "batch", "momentum": 0.001},
        optimizer={"kind": "sgd", "lr": 0.1},
        batch_size=32,
        budget={"steps": 300},
        init={"kind": "xavier_normal"},
    )
    checked = check(spec, dataset.facts, Limits(10**6, 10**9))
    arrays = prepare(dataset, checked.spec, torch.device("cpu"))
    training = Training(checked, arrays, torch.device("cpu"))
    for _ in training.run():
        pass

    gap = train_eval_gap(training.network, "cross_entropy", arrays.test, generator())

    tested = evaluate(training.network, "cross_entropy", arrays.test, 1000)
    assert gap.running.correct == round(tested["accuracy"] * gap.rows)
    assert (finding(gap) is not None) == is_told
    assert (gap.points > 5) == is_told


def of(running, batch, only_running, only_batch, rows=1000):
    """A gap with these numbers of rows."""
    scores = Score(1.0, running), Score(0.5, batch)
    return Gap(rows, 1000, *scores, only_running, only_batch, (), None, None)


@pytest.mark.parametrize(
    ("gap", "is_told"),
    [
        (of(900, 930, 0, 30), True),
        (of(900, 920, 0, 20), False),  # 2 points exactly
        (of(900, 921, 0, 21), True),
        (of(900, 930, 120, 150), False),  # p = .08
        (of(90, 94, 0, 4, rows=100), False),  # p = .125
        (of(930, 900, 30, 0), False),  # eval mode is better
    ],
)
def test_it_warns_over_two_points_that_chance_does_not_explain(gap, is_told):
    found = finding(gap)

    assert (found is not None) == is_told
    if found:
        assert (found.reason, found.severity) == ("BN_TRAIN_EVAL_GAP", "warning")
        assert found.evidence["points"] == gap.points
        assert "POST /v1/checkpoints/{id}/recalibrate" in found.remedy


def test_a_convolution_s_norms_are_attributed_inside_residuals_too(make_spec, make_facts):
    block = [{"kind": "conv2d", "out_channels": 4, "kernel_size": 3, "padding": 1}]
    block += [{"kind": "norm"}]
    layers = [*block, {"kind": "residual", "layers": [*block, {"kind": "activation"}]}]
    layers += [{"kind": "flatten"}, {"kind": "linear"}]
    spec = make_spec(layers, norm={"kind": "batch"}, precision="float64")
    planned = plan(spec, make_facts(input_shape=(1, 5, 5), outputs=CLASSES))
    network = build(planned, dtype=torch.float64)
    initialize(network, planned, spec.init, generator(1))
    inputs = 3 * draw(1200, 1, 5, 5) + 1
    part = answered_by_batch(network, Part(inputs, inputs, None))

    gap = train_eval_gap(network, "cross_entropy", part, generator())

    whole = copy.deepcopy(network)
    whole.train()
    logits = whole(inputs)
    assert gap.batch.correct == int((logits.argmax(1) == part.classes).sum()) == 1200
    assert gap.batch.loss == pytest.approx(nn.functional.cross_entropy(logits, part.classes).item())
    assert [one.layer for one in gap.layers] == ["1", "2.branch.1"]
    assert math.fsum(one.points for one in gap.layers) == pytest.approx(gap.points, abs=1e-9)
