import subprocess
import sys


def run(code: str) -> None:
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=30)
    assert ended.returncode == 0, ended.stderr


START = """
import os, signal, subprocess, time
from evalmode import orphans

def state(pid):
    return open(f"/proc/{pid}/stat").read().rpartition(")")[2].split()[0]

orphans.adopt()
middle = subprocess.Popen(["sh", "-c", "sleep 60 >&- & echo $!"], stdout=subprocess.PIPE)
left = int(middle.stdout.read())
middle.wait()
assert orphans.children(os.getpid()) == [left], "the grandchild was not adopted"
"""


def test_an_orphan_is_adopted_and_collected_when_it_dies() -> None:
    run(
        START
        + """
os.kill(left, signal.SIGKILL)
while state(left) != "Z":
    time.sleep(0.01)
orphans.reap(())
assert orphans.children(os.getpid()) == []
"""
    )


def test_a_living_orphan_is_killed_at_the_end() -> None:
    run(START + "orphans.kill_all()\nassert orphans.children(os.getpid()) == []\n")


def test_our_own_children_are_left_to_those_who_started_them() -> None:
    run(
        START
        + """
own = subprocess.Popen(["true"])
while state(own.pid) != "Z":
    time.sleep(0.01)
orphans.reap({own.pid})
assert own.wait() == 0, "somebody else collected it"
orphans.kill_all()
"""
    )
