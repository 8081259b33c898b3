"""Bad input from outside: bytes, clients, configuration, directories.  Nothing of it ends or bends the server.

What is refused at start is refused with status 1, says why, and changes no byte (HANDS-OFF).
"""

from __future__ import annotations

import socket
from random import Random

import pytest
from oracle_differences import ARGUMENTS_TAKEN
from server_harness import PerdureServer, StockServer, files_of

MIB = 1 << 20


def ask(sock, payload):
    """Send, stop sending, and read all answers until the server closes."""
    try:
        sock.sendall(payload)
        sock.shutdown(socket.SHUT_WR)
    except (BrokenPipeError, ConnectionResetError):
        pass
    return read_to_end(sock)


def read_to_end(sock):
    parts = []
    try:
        while data := sock.recv(1 << 16):
            parts.append(data)
    except ConnectionResetError:
        pass
    return b"".join(parts)


def multi_bulk(*arguments):
    return b"*%d\r\n" % len(arguments) + b"".join(b"$%d\r\n%b\r\n" % (len(a), a) for a in arguments)


@pytest.fixture
def server(tmp_path):
    with PerdureServer(tmp_path / "data", "--appendfsync", "everysec") as running:
        running.start()
        with running.client() as client:
            client.set("canary", "sings")
        yield running
        assert running.alive(), running.log()[-3000:]
        with running.client() as client:
            assert client.get("canary") == b"sings"
        assert "Traceback" not in running.log()
        assert running.terminate() == 0


# ---- bytes -----------------------------------------------------------------------------

SEEDS = [
    multi_bulk(b"SET", b"a", b"b"),
    multi_bulk(b"GET", b"canary"),
    multi_bulk(b"MULTI") + multi_bulk(b"INCR", b"x") + multi_bulk(b"EXEC"),
    multi_bulk(b"HSET", b"h", b"f", b"v" * 300),
    multi_bulk(b"HELLO", b"3"),
    multi_bulk(b"CLIENT", b"SETNAME", b"me"),
    b"PING\r\n",
    b'SET a "b \\x00 c"\r\n',
    b"*1\r\n$4\r\nPING\r\n*-1\r\n*0\r\n\r\n",
]


def random_bytes(rng, seeds=SEEDS):
    """Noise, or a request with a few bytes changed, taken out or put in."""
    if rng.random() < 0.4:
        return rng.randbytes(rng.choice((1, 2, 7, 30, 200, 3000)))
    if rng.random() < 0.2:
        return bytes(rng.choice(b"*$+-:_#,(!=%~>|\r\n 0123456789") for _ in range(rng.randrange(1, 60)))
    text = bytearray(b"".join(rng.choice(seeds) for _ in range(rng.randrange(1, 4))))
    for _ in range(rng.randrange(1, 5)):
        at = rng.randrange(len(text))
        text[at : at + rng.randrange(3)] = rng.choice((b"", b"9", b"-", b"\r\n", b"\x00", rng.randbytes(1)))
    return bytes(text)


def test_ten_thousand_random_byte_strings_harm_nobody(server):
    rng = Random(20240607)
    before = server.resident_bytes()
    with server.client() as bystander:
        for number in range(10_000):
            data = random_bytes(rng)
            with server.connect() as sock:
                ask(sock, data)
            if number % 500 == 0:
                assert bystander.ping(), f"string {number}: {data!r}"
        assert len(bystander.client_list()) == 1, "a connection was left behind"
    assert server.resident_bytes() - before < 64 * MIB


NO_BULK_STRINGS = [
    b":5\r\n", b"$-1\r\n", b"*-1\r\n", b"*0\r\n", b"*1\r\n$1\r\na\r\n", b"+a\r\n", b"-a\r\n", b"_\r\n", b",1.5\r\n",
    b"#t\r\n", b"%0\r\n", b"~0\r\n", b"!1\r\na\r\n",
]  # fmt: skip
SAME_EVERYWHERE = [seed for seed in SEEDS if b"HELLO" not in seed]


def answers_of_both(tmp_path, payloads):
    """(what was sent, stock's answers, ours), each payload on a connection and a keyspace of its own."""
    told = []
    for server in (StockServer(tmp_path / "stock"), PerdureServer(tmp_path / "ours")):
        with server, server.start().client() as client:
            answers = []
            for payload in payloads:
                client.flushall()
                client.set("canary", "sings")
                with server.connect() as sock:
                    answers.append(ask(sock, payload))
            told.append(answers)
    return list(zip(payloads, *told, strict=True))


