import json
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_the_demo_shows_both_arms_and_answers_in_eval_mode(tmp_path: Path) -> None:
    """Started in a folder with an `api` of its own, and beside settings of another service."""
    (tmp_path / "api").mkdir()
    (tmp_path / "api" / "__init__.py").write_text("raise SystemExit('the wrong api')\n")
    (tmp_path / "tmp").mkdir()
    ended = subprocess.run(
        [sys.executable, "-P", "-m", "evalmode", "demo", "--json"],
        cwd=tmp_path,
        env={
            **os.environ,
            "PYTHONPATH": str(ROOT),
            "EVALMODE_DATABASE_URL": "postgresql://nobody@127.0.0.1:1/none",
            "TMPDIR": str(tmp_path / "tmp"),
        },
        capture_output=True,
        text=True,
        timeout=110,
    )
    assert ended.returncode == 0, ended.stderr
    *shown, last = ended.stdout.splitlines()
    told = json.loads(last)

    assert set(told["arms"]) == {"batch", "none"}
    final = {norm: arm["final_test_accuracy"] for norm, arm in told["arms"].items()}
    assert final["batch"] > 0.9 > final["none"]
    assert len(told["arms"]["batch"]["test_accuracy"]) == 20
    assert len(told["predictions"]) == 5
    assert all({"truth", "label", "probability"} == set(one) for one in told["predictions"])
    assert told["mode"] == "eval"
    assert told["statistics"] == told["arms"]["batch"]["statistics"]
    assert told["statistics"] in "\n".join(shown)
    assert list((tmp_path / "tmp").glob("evalmode-*")) == []
