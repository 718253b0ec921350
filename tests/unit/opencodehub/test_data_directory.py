"""The data directory: its rights, its secret key, its socket."""

import concurrent.futures
import multiprocessing
import os
import stat
from pathlib import Path

import pytest

from opencodehub import data_directory
from opencodehub.data_directory import MAXIMUM_SOCKET_PATH_BYTES, Places, Unusable


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def _secret_key(root: Path) -> str:
    return data_directory.secret_key(Places(root))


def test_directory_and_key_are_private(tmp_path: Path) -> None:
    places = Places(tmp_path / "new" / "data")
    data_directory.prepare(places)
    key = data_directory.secret_key(places)
    assert mode(places.root) == 0o700
    assert mode(places.secret_key) == 0o600
    assert len(key) == 64
    assert data_directory.secret_key(places) == key
    assert [path.name for path in places.root.iterdir()] == ["secret_key"]


def test_processes_that_race_agree_on_one_key(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    with concurrent.futures.ProcessPoolExecutor(4, mp_context=context) as pool:
        keys = set(pool.map(_secret_key, [tmp_path] * 16))
    assert len(keys) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["secret_key"]


def test_a_key_others_may_read_is_refused(tmp_path: Path) -> None:
    places = Places(tmp_path)
    data_directory.secret_key(places)
    places.secret_key.chmod(0o640)
    with pytest.raises(Unusable) as caught:
        data_directory.secret_key(places)
    assert str(caught.value) == (
        f"{places.secret_key} is open to other users; run: chmod 600 {places.secret_key}"
    )


def test_a_key_that_was_cut_is_refused(tmp_path: Path) -> None:
    places = Places(tmp_path)
    places.secret_key.touch(mode=0o600)
    with pytest.raises(Unusable, match="is cut short; remove it to have a new one made"):
        data_directory.secret_key(places)


def test_a_long_path_has_its_socket_elsewhere(tmp_path: Path) -> None:
    short, long = Places(tmp_path), Places(tmp_path / ("x" * 120))
    assert short.redis_socket == tmp_path / "run" / "redis.sock"
    assert len(os.fsencode(long.redis_socket)) <= MAXIMUM_SOCKET_PATH_BYTES
    assert long.redis_socket == Places(long.root).redis_socket
    assert long.redis_socket != Places(tmp_path / ("y" * 120)).redis_socket


def test_a_private_folder_is_made_private(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    folder.mkdir(mode=0o755)
    data_directory.private_folder(folder)
    assert mode(folder) == 0o700


def test_a_planted_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "run").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(Unusable, match="must be a folder that belongs to this user; remove it"):
        data_directory.private_folder(tmp_path / "run")