def test_random_bytes_are_answered_as_by_stock(tmp_path):
    rng = Random(7062024)
    payloads = [random_bytes(rng, SAME_EVERYWHERE) for _ in range(4000)]
    # Stock looks for a line's end as in a C string: after a zero byte it waits for ever.
    payloads = [payload for payload in payloads if b"\x00" not in payload]
    assert len(payloads) > 2000
    different = [case for case in answers_of_both(tmp_path, payloads) if case[1] != case[2]]
    assert not different, f"{len(different)}, first: " + "\n".join(map(repr, different[:5]))


@pytest.mark.parametrize(("wrong", "taken"), ARGUMENTS_TAKEN.items())
def test_what_is_taken_for_an_argument_differs_from_stock(wrong, taken, tmp_path):
    ((_, theirs, ours),) = answers_of_both(tmp_path, [b"*2\r\n$4\r\nECHO\r\n" + wrong])
    assert theirs.startswith(b"-ERR Protocol error: expected '$'")
    assert ours == b"$1\r\n%b\r\n" % taken


@pytest.mark.parametrize(
    "before",
    [b"", multi_bulk(b"GET", b"canary"), multi_bulk(b"SET", b"canary", b"b")],
    ids=["alone", "behind GET", "behind SET"],
)
def test_what_is_no_request_is_answered_as_by_stock(before, tmp_path):
    """Any RESP value but a bulk string where an argument, or a request, should stand."""
    payloads = []
    for wrong in NO_BULK_STRINGS:
        payloads += [
            before + b"*2\r\n$3\r\nGET\r\n" + wrong,
            before + b"*3\r\n$3\r\nSET\r\n$6\r\ncanary\r\n" + wrong + multi_bulk(b"GET", b"canary"),
            before + b"*3\r\n$6\r\nEXISTS\r\n$6\r\ncanary\r\n" + wrong,
            before + b"*3\r\n$3\r\nDEL\r\n$6\r\ncanary\r\n" + wrong,
            before + b"*4\r\n$4\r\nHSET\r\n$1\r\nh\r\n$1\r\nf\r\n" + wrong,
            before + b"*1\r\n" + wrong,
            before + b"*2\r\n" + wrong + b"$1\r\na\r\n",
            before + wrong + multi_bulk(b"GET", b"canary"),
        ]
    different = [case for case in answers_of_both(tmp_path, payloads) if case[1] != case[2]]
    assert not different, f"{len(different)}, first: " + "\n".join(map(repr, different[:5]))


@pytest.mark.parametrize(
    ("request_bytes", "answer"),
    [
        (b"*2\r\n$3\r\nGET\r\n$9223372036854775808\r\n", b"-ERR Protocol error: invalid bulk length\r\n"),
        (b"*2\r\n$3\r\nGET\r\n$9223372036854775807\r\n", b"-ERR Protocol error: invalid bulk length\r\n"),
        (b"*2\r\n$3\r\nGET\r\n$-1\r\n", b"-ERR Protocol error: invalid bulk length\r\n"),
        (b"*2\r\n$3\r\nGET\r\n$536870913\r\n", b"-ERR Protocol error: invalid bulk length\r\n"),
        (b"*9223372036854775808\r\n", b"-ERR Protocol error: invalid multibulk length\r\n"),
        (b"*2147483648\r\n", b"-ERR Protocol error: invalid multibulk length\r\n"),
        (b"*1\r\n!4\r\nPING\r\n", b"-ERR Protocol error: expected '$', got '!'\r\n"),
        (b'SET a "b\r\n', b"-ERR Protocol error: unbalanced quotes in request\r\n"),
        (b"x" * 70_000, b"-ERR Protocol error: too big inline request\r\n"),
    ],
)
def test_an_impossible_length_is_answered_and_closed(server, request_bytes, answer):
    before = server.resident_bytes()
    with server.connect() as sock:
        sock.sendall(b"PING\r\n" + request_bytes)
        assert read_to_end(sock) == b"+PONG\r\n" + answer
    assert server.resident_bytes() - before < 16 * MIB


def test_impossible_lengths_are_answered_in_stocks_words(tmp_path):
    cases = test_an_impossible_length_is_answered_and_closed.pytestmark[0].args[1]
    with StockServer(tmp_path / "stock") as stock:
        stock.start()
        for request_bytes, answer in cases:
            with stock.connect() as sock:
                sock.sendall(request_bytes)
                assert read_to_end(sock) == answer


