"""A rehearsal leaves no trace in the run that follows."""

import subprocess
import sys

SCRIPT = """
import sys
import torch
from model.data.builtin import build
from model.plan import Limits, check
from model.spec import RunSpec
from model.training.arrays import prepare
from model.training.loop import Training
from worker.rehearsal import rehearse

if sys.argv[1] == "rehearsed":
    rehearse()
layers = [{"kind": "linear", "out_features": 32}, {"kind": "norm"}, {"kind": "activation"},
          {"kind": "dropout"}, {"kind": "linear"}]
spec = {"dataset": "digits", "network": {"kind": "layers", "layers": layers}, "norm": "batch",
        "budget": {"steps": 60}}
dataset = build("digits")
checked = check(RunSpec.model_validate(spec), dataset.facts, Limits(10**9, 10**12))
cpu = torch.device("cpu")
torch.set_num_threads(checked.spec.threads)
training = Training(checked, prepare(dataset, checked.spec, cpu), cpu)
list(training.run())
for name, tensor in training.network.state_dict().items():
    print(name, tensor.double().sum().item().hex(), hash(tensor.numpy().tobytes()))
print(torch.get_rng_state().sum().item(), torch.get_default_dtype(), torch.get_num_threads())
"""


def test_a_run_after_it_has_the_same_bits_as_without() -> None:
    fresh, rehearsed = _state_after("fresh"), _state_after("rehearsed")
    assert "running_mean" in fresh
    assert fresh == rehearsed


def _state_after(start: str) -> str:
    command = [sys.executable, "-c", SCRIPT, start]
    done = subprocess.run(
        command, capture_output=True, text=True, env={"PYTHONHASHSEED": "0", "OMP_NUM_THREADS": "1"}
    )
    assert done.returncode == 0, done.stderr
    return done.stdout
