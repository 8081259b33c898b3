"""The one filesystem interface: the real disk and the simulated one do the same, and a file is replaced whole."""

from __future__ import annotations

import errno
import os
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from perdure.wal.atomic import replace_file, temp_name, write_all
from perdure.wal.executor import InlineExecutor, ManualExecutor, SystemClock, ThreadExecutor
from perdure.wal.filesystem import Filesystem, RealFilesystem
from perdure.wal.simulated import Fault, SimulatedCrash, SimulatedFilesystem, When


@pytest.fixture(params=["real", "simulated"])
def disk(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Filesystem, str]:
    if request.param == "real":
        return RealFilesystem(), str(tmp_path)
    return SimulatedFilesystem(["/data"]), "/data"


def code_of(call: Callable[[], Any]) -> int | None:
    with pytest.raises(OSError) as raised:
        call()
    return raised.value.errno


def test_what_is_appended_is_read_back(disk: tuple[Filesystem, str]) -> None:
    fs, d = disk
    path = os.path.join(d, "f")
    file = fs.create(path)
    assert file.write(b"hello ") == 6
    assert file.write(b"world") == 5
    file.sync()
    file.truncate(7)
    assert file.write(b"!!") == 2
    file.close()
    again = fs.open_append(path)
    again.write(b"?")
    again.close()
    assert fs.size(path) == 10
    assert fs.read(path, 0, 100) == b"hello w!!?"
    assert fs.read(path, 6, 2) == b"w!"
    assert fs.read(path, 10, 5) == b""


def test_rewriting_changes_no_byte(disk: tuple[Filesystem, str]) -> None:
    fs, d = disk
    path = os.path.join(d, "f")
    file = fs.create(path)
    data = bytes(range(256)) * 10_000
    write_all(file, data)
    fs.rewrite(path, 1000)
    fs.rewrite(path, len(data))
    file.write(b"more")
    file.close()
    assert fs.read(path, 0, 1 << 22) == data + b"more"
    assert code_of(lambda: fs.rewrite(os.path.join(d, "no"), 0)) == errno.ENOENT


def test_reserving_changes_no_size(disk: tuple[Filesystem, str]) -> None:
    fs, d = disk
    path = os.path.join(d, "f")
    file = fs.create(path)
    file.write(b"abc")
    assert file.allocate(3, 1 << 20)
    assert fs.size(path) == 3
    file.write(b"d")
    assert fs.read(path, 0, 10) == b"abcd"
    file.truncate(4)
    file.close()


def test_names_renames_and_removals(disk: tuple[Filesystem, str]) -> None:
    fs, d = disk
    fs.make_directory(os.path.join(d, "sub"))
    fs.make_directory(os.path.join(d, "sub"))
    for name, data in (("b", b"1"), ("a", b"2")):
        file = fs.create(os.path.join(d, name))
        file.write(data)
        file.close()
    assert fs.names(d) == ["a", "b", "sub"]
    fs.rename(os.path.join(d, "a"), os.path.join(d, "b"))
    assert fs.names(d) == ["b", "sub"]
    assert fs.read(os.path.join(d, "b"), 0, 5) == b"2"
    assert fs.exists(os.path.join(d, "sub")) and not fs.exists(os.path.join(d, "a"))
    fs.remove(os.path.join(d, "b"))
    fs.sync_directory(d)
    assert fs.names(d) == ["sub"]
    assert fs.names(os.path.join(d, "sub")) == []


def test_errors_have_the_kernels_numbers(disk: tuple[Filesystem, str]) -> None:
    fs, d = disk
    fs.create(os.path.join(d, "f")).close()
    missing = os.path.join(d, "no")
    assert code_of(lambda: fs.create(os.path.join(d, "f"))) == errno.EEXIST
    assert code_of(lambda: fs.make_directory(os.path.join(d, "f"))) == errno.EEXIST
    assert code_of(lambda: fs.open_append(missing)) == errno.ENOENT
    assert code_of(lambda: fs.size(missing)) == errno.ENOENT
    assert code_of(lambda: fs.read(missing, 0, 1)) == errno.ENOENT
    assert code_of(lambda: fs.names(missing)) == errno.ENOENT
    assert code_of(lambda: fs.rename(missing, missing)) == errno.ENOENT
    assert code_of(lambda: fs.remove(missing)) == errno.ENOENT
    assert code_of(lambda: fs.sync_directory(missing)) == errno.ENOENT
    file = fs.open_append(os.path.join(d, "f"))
    file.close()
    assert code_of(lambda: file.write(b"x")) == errno.EBADF


def test_real_reservation_takes_blocks_and_truncation_gives_them_back(tmp_path: Path) -> None:
    fs = RealFilesystem()
    path = tmp_path / "f"
    file = fs.create(str(path))
    file.write(b"abc")
    if not file.allocate(3, 4 << 20):
        pytest.skip("this file system cannot reserve")
    assert path.stat().st_blocks * 512 >= 4 << 20
    file.truncate(3)
    assert path.stat().st_blocks * 512 < 1 << 20
    file.close()


