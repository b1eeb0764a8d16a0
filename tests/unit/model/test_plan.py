import json
import subprocess
import sys

import pytest

from model.blocks import LIVE_TENSORS
from model.data.split import Sizes
from model.errors import SpecRefused
from model.plan import Limits, check, plan
from model.spec import Span

LIMITS = Limits(max_parameters=10**7, max_memory_bytes=10**10)


@pytest.fixture
def checked(make_spec, make_facts):
    def run(network=None, facts=None, **fields):
        return check(make_spec(network, **fields), facts or make_facts(), LIMITS)

    return run


def test_the_lengths_of_a_run_are_counted_in_steps(checked):
    run = checked(budget={"epochs": 3}, evaluate_every={"epochs": 2}, checkpoint_every={"steps": 9})

    assert run.rows == Sizes(1438, 0, 359, 0)
    assert (run.steps_per_epoch, run.steps) == (45, 135)
    assert (run.evaluate_every, run.checkpoint_every) == (90, 9)


def test_no_checkpoint_interval_means_one_at_the_end(checked):
    assert checked().checkpoint_every is None


@pytest.mark.parametrize(("classes", "kind"), [(True, "cross_entropy"), (False, "squared_error")])
def test_the_loss_follows_the_targets(checked, make_facts, classes, kind):
    assert checked(facts=make_facts(classes=classes)).spec.loss.kind == kind


def test_a_loss_that_was_asked_for_stays(checked):
    assert checked(loss={"kind": "half_sum_squares"}).spec.loss.kind == "half_sum_squares"


def test_a_dataset_s_own_test_rows_win(checked, make_facts):
    run = checked(facts=make_facts(rows=120, own=(100, 20)), split={"validation": 0.1})

    assert run.rows == Sizes(90, 10, 20, 0)


def test_every_row_may_train(checked, make_facts):
    run = checked(facts=make_facts(rows=100), split={"test": 0.0})

    assert run.rows == Sizes(100, 0, 0, 0)


def test_memory_counts_each_purpose(checked):
    network = {"kind": "mlp", "hidden": [100]}
    adam = {"kind": "adam"}
    single = checked(network, norm="batch", optimizer=adam, batch_size=32).memory
    double = checked(network, norm="batch", optimizer=adam, precision="float64").memory

    parameters, widest = 64 * 100 + 100 + 200 + 1010, 100
    assert single.parameters == 3 * 4 * (parameters + 201)  # itself, last finite, being saved
    assert single.gradients == 4 * parameters
    assert single.optimizer == 8 * parameters
    assert single.activations == 4 * LIVE_TENSORS * widest * 1438  # one chunk of all that train
    assert single.data == 4 * (1797 + 1438) * (64 + 10)
    assert double.total == 2 * single.total


WIDEST = 100  # units of the default mlp, which digits train with 1438 rows and test with 359


@pytest.mark.parametrize(
    ("norm", "rows", "split", "batch_size", "scored"),
    [
        ("batch", 1797, {}, 32, 1438),  # the training rows, one chunk
        ("batch", 2499, {}, 32, 1999),  # 1999 of them, the rest of 999 merged
        ("batch", 60_000, {}, 32, 1000),  # 10,000 of 48,000, in ten chunks
        ("batch", 14_999, {"test": 0.1}, 32, 1500),  # ten chunks to train, one to test
        ("batch", 60_000, {}, 7000, 10_000),  # 10,000 test rows in batches of training
        ("batch", 1000, {"test": 0.0, "validation": 0.9}, 32, 900),
        ("none", 1797, {}, 32, 359),
        ("layer", 1797, {"test": 0.0}, 32, 1797),
        ("group", 14_999, {}, 32, 1000),
    ],
    ids=str,
)
def test_activations_are_of_the_most_rows_that_are_scored_at_once(
    checked, make_facts, norm, rows, split, batch_size, scored
):
    asked = {"kind": "group", "groups": 4} if norm == "group" else norm
    memory = checked(
        facts=make_facts(rows=rows), norm=asked, split=split, batch_size=batch_size
    ).memory

    assert memory.activations == 4 * LIVE_TENSORS * WIDEST * scored


def test_activations_are_of_the_largest_batch_where_it_takes_more(checked):
    deep = {"kind": "mlp", "hidden": [100] * 8}

    memory = checked(deep, norm="batch", batch_size=1400, tail="drop").memory

    assert memory.activations == 4 * 1400 * (64 + 3 * 8 * 100 + 10)


