import subprocess
import sys

from bench.processes import MemoryGrowth, ProcessTree

_GROW = """
import sys
print("ready", flush=True)
sys.stdin.readline()
memory = bytearray(64_000_000)
del memory
print("grown", flush=True)
sys.stdin.readline()
"""


def test_a_peak_is_seen_after_the_memory_was_given_back() -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", _GROW], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    with process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        growth = MemoryGrowth(ProcessTree(process.pid))

        process.stdin.write("\n")
        process.stdin.flush()

        assert process.stdout.readline() == "grown\n"
        (megabytes,) = growth.megabytes().values()
        assert 60 < megabytes < 80
        process.stdin.close()


def test_the_processor_time_of_buried_children_counts() -> None:
    script = (
        "import subprocess, sys\n"
        "subprocess.run([sys.executable, '-c', 'sum(range(20_000_000))'])\n"
        "print('done', flush=True)\n"
        "sys.stdin.readline()\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    with process:
        assert process.stdout is not None
        assert process.stdout.readline() == "done\n"
        assert ProcessTree(process.pid).cpu_seconds() > 0.1
        process.communicate("\n")