def test_real_reservation_that_does_not_fit_is_an_error(tmp_path: Path) -> None:
    file = RealFilesystem().create(str(tmp_path / "f"))
    try:
        supported = file.allocate(0, 1)
    finally:
        file.truncate(0)
    if not supported:
        pytest.skip("this file system cannot reserve")
    with pytest.raises(OSError) as raised:
        file.allocate(0, 1 << 50)
    assert raised.value.errno in (errno.ENOSPC, errno.EFBIG)
    file.close()


def test_real_file_is_not_inherited_by_a_child(tmp_path: Path) -> None:
    file = RealFilesystem().create(str(tmp_path / "inherited"))
    shown = subprocess.run(["ls", "-l", "/proc/self/fd"], capture_output=True, check=True, close_fds=False)
    assert b"inherited" not in shown.stdout
    file.close()


def test_write_all_goes_on_after_short_writes_and_gives_up_on_none() -> None:
    fs = SimulatedFilesystem()
    file = fs.create("/data/f")
    fs.on_call = lambda call: Fault(short=2) if call.name == "write" else None
    write_all(file, b"abcdefg")
    assert fs.content("/data/f") == b"abcdefg"
    fs.on_call = lambda call: Fault(short=0 if fs.calls % 2 else 1) if call.name == "write" else None
    with pytest.raises(OSError):
        write_all(file, b"abcdefg")


def test_replaced_file_is_the_old_or_the_new_one_after_every_crash() -> None:
    """ATOMIC-FILE at every call, in every legal state."""
    old, new = b"old" * 400, b"new" * 3000
    calls = states = 0
    while True:
        calls += 1
        fs = SimulatedFilesystem()
        replace_file(fs, "/data", "name", old)
        fs.on_call = crash_at(fs.calls + calls)
        try:
            replace_file(fs, "/data", "name", new)
            finished = True
        except SimulatedCrash:
            finished = False
        for state in fs.legal_states(100):
            states += 1
            assert state.content("/data/name") == new if finished else state.content("/data/name") in (old, new)
            state.put("/data/" + temp_name("name"), b"left over")
            replace_file(state, "/data", "name", b"again")
            assert state.content("/data/name") == b"again"
        if finished:
            break
    assert calls > 7 and states > 30


def crash_at(number: int) -> Callable[[Any], Fault | None]:
    return lambda call: Fault(crash=When.BEFORE) if call.number == number else None


@pytest.mark.parametrize("name", ["remove", "create", "write", "sync", "rename", "sync_directory"])
def test_replacement_that_fails_leaves_the_old_content_or_the_new(name: str) -> None:
    fs = SimulatedFilesystem()
    replace_file(fs, "/data", "name", b"old")
    fs.put("/data/" + temp_name("name"), b"left over")
    fs.sick[name] = errno.EIO
    with pytest.raises(OSError):
        replace_file(fs, "/data", "name", b"new")
    assert fs.content("/data/name") == (b"new" if name == "sync_directory" else b"old")
    fs.sick.clear()
    replace_file(fs, "/data", "name", b"newer")
    assert fs.content("/data/name") == b"newer"
    assert fs.names("/data") == ["name"]


# ---- executors --------------------------------------------------------------------


def failing() -> int:
    raise OSError(errno.EIO, "ill")


def test_manual_executor_runs_in_the_order_it_is_told() -> None:
    executor, ended = ManualExecutor(), []
    for number in range(3):
        executor.submit(lambda number=number: number, lambda result, error: ended.append(result))  # type: ignore[misc]
    executor.run_next(2)
    executor.run_next(0)
    assert ended == [2, 0]
    executor.drain()
    assert ended == [2, 0, 1]
    with pytest.raises(IndexError):
        executor.run_next()


def test_inline_executor_hands_errors_over() -> None:
    ended: list[Any] = []
    InlineExecutor().submit(failing, lambda result, error: ended.append((result, type(error))))
    InlineExecutor().drain()
    assert ended == [(None, OSError)]


def test_thread_executor_runs_two_jobs_at_once_and_hands_results_to_the_owner() -> None:
    posted: list[Callable[[], None]] = []
    executor, ended, owner = ThreadExecutor(posted.append), [], threading.get_ident()
    both = threading.Barrier(2)

    def done(result: Any, error: BaseException | None) -> None:
        ended.append((result is not None, type(error), threading.get_ident() == owner))

    executor.submit(lambda: both.wait(20), done)
    executor.submit(lambda: both.wait(20), done)
    executor.submit(failing, done)
    executor.drain()
    executor.shutdown()
    for call in posted:
        call()
    assert sorted(ended, key=str) == [(False, OSError, True), (True, type(None), True), (True, type(None), True)]


def test_thread_executor_can_be_drained_when_the_owners_loop_is_closed() -> None:
    def closed(call: Callable[[], None]) -> None:
        raise RuntimeError("Event loop is closed")

    executor, ended = ThreadExecutor(closed), []
    executor.submit(lambda: 5, lambda result, error: ended.append(result))
    executor.drain()
    executor.shutdown()
    assert ended == [5]


def test_system_clock_goes_on() -> None:
    clock = SystemClock()
    assert clock.unix_ms() > 1_600_000_000_000
    assert clock.monotonic() <= clock.monotonic()