@pytest.mark.parametrize(
    ("norm", "tensors"),
    [("ghost_batch", 3), ("noise", 4), ("noisy_batch", 5), ("lp", 5), ("batch_renorm", 5)],
)
def test_activations_count_what_a_norm_keeps_beside_its_output(checked, norm, tensors):
    deep = {"kind": "mlp", "hidden": [100] * 8}

    memory = checked(deep, norm=norm, batch_size=1400, tail="drop").memory

    assert memory.activations == 4 * 1400 * (64 + tensors * 8 * 100 + 10)


def test_plain_sgd_keeps_nothing_and_momentum_one_value_a_parameter(checked):
    plain = checked()
    moving = checked(optimizer={"kind": "sgd", "momentum": 0.9})

    assert plain.memory.optimizer == 0
    assert moving.memory.optimizer == 4 * moving.plan.parameters


def test_sizes_name_the_shape_of_every_layer(checked):
    sizes = checked({"kind": "mlp", "hidden": [5]}, norm="batch").sizes

    assert json.loads(json.dumps(sizes)) == sizes
    assert [(s["layer"], s["kind"], s["output_shape"], s["parameters"]) for s in sizes] == [
        ("0", "linear", [5], 325),
        ("1", "batch_norm", [5], 10),
        ("2", "activation", [5], 0),
        ("3", "linear", [10], 60),
    ]


@pytest.mark.parametrize(
    ("norm", "kind"),
    [
        ("noisy_batch", "noisy_batch_norm"),
        ("noise", "noise"),
        ("lp", "lp_norm"),
        ("ghost_batch", "ghost_batch_norm"),
        ("batch_renorm", "batch_renorm"),
    ],
)
def test_sizes_call_a_norm_by_its_name(checked, norm, kind):
    assert checked({"kind": "mlp", "hidden": [5]}, norm=norm).sizes[1]["kind"] == kind


def test_a_network_of_any_width_is_refused_with_its_number_and_nothing_is_allocated(checked):
    hidden = [65_536] * 64

    with pytest.raises(SpecRefused) as refused:
        checked({"kind": "mlp", "hidden": hidden})

    parameters = 64 * 65_536 + 65_536 + 63 * (65_536**2 + 65_536) + 65_536 * 10 + 10
    assert refused.value.reason == "MODEL_TOO_LARGE"
    assert refused.value.path == "network"
    assert refused.value.metadata == {"computed": parameters, "limit": 10**7}
    assert str(parameters) in refused.value.message


def test_a_run_that_needs_more_memory_than_allowed_is_refused(make_spec, make_facts):
    with pytest.raises(SpecRefused, match="bytes of memory; at most 1000") as refused:
        check(make_spec(), make_facts(), Limits(10**7, 1000))

    assert refused.value.reason == "MODEL_TOO_LARGE"


def test_a_network_of_too_many_layers_is_refused(checked):
    branch = [{"kind": "residual", "layers": [{"kind": "dropout"}] * 64}] * 33

    with pytest.raises(SpecRefused, match="needs 2146 layers; at most 2000") as refused:
        checked([*branch, {"kind": "linear"}])

    assert refused.value.reason == "MODEL_TOO_LARGE"


def network(*layers):
    return [*layers, {"kind": "flatten"}, {"kind": "linear"}]