def test_a_promised_half_gigabyte_costs_nothing_until_it_comes(server):
    before = server.resident_bytes()
    socks = [server.connect() for _ in range(50)]
    try:
        for sock in socks:
            sock.sendall(b"*3\r\n$3\r\nSET\r\n$1\r\na\r\n$536870912\r\nabc")
            sock.sendall(b"d")
        with server.client() as client:
            assert client.ping()
        assert server.resident_bytes() - before < 64 * MIB
    finally:
        for sock in socks:
            sock.close()


def test_a_command_of_a_million_arguments_is_run(server):
    keys = [b"k%d" % i for i in range(499_999)]
    with server.connect() as sock:
        sock.sendall(multi_bulk(b"MSET", *(part for key in keys for part in (key, b"v")), b"last", b"v"))
        assert sock.recv(100) == b"+OK\r\n"
        sock.sendall(multi_bulk(b"EXISTS", *keys, *keys, b"last"))
        assert sock.recv(100) == b":%d\r\n" % (2 * len(keys) + 1)
        sock.sendall(multi_bulk(b"GET", *[b"x"] * 999_999))
        assert sock.recv(100).startswith(b"-ERR wrong number of arguments for 'get' command")
        sock.sendall(multi_bulk(*[b"nosuch"] * 1_000_000))
        assert sock.recv(2000).startswith(b"-ERR unknown command 'nosuch'")
    server.kill9()
    server.start()
    with server.client() as client:
        assert client.dbsize() == 500_001


def test_who_has_not_said_the_password_may_send_little(tmp_path):
    with PerdureServer(tmp_path / "data", "--requirepass", "secret") as server:
        server.start()
        cases = [
            (b"*11\r\n", b"-ERR Protocol error: unauthenticated multibulk length\r\n"),
            (b"*2\r\n$4\r\nAUTH\r\n$16385\r\n", b"-ERR Protocol error: unauthenticated bulk length\r\n"),
        ]
        for payload, answer in cases:
            with server.connect() as sock:
                sock.sendall(payload)
                assert read_to_end(sock) == answer
        with server.client(password="secret") as client:
            assert client.set("a", 1)


# ---- clients ---------------------------------------------------------------------------


def test_a_client_that_never_reads_costs_a_bounded_piece_of_memory(server):
    value, count = b"x" * 100_000, 3000
    with server.client() as client, server.connect() as lazy:
        client.set("large", value)
        before = server.resident_bytes()
        lazy.sendall(multi_bulk(b"GET", b"large") * count)
        for i in range(200):
            client.set("other", i)
            assert client.get("other") == b"%d" % i
        assert server.peak_resident_bytes() - before < 32 * MIB, "300 MB of answers must wait unmade"
        expected = (len(value) + len(b"$100000\r\n\r\n")) * count
        lazy.shutdown(socket.SHUT_WR)
        got = 0
        while data := lazy.recv(1 << 20):
            got += len(data)
        assert got == expected, "a slow reader gets all of it in the end"


def test_a_client_that_sends_for_ever_and_reads_nothing_is_no_longer_read_from(server):
    with server.client() as client, server.connect(timeout_s=1.0) as lazy:
        before = server.resident_bytes()
        request = multi_bulk(b"EXISTS", b"k" * 1000) * 100
        sent = 0
        try:
            while sent < 1 << 30:
                sent += lazy.send(request)
        except TimeoutError:
            pass
        assert sent < 256 * MIB, "reading must pause"
        assert client.ping()
        assert server.resident_bytes() - before < 32 * MIB


def test_a_transaction_that_is_never_executed_is_bounded(tmp_path):
    with PerdureServer(tmp_path / "data", "--client-query-buffer-limit", "4mb") as server:
        server.start()
        before = server.resident_bytes()
        with server.connect() as sock:
            sock.sendall(multi_bulk(b"MULTI"))
            request = multi_bulk(b"SET", b"k", b"v" * 100_000)
            sock.settimeout(20.0)
            answers = b""
            try:
                for _ in range(2000):
                    sock.sendall(request)
                    part = sock.recv(1 << 16)
                    if not part or part.startswith(b"-"):
                        answers = part
                        break
            except (BrokenPipeError, ConnectionResetError):
                pass
            assert server.resident_bytes() - before < 128 * MIB, answers
        with server.client() as client:
            assert client.ping()


# ---- starts that must be refused ---------------------------------------------------------


