"""Several processes on one local store."""

import os
import subprocess
import sys
from pathlib import Path

import storage_adapters
from storage_adapters.local import LocalObjectStore
from tests.support.object_stores import files_under, list_keys

PACKAGES = Path(storage_adapters.__file__).parents[1]


def python(script: str, *arguments: object) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", script, *map(str, arguments)],
        cwd=PACKAGES,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


COME_AND_GO = """
import asyncio, sys
from pathlib import Path
from storage_adapters.local import LocalObjectStore

async def main():
    store = LocalObjectStore(Path(sys.argv[1]))
    print("ready", flush=True)
    sys.stdin.readline()
    for number in range(150):
        key = f"shared/folder/{sys.argv[2]}"
        await store.put(key, b"%d" % number)
        assert await store.get(key) == b"%d" % number
        await store.delete(key)
    await store.close()

asyncio.run(main())
"""


async def test_deletes_of_one_process_do_not_fail_puts_of_another(
    local_store: LocalObjectStore, root: Path
) -> None:
    children = [python(COME_AND_GO, root, number) for number in range(3)]
    run_together(children)
    assert await list_keys(local_store) == []
    assert os.listdir(root) == [".incoming"]


RACER = """
import asyncio, sys
from pathlib import Path
from storage_adapters.errors import ObjectExists
from storage_adapters.local import LocalObjectStore

async def main():
    store = LocalObjectStore(Path(sys.argv[1]))
    print("ready", flush=True)
    sys.stdin.readline()
    for number in range(40):
        try:
            await store.put_if_absent(f"raced/{number}/object", sys.argv[2].encode() * 1000)
        except ObjectExists:
            continue
        print(number)
    await store.close()

asyncio.run(main())
"""


async def test_of_several_processes_one_puts_if_absent(
    local_store: LocalObjectStore, root: Path
) -> None:
    names = "ABCD"
    outputs = run_together([python(RACER, root, name) for name in names])
    won = {name: output.split() for name, output in zip(names, outputs, strict=True)}
    assert sorted(int(number) for numbers in won.values() for number in numbers) == list(range(40))
    for name, numbers in won.items():
        for number in numbers:
            assert await local_store.get(f"raced/{number}/object") == name.encode() * 1000


def run_together(children: list[subprocess.Popen[str]]) -> list[str]:
    """Let them go at the same time; their outputs once all ended well."""
    for child in children:
        assert child.stdout is not None
        assert child.stdout.readline() == "ready\n"
    for child in children:
        assert child.stdin is not None
        child.stdin.write("go\n")
        child.stdin.flush()
    outputs = [child.communicate()[0] for child in children]
    assert [child.returncode for child in children] == [0] * len(children)
    return outputs


async def test_closing_removes_its_incoming_folder_alone(
    local_store: LocalObjectStore, root: Path
) -> None:
    own = sorted(os.listdir(root / ".incoming"))
    other = LocalObjectStore(root)
    assert len(os.listdir(root / ".incoming")) == 4
    await other.close()
    assert sorted(os.listdir(root / ".incoming")) == own


async def test_an_incoming_folder_that_was_removed_is_made_again(
    local_store: LocalObjectStore, root: Path
) -> None:
    for path in sorted((root / ".incoming").rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()
    await local_store.put("key", b"x")
    assert await local_store.get("key") == b"x"
    assert files_under(root) == ["key"]