REFUSALS = {
    "loss of the other task": (
        {"loss": {"kind": "cross_entropy"}, "facts": {"classes": False}},
        ("loss.kind", "cross_entropy needs classes; the targets are numbers"),
    ),
    "mixed precision on a cpu": (
        {"precision": "bfloat16", "device": "cpu"},
        ("precision", "bfloat16 is mixed precision on CUDA; the device is cpu"),
    ),
    "nothing to train": (
        {"network": [{"kind": "activation"}], "facts": {"input_shape": (10,)}},
        ("network", "no layer has a parameter: there is nothing to train"),
    ),
    "a batch above the training rows": (
        {"batch_size": 1439},
        ("batch_size", "a batch of 1439 rows is more than the 1438 training rows"),
    ),
    "no test rows": (
        {"split": {"test": 0.0001}},
        ("split.test", "the split leaves no test rows"),
    ),
    "no validation rows": (
        {"split": {"validation": 0.0001}},
        ("split.validation", "the split leaves no validation rows"),
    ),
    "best without validation rows": (
        {"select": "best"},
        ("select", "best needs split.validation above 0"),
    ),
    "no training rows": (
        {"facts": {"rows": 1}, "split": {"test": 0.9}, "batch_size": 1},
        ("split", "the split leaves no training rows"),
    ),
    "too many steps": (
        {"budget": {"epochs": 1_000_000}, "facts": {"rows": 100_000}},
        ("budget.epochs", "the budget is 2250000000 steps; at most 1000000000 are allowed"),
    ),
    "groups that do not divide": (
        {"norm": {"kind": "group", "groups": 3}},
        ("norm.groups", "3 groups do not divide the 100 channels at network.hidden.0"),
    ),
    "groups of one value": (
        {"norm": {"kind": "group", "groups": 100}},
        ("norm", "one value per group at network.hidden.0: normalized alone, it is always 0"),
    ),
    "instances of no position": (
        {"norm": "instance"},
        (
            "norm",
            "instance norm needs rows with positions; at network.hidden.0 they have shape (100,)",
        ),
    ),
    "instances of one position": (
        {
            "network": [{"kind": "norm"}, {"kind": "flatten"}, {"kind": "linear"}],
            "norm": "instance",
            "facts": {"input_shape": (4, 1, 1)},
        },
        ("norm", "one value per channel at network.layers.0: normalized alone, it is always 0"),
    ),
    "rows of one value": (
        {"network": {"kind": "mlp", "hidden": [1]}, "norm": "layer"},
        ("norm", "one value per row at network.hidden.0: normalized alone, it is always 0"),
    ),
}


@pytest.mark.parametrize(("asked", "answer"), REFUSALS.values(), ids=REFUSALS)
def test_what_cannot_work_is_refused_with_the_field_at_fault(checked, make_facts, asked, answer):
    fields = dict(asked)

    with pytest.raises(SpecRefused) as refused:
        checked(facts=make_facts(**fields.pop("facts", {})), **fields)

    assert (refused.value.path, refused.value.message) == answer


# 97 training rows in batches of 32: the last batch of an epoch is one row.
TAIL = {"split": {"test": 0.0}, "norm": "batch"}


def test_a_last_batch_of_one_is_refused_where_a_norm_would_see_it(checked, make_facts):
    with pytest.raises(SpecRefused) as refused:
        checked(facts=make_facts(rows=97), **TAIL)

    assert refused.value.reason == "BN_TAIL_BATCH_ONE"
    assert (refused.value.path, refused.value.message) == (
        "tail",
        "an epoch's last batch is one row, and layer 1 normalizes over the batch: "
        "set tail to merge or drop, or change batch_size",
    )


def test_batches_of_one_are_refused_where_a_norm_would_see_them(checked):
    with pytest.raises(SpecRefused) as refused:
        checked(batch_size=1, norm="batch")

    assert (refused.value.path, refused.value.reason) == ("batch_size", "BN_TAIL_BATCH_ONE")
    assert refused.value.message == "layer 1 normalizes over the batch, and a batch is one row"


@pytest.mark.parametrize(
    "change",
    [
        {"tail": "merge"},
        {"tail": "drop"},
        {"norm": "none"},
        {"norm": "layer"},
        {"budget": {"steps": 3}},
    ],
    ids=str,
)
def test_a_last_batch_of_one_that_no_norm_sees_is_fine(checked, make_facts, change):
    assert checked(facts=make_facts(rows=97), **{**TAIL, **change}).steps > 0


@pytest.mark.parametrize("kind", ["noisy_batch", "lp", "ghost_batch", "batch_renorm"])
def test_every_norm_over_the_batch_needs_two_rows(checked, make_facts, kind):
    with pytest.raises(SpecRefused) as refused:
        checked(facts=make_facts(rows=97), **{**TAIL, "norm": kind})
    assert (refused.value.path, refused.value.reason) == ("tail", "BN_TAIL_BATCH_ONE")
    with pytest.raises(SpecRefused) as refused:
        checked(batch_size=1, norm=kind)
    assert (refused.value.path, refused.value.reason) == ("batch_size", "BN_TAIL_BATCH_ONE")


def test_noise_without_a_norm_takes_single_rows(checked):
    assert checked(batch_size=1, norm="noise").steps > 0