def assert_refused(server, *words):
    status, log = server.refused()
    assert status == 1, log
    assert "Traceback" not in log
    for word in words:
        assert word in log, log
    return log


def test_a_typo_in_redis_conf_is_named_with_its_line(tmp_path):
    conf = tmp_path / "redis.conf"
    conf.write_text("port 0\n\n# a comment\nappendfsnyc always\nunixsocket /nowhere\n")
    with PerdureServer(tmp_path / "data") as server:
        server.command = [*server.command, str(conf)]
        log = assert_refused(server, "appendfsnyc")
    assert "4" in log
    assert files_of(tmp_path / "data") == {}


def test_a_wrong_value_in_redis_conf_is_named_with_its_line(tmp_path):
    conf = tmp_path / "redis.conf"
    conf.write_text("port 0\nappendfsync sometimes\n")
    with PerdureServer(tmp_path / "data") as server:
        server.command = [*server.command, str(conf)]
        log = assert_refused(server, "appendfsync sometimes")
    assert "2" in log
    assert files_of(tmp_path / "data") == {}


def test_a_data_directory_that_leads_through_a_file_is_refused(tmp_path):
    (tmp_path / "file").write_text("I am no folder")
    with PerdureServer(tmp_path / "data") as server:
        server.directory = tmp_path / "file" / "data"
        assert_refused(server, str(tmp_path / "file"))
    assert (tmp_path / "file").read_text() == "I am no folder"


def test_a_data_directory_that_is_not_there_is_refused(tmp_path):
    with PerdureServer(tmp_path / "data") as server:
        server.directory = tmp_path / "nosuch"
        assert_refused(server, str(tmp_path / "nosuch"))
    assert not (tmp_path / "nosuch").exists()


def test_a_data_directory_that_is_a_file_is_refused(tmp_path):
    (tmp_path / "file").write_text("I am no folder")
    with PerdureServer(tmp_path / "data") as server:
        server.directory = tmp_path / "file"
        assert_refused(server, str(tmp_path / "file"))
    assert (tmp_path / "file").read_text() == "I am no folder"


def test_a_file_in_the_log_directorys_place_is_refused_and_kept(tmp_path):
    with PerdureServer(tmp_path / "data") as server:
        (server.directory / "appendonlydir").write_text("mine")
        assert_refused(server, "appendonlydir")
        assert (server.directory / "appendonlydir").read_text() == "mine"


def test_a_port_in_use_is_refused_before_anything_is_touched(tmp_path):
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        with PerdureServer(tmp_path / "data") as server:
            server.port = holder.getsockname()[1]
            assert_refused(server, "address already in use", str(server.port))
            assert list(server.directory.iterdir()) == []


def test_a_second_instance_is_refused_with_the_pid_of_the_first(server):
    before = files_of(server.directory / "appendonlydir")
    with PerdureServer(server.directory) as second:
        assert_refused(second, str(server.pid), str(server.directory))
    assert files_of(server.directory / "appendonlydir") == before
    with server.client() as client:
        assert client.set("still", "here")


@pytest.fixture
def log_directory(tmp_path):
    """A directory with a log of a few files, ended by a kill."""
    with PerdureServer(tmp_path / "data") as server:
        for run in range(3):
            server.start()
            with server.client() as client:
                client.set(f"k{run}", run)
            server.kill9()
    return tmp_path / "data"


def test_a_manifest_that_names_a_missing_file_is_refused_and_nothing_changes(log_directory):
    victim = sorted((log_directory / "appendonlydir").glob("*.incr.aof"))[0]
    victim.unlink()
    before = files_of(log_directory)
    with PerdureServer(log_directory) as server:
        for _ in range(2):
            assert_refused(server, victim.name)
    assert files_of(log_directory) == before


def test_a_log_without_its_manifest_is_refused_and_nothing_changes(log_directory):
    (log_directory / "appendonlydir" / "appendonly.aof.manifest").unlink()
    before = files_of(log_directory)
    with PerdureServer(log_directory) as server:
        assert_refused(server, "manifest")
    assert files_of(log_directory) == before


def test_a_manifest_that_is_noise_is_refused_and_nothing_changes(log_directory):
    manifest = log_directory / "appendonlydir" / "appendonly.aof.manifest"
    manifest.write_bytes(Random(7).randbytes(500))
    before = files_of(log_directory)
    with PerdureServer(log_directory) as server:
        assert_refused(server, manifest.name)
    assert files_of(log_directory) == before
