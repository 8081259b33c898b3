"""Background, pid file, supervisors."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import uuid

import pytest

from perdure.server.daemon import Supervisor, daemonize, find_supervisor, remove_pidfile, write_pidfile

DAEMON = """
import os, sys
from perdure.server.daemon import daemonize
before = os.getpid()
fifo = sys.argv[1]
daemonize()
with open(fifo, "w") as out:
    names = [os.readlink(f"/proc/self/fd/{fd}") for fd in (0, 1, 2)]
    print(os.getpid() != before, os.getsid(0) == os.getpid(), *names, os.getcwd(), sep="\\n", file=out)
"""


def test_daemonize_returns_in_a_child_without_terminal(tmp_path):
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    process = subprocess.Popen([sys.executable, "-c", DAEMON, str(fifo)], cwd=tmp_path)
    with open(fifo) as answers:
        lines = answers.read().split()
    assert process.wait(30) == 0
    assert lines == ["True", "True", *["/dev/null"] * 3, str(tmp_path)]
    assert callable(daemonize)


def test_pidfile_is_written_and_removed(tmp_path):
    path = str(tmp_path / "x.pid")
    assert write_pidfile(path) == ""
    with open(path) as file:
        assert file.read() == f"{os.getpid()}\n"
    remove_pidfile(path)
    assert not os.path.exists(path)
    remove_pidfile(path)


def test_pidfile_of_another_process_stays(tmp_path):
    (tmp_path / "x.pid").write_text("1\n")
    remove_pidfile(str(tmp_path / "x.pid"))
    assert (tmp_path / "x.pid").exists()


def test_pidfile_that_cannot_be_written_gives_the_reason(tmp_path):
    assert write_pidfile(str(tmp_path / "no" / "x.pid")).endswith("x.pid: No such file or directory")


@pytest.mark.parametrize("abstract", [False, True])
def test_systemd_is_told(tmp_path, abstract):
    address = f"@perdure-{uuid.uuid4().hex}" if abstract else str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind("\0" + address[1:] if abstract else address)
        supervisor, warning = find_supervisor("auto", {"NOTIFY_SOCKET": address})
        assert (supervisor.kind, warning, bool(supervisor)) == ("systemd", "", True)
        assert supervisor.status("Loading\nthe rest is dropped")
        assert supervisor.ready()
        assert supervisor.stopping()
        messages = [systemd.recv(1000).decode().splitlines() for _ in range(3)]
    assert messages[0] == ["STATUS=Loading"]
    assert "READY=1" in messages[1]
    assert "STOPPING=1" in messages[2]


def test_systemd_that_does_not_listen_is_no_error(tmp_path):
    assert not Supervisor("systemd", str(tmp_path / "nobody")).ready()
    assert not Supervisor().ready()


@pytest.mark.parametrize(
    ("mode", "environment", "kind", "warns"),
    [
        ("no", {"NOTIFY_SOCKET": "/x", "UPSTART_JOB": "y"}, "no", False),
        ("auto", {}, "no", False),
        ("auto", {"UPSTART_JOB": "y"}, "upstart", False),
        ("upstart", {}, "no", True),
        ("systemd", {}, "systemd", True),
        ("systemd", {"NOTIFY_SOCKET": "vsock:1"}, "systemd", True),
    ],
)
def test_supervisor_is_found_as_stock_finds_it(mode, environment, kind, warns):
    supervisor, warning = find_supervisor(mode, environment)
    assert (supervisor.kind, bool(warning)) == (kind, warns)
    assert kind != "upstart" or "UPSTART_JOB" not in environment


def test_upstart_is_told_by_stopping():
    code = "from perdure.server.daemon import Supervisor; Supervisor('upstart').ready()"
    process = subprocess.Popen([sys.executable, "-c", code])
    _, status = os.waitpid(process.pid, os.WUNTRACED)
    assert os.WIFSTOPPED(status)
    os.kill(process.pid, signal.SIGCONT)
    assert process.wait(30) == 0