GROUPS_OF_ONE = {
    "groups of a row": (
        1,
        {"batch_size": 40},
        "a group is one row, and layer 1 normalizes over each group",
    ),
    "a row left over of each batch": (
        5,
        {"batch_size": 21},
        "a batch of 21 rows in groups of 5 leaves one over, and layer 1 normalizes over each group",
    ),
    "a row left over of the last batch": (
        8,
        {"batch_size": 40},
        "an epoch's last batch of 17 rows in groups of 8 leaves one over, and layer 1 normalizes "
        "over each group: change it, tail or batch_size",
    ),
    "a row left over of a merged batch": (
        8,
        {"batch_size": 40, "tail": "merge"},
        "an epoch's last batch of 57 rows in groups of 8 leaves one over, and layer 1 normalizes "
        "over each group: change it, tail or batch_size",
    ),
}


@pytest.mark.parametrize(
    ("group_size", "fields", "message"), GROUPS_OF_ONE.values(), ids=GROUPS_OF_ONE
)
def test_a_group_of_one_value_is_refused(checked, make_facts, group_size, fields, message):
    norm = {"kind": "ghost_batch", "group_size": group_size}

    with pytest.raises(SpecRefused) as refused:
        checked(facts=make_facts(rows=97), **{**TAIL, **fields, "norm": norm})

    assert (refused.value.path, refused.value.message) == ("norm.group_size", message)
    assert refused.value.reason == "BN_TAIL_BATCH_ONE"
    assert refused.value.metadata["group_size"] == group_size


@pytest.mark.parametrize(
    ("group_size", "fields"),
    [
        (8, {"batch_size": 40, "tail": "drop"}),
        (8, {"batch_size": 40, "budget": {"steps": 2}}),
        (5, {"batch_size": 32, "tail": "drop"}),
        (100, {"batch_size": 32, "tail": "drop"}),
    ],
    ids=str,
)
def test_groups_of_more_values_are_fine(checked, make_facts, group_size, fields):
    norm = {"kind": "ghost_batch", "group_size": group_size}

    assert checked(facts=make_facts(rows=97), **{**TAIL, **fields, "norm": norm}).steps > 0


def test_a_group_of_one_image_is_fine(checked, make_facts):
    layers = network({"kind": "conv2d", "out_channels": 2}, {"kind": "norm"})
    norm = {"kind": "ghost_batch", "group_size": 1}

    assert checked(layers, facts=make_facts((1, 4, 4)), norm=norm).steps > 0


@pytest.mark.parametrize(
    ("steps", "updates"), [(0, 0), (1, 3), (2, 6), (3, 9), (4, 10), (5, 13), (9, 23)]
)
def test_the_updates_of_a_ghost_norm_are_the_groups_of_its_batches(
    checked, make_facts, steps, updates
):
    """99 rows in batches of 32, groups of 12: three times 12, 12 and 8 rows, then 3 rows."""
    norm = {"kind": "ghost_batch", "group_size": 12}
    run = checked(facts=make_facts(rows=99), split={"test": 0.0}, norm=norm)
    batches = [run.batches.sizes[index % 4] for index in range(steps)]

    assert run.updates(steps) == updates == sum(-(-rows // 12) for rows in batches)
    assert checked(norm="batch").updates(steps) == steps


def test_positions_make_one_row_enough_for_a_norm(checked, make_facts):
    layers = network({"kind": "conv2d", "out_channels": 2}, {"kind": "norm"})

    assert checked(layers, facts=make_facts((1, 4, 4)), batch_size=1, norm="batch").steps > 0


def test_planning_does_not_load_torch():
    code = "import sys, model.plan; sys.exit('torch' in sys.modules)"

    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_plan_and_check_agree(checked, make_spec, make_facts):
    assert checked(norm="batch").plan == plan(make_spec(norm="batch"), make_facts())


def test_bfloat16_waits_for_a_gpu_whatever_auto_would_mean(checked):
    assert checked(precision="bfloat16", device="auto").spec.device == "cuda"


@pytest.mark.parametrize("path", ["evaluate_every", "checkpoint_every"])
def test_more_evaluations_or_checkpoints_than_records_should_hold_are_refused(
    make_spec, make_facts, path
):
    spec = make_spec(budget={"steps": 10**9}, **{"evaluate_every": {"steps": 10**8}})
    spec = spec.model_copy(update={path: Span(steps=1)})
    with pytest.raises(SpecRefused, match="1000000000 times") as refused:
        check(spec, make_facts(), LIMITS)
    assert refused.value.path == path


def test_activations_count_the_fewest_rows_that_are_evaluated_at_once(checked):
    assert checked(batch_size=2).memory.activations == checked(batch_size=8).memory.activations
