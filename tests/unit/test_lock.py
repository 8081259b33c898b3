"""The data directory's lock, against other processes."""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import sys

import pytest

from perdure.server.lock import NAME, LockError, take

HOLD = """
import sys, os
from perdure.server.lock import take
lock = take(sys.argv[1])
if "sign" in sys.argv: lock.sign()
if "fork" in sys.argv:
    if os.fork(): os._exit(0)
    lock.sign()
print(os.getpid(), flush=True)
sys.stdin.read()
"""


def holder(directory, *how: str) -> tuple[subprocess.Popen[str], int]:
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(directory), *how], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    return process, int(process.stdout.readline())


def finish(process: subprocess.Popen[str], pid: int) -> None:
    """End the holder by its pid and wait until its output is closed: then no process has the lock any more."""
    os.kill(pid, signal.SIGKILL)
    process.communicate()


@pytest.mark.parametrize("how", [(), ("sign",), ("fork",)])
def test_second_instance_is_refused_with_the_others_pid(tmp_path, how):
    process, pid = holder(tmp_path, *how)
    try:
        before = (tmp_path / NAME).read_bytes()
        with pytest.raises(LockError) as caught:
            take(str(tmp_path))
        assert caught.value.pid == pid
        assert str(pid) in caught.value.text
        assert (tmp_path / NAME).read_bytes() == before
        assert os.listdir(tmp_path) == [NAME]
    finally:
        finish(process, pid)
    take(str(tmp_path)).release()


def test_file_of_a_killed_process_is_no_obstacle(tmp_path):
    process, pid = holder(tmp_path, "sign")
    finish(process, pid)
    assert (tmp_path / NAME).read_text() == f"{pid}\n"
    lock = take(str(tmp_path))
    assert (tmp_path / NAME).read_text() == f"{pid}\n"
    lock.sign()
    assert (tmp_path / NAME).read_text() == f"{os.getpid()}\n"
    lock.release()
    assert os.listdir(tmp_path) == []
    assert lock.fileno() == -1
    lock.release()


def test_start_that_is_given_up_leaves_the_directory_as_it_was(tmp_path):
    take(str(tmp_path)).release()
    assert os.listdir(tmp_path) == []
    (tmp_path / NAME).write_text("12345\n")
    stat = os.stat(tmp_path / NAME)
    take(str(tmp_path)).release()
    assert (tmp_path / NAME).read_text() == "12345\n"
    assert os.stat(tmp_path / NAME).st_mtime_ns == stat.st_mtime_ns


def test_same_process_cannot_take_it_twice(tmp_path):
    lock = take(str(tmp_path))
    with pytest.raises(LockError) as caught:
        take(str(tmp_path))
    assert caught.value.pid == os.getpid()
    lock.release()


def test_file_removed_under_the_holder_is_not_removed_again(tmp_path):
    lock = take(str(tmp_path))
    lock.sign()
    os.unlink(tmp_path / NAME)
    (tmp_path / NAME).write_text("another's")
    lock.release()
    assert (tmp_path / NAME).read_text() == "another's"


def test_file_removed_between_opening_and_locking_is_taken_anew(tmp_path, monkeypatch):
    """The holder before us removed its file when we had it open: our lock would be on a file without a name."""
    real, removed = fcntl.flock, []

    def flock(fd: int, how: int) -> None:
        if not removed:
            removed.append(os.unlink(tmp_path / NAME))
        real(fd, how)

    monkeypatch.setattr(fcntl, "flock", flock)
    lock = take(str(tmp_path))
    assert os.fstat(lock.fileno()).st_ino == os.stat(tmp_path / NAME).st_ino
    with pytest.raises(LockError):
        take(str(tmp_path))
    lock.release()


def test_directory_that_cannot_be_used_is_a_clear_error(tmp_path):
    with pytest.raises(LockError, match="No such file or directory"):
        take(str(tmp_path / "no"))
    (tmp_path / NAME).mkdir()
    with pytest.raises(LockError, match="Can't open"):
        take(str(tmp_path))


def test_symlink_in_the_locks_place_is_not_followed(tmp_path):
    os.symlink("/etc/passwd", tmp_path / NAME)
    with pytest.raises(LockError):
        take(str(tmp_path))
