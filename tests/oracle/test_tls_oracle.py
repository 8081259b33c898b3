"""TLS and listening addresses on both: what CONFIG SET answers, who is let in then, and who is not."""

from __future__ import annotations

import socket
import ssl
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis
from certificates import Authority, common_name
from redis.backoff import NoBackoff
from redis.retry import Retry
from server_harness import PerdureServer, ServerProcess, StockServer, free_port, stock_path

pytestmark = pytest.mark.oracle
Both = tuple[ServerProcess, ServerProcess]


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    made = Authority(tmp_path_factory.mktemp("certificates"))
    made.issue("server")
    made.issue("client")
    made.issue("other")
    made.issue("locked", password="pw")
    return made


@pytest.fixture
def both(tmp_path: Path) -> Iterator[Both]:
    """Servers on a unix socket only."""
    with StockServer(tmp_path / "stock") as stock, PerdureServer(tmp_path / "ours") as ours:
        yield stock.start(), ours.start()


def config_set(server: ServerProcess, *words: object) -> str:
    with server.client(protocol=2) as client:
        try:
            client.execute_command("CONFIG SET", *words)
        except redis.ResponseError as error:
            return str(error)
        return "OK"


def config_get(server: ServerProcess, name: str) -> str:
    with server.client(protocol=2) as client:
        found: str = client.execute_command("CONFIG GET", name)[name]
        return found


def files(authority: Authority, name: str) -> list[str]:
    """CONFIG SET's words for a certificate and its key."""
    return [
        "tls-cert-file", str(authority.folder / f"{name}.crt"), "tls-key-file", str(authority.folder / f"{name}.key"),
    ]  # fmt: skip


def serve_tls(server: ServerProcess, authority: Authority, *more: object) -> int:
    """Have a running server speak TLS on a port, which is returned."""
    for _ in range(5):
        port = free_port()
        words = ("bind", "127.0.0.1", "tls-port", port, *files(authority, "server"))
        if config_set(server, *words, "tls-ca-cert-file", authority.certificate, *more) == "OK":
            return port
    raise AssertionError(server.log())


def connect_tls(
    authority: Authority, port: int, name: str = "client", **limits: ssl.TLSVersion
) -> tuple[str, str, ssl.SSLSocket]:
    """Who the server is, the protocol, and the connection; ``name`` "" shows no certificate."""
    context = ssl.create_default_context(cafile=authority.certificate)
    if name:
        context.load_cert_chain(str(authority.folder / f"{name}.crt"), str(authority.folder / f"{name}.key"))
    for limit, version in limits.items():
        setattr(context, limit, version)
    sock = context.wrap_socket(socket.create_connection(("127.0.0.1", port), 30), server_hostname="localhost")
    return common_name(sock.getpeercert(True) or b""), sock.version() or "", sock


def ping(authority: Authority, port: int, name: str = "client", **limits: ssl.TLSVersion) -> str:
    """Who the server is and its protocol if it answers PING; "refused" if nobody listens.

    Whether a client that is not let in is told why, or only that the connection is closed, is left open: the loop
    closes without a word.
    """
    try:
        who, version, sock = connect_tls(authority, port, name, **limits)
        with sock:
            sock.sendall(b"PING\r\n")
            return f"{who} {version}" if sock.recv(100) == b"+PONG\r\n" else "not let in"
    except (ssl.SSLError, ConnectionError) as error:
        return "refused" if isinstance(error, ConnectionRefusedError) else "not let in"


# ---- CONFIG SET, step by step ------------------------------------------------------------


def test_certificates_are_set_and_refused_as_by_stock(both: Both, authority: Authority) -> None:
    replies = []
    for server in both:
        port = free_port()
        lacking, trust = str(authority.folder / "nosuch"), ("tls-ca-cert-file", authority.certificate)
        steps: list[list[object]] = [
            ["tls-port", port],
            ["tls-cert-file", lacking],
            ["tls-port", port, *files(authority, "server")],
            ["tls-port", port, *files(authority, "server"), "tls-ca-cert-file", lacking],
            ["bind", "127.0.0.1", "tls-port", port, *files(authority, "server"), *trust],
            ["tls-cert-file", lacking],
            ["hz", "77", "tls-key-file", lacking, "timeout", "5"],
            ["hz", "78", "tls-protocols", "SSLv2"],
            ["tls-protocols", "TLSv1.3 tlsv1.2"],
            ["tls-ciphers", "nosuch"],
            ["tls-ciphers", "DEFAULT:!MEDIUM"],
            ["tls-dh-params-file", lacking],
            files(authority, "locked"),
            [*files(authority, "locked"), "tls-key-file-pass", "wrong"],
            [*files(authority, "locked"), "tls-key-file-pass", "pw"],
            ["tls-auth-clients", "maybe"],
            ["tls-auth-clients", "optional"],
            ["tls-session-caching", "no", "tls-session-cache-size", "5", "tls-session-cache-timeout", "5"],
            ["tls-prefer-server-ciphers", "yes"],
            ["tls-ca-cert-file", lacking],
            ["tls-ca-cert-file", ""],
            ["tls-ca-cert-dir", str(authority.folder), "tls-ca-cert-file", ""],
            ["tls-port", 0],
        ]
        told = [config_set(server, *step) for step in steps]
        names = ("hz", "timeout", "tls-protocols", "tls-port", "tls-auth-clients")
        told += [config_get(server, name) for name in names]
        replies.append(told)
    assert replies[1] == replies[0]
    assert replies[0].count("OK") >= 10


def test_ports_and_addresses_are_set_and_refused_as_by_stock(both: Both) -> None:
    replies = []
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        busy = taken.getsockname()[1]
        for server in both:
            port = free_port()
            steps: list[tuple[object, ...]] = [
                ("bind", "127.0.0.1"),
                ("port", port),
                ("port", busy),
                ("port", port),
                ("hz", "77", "port", busy, "timeout", "9"),
                ("bind", "192.0.2.1"),
                ("bind", "127.0.0.1 192.0.2.1"),
                ("bind", "127.0.0.1 -192.0.2.1"),
                ("port", 70000),
                ("bind", ""),
                ("bind", "127.0.0.1 -::1"),
                ("port", port, "bind", "127.0.0.1", "port", port),
                ("port", 0),
                ("port", port),
            ]
            told = []
            for step in steps:
                told.append(config_set(server, *step))
                told.append("listens" if answers(port) else "does not")
            told += [config_get(server, name) for name in ("hz", "timeout", "bind")]
            with server.client() as client:
                told.append(client.info("server")["tcp_port"] == port)
            replies.append(told)
    assert replies[1] == replies[0]
    assert {"listens", "does not"} < set(replies[0])


def answers(port: int) -> bool:
    try:
        with socket.create_connection(("127.0.0.1", port), 30) as sock:
            sock.sendall(b"PING\r\n")
            return sock.recv(100) == b"+PONG\r\n"
    except ConnectionRefusedError:
        return False


# ---- who is let in -------------------------------------------------------------------------


def test_clients_are_let_in_as_by_stock(both: Both, authority: Authority, tmp_path: Path) -> None:
    Authority(tmp_path, "stranger").issue("client")
    old, new = ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3
    told = []
    for server in both:
        port = serve_tls(server, authority)
        seen = [ping(authority, port), ping(authority, port, ""), ping(authority, port, maximum_version=old)]
        for wish in ("optional", "no", "yes"):
            config_set(server, "tls-auth-clients", wish)
            seen += [ping(authority, port), ping(authority, port, ""), ping(authority, port, str(tmp_path / "client"))]
        config_set(server, "tls-protocols", "TLSv1.2")
        seen += [ping(authority, port, minimum_version=new), ping(authority, port)]
        config_set(server, "tls-protocols", "")
        config_set(server, *files(authority, "other"))
        seen.append(ping(authority, port))
        config_set(server, *files(authority, "locked"), "tls-key-file-pass", "pw")
        seen.append(ping(authority, port))
        config_set(server, "tls-port", 0)
        seen.append(ping(authority, port))
        told.append(seen)
    assert told[1] == told[0]
    assert told[0][0] == "server TLSv1.3" and told[0][-3:-1] == ["other TLSv1.3", "locked TLSv1.3"]


def test_a_renewed_certificate_is_read_again_and_connections_stay(both: Both, tmp_path: Path) -> None:
    """Setting a file to the name that it has already reads it again."""
    authority = Authority(tmp_path / "certificates")
    authority.issue("server")
    authority.issue("client")
    authority.issue("renewed")
    for server in both:
        port = serve_tls(server, authority)
        _, _, early = connect_tls(authority, port)
        with early:
            for part in ("crt", "key"):
                content = (authority.folder / f"renewed.{part}").read_bytes()
                (authority.folder / f"server.{part}").write_bytes(content)
            assert config_set(server, *files(authority, "server")) == "OK"
            assert ping(authority, port) == "renewed TLSv1.3"
            early.sendall(b"PING\r\n")
            assert early.recv(100) == b"+PONG\r\n"
        authority.issue("server")


@pytest.fixture
def tls_only(tmp_path: Path, authority: Authority) -> Iterator[tuple[PerdureServer, int]]:
    """Ours, started with TLS on a port, and no other port."""
    port = free_port()
    words = [f"--{word}" if at % 2 == 0 else word for at, word in enumerate(files(authority, "server"))]
    options = ["--tls-port", str(port), *words, "--tls-ca-cert-file", authority.certificate]
    with PerdureServer(tmp_path / "data", *options) as server:
        yield server.start(), port


def tls_client(authority: Authority, port: int, **more: object) -> redis.Redis:
    return redis.Redis(
        host="localhost", port=port, ssl=True, ssl_ca_certs=authority.certificate, retry=Retry(NoBackoff(), 0),
        ssl_certfile=str(authority.folder / "client.crt"), ssl_keyfile=str(authority.folder / "client.key"), **more,
    )  # fmt: skip


def test_redis_py_works_over_tls(tls_only: tuple[PerdureServer, int], authority: Authority) -> None:
    server, port = tls_only
    large = bytes(range(256)) * 40_000
    with tls_client(authority, port) as client:
        assert client.set("large", large)
        assert client.get("large") == large
        pipe = client.pipeline()
        for i in range(2000):
            pipe.set(f"k{i}", i).get(f"k{i}")
        assert pipe.execute()[1::2] == [b"%d" % i for i in range(2000)]
        me = client.client_info()
        assert me["addr"].startswith("127.0.0.1:") and me["laddr"] == f"127.0.0.1:{port}"
        assert client.info("server")["tcp_port"] == port
        assert client.client_kill_filter(_id=me["id"], skipme=False) == 1
    assert ", TLS" in server.log()


def test_redis_cli_works_over_tls(tls_only: tuple[PerdureServer, int], authority: Authority) -> None:
    _, port = tls_only
    base = [stock_path("redis-cli"), "--tls", "-h", "localhost", "-p", str(port), "--cacert", authority.certificate]
    mine = ["--cert", str(authority.folder / "client.crt"), "--key", str(authority.folder / "client.key")]
    done = subprocess.run([*base, *mine, "SET", "a", "b"], capture_output=True, text=True, timeout=60)
    assert done.stdout == "OK\n"
    text = b"".join(b"SET p%d %d\r\n" % (i, i) for i in range(5000))
    done2 = subprocess.run([*base, *mine, "--pipe"], input=text, capture_output=True, timeout=60)
    assert b"errors: 0, replies: 5000" in done2.stdout
    done = subprocess.run([*base, "PING"], capture_output=True, text=True, timeout=60)
    assert "PONG" not in done.stdout


def test_answers_go_before_the_end_that_the_client_makes(
    tls_only: tuple[PerdureServer, int], authority: Authority
) -> None:
    _, port = tls_only
    _, _, sock = connect_tls(authority, port)
    sock.sendall(b"PING\r\nQUIT\r\n")
    out = b""
    while part := sock.recv(100):
        out += part
    assert out == b"+PONG\r\n+OK\r\n"
    sock.close()


def test_who_speaks_no_tls_harms_nobody(tls_only: tuple[PerdureServer, int], authority: Authority) -> None:
    server, port = tls_only
    for data in (b"PING\r\n", b"\x16\x03\x01" + b"\xff" * 300, b""):
        with socket.create_connection(("127.0.0.1", port), 30) as sock:
            sock.sendall(data)
            sock.shutdown(socket.SHUT_WR)
            sock.settimeout(30)
            while sock.recv(1000):
                pass
    assert ping(authority, port) == "server TLSv1.3"
    with server.client() as client:
        assert client.info("clients")["connected_clients"] == 1


def test_a_start_without_usable_certificates_is_refused(tmp_path: Path, authority: Authority) -> None:
    port = str(free_port())
    cert, key = files(authority, "server")[1::2]
    for options, reason in (
        ([], "No tls-cert-file configured!"),
        (["--tls-cert-file", cert], "No tls-key-file configured!"),
        (["--tls-cert-file", cert, "--tls-key-file", key], "Either tls-ca-cert-file or tls-ca-cert-dir"),
        (["--tls-cert-file", cert, "--tls-key-file", cert, "--tls-auth-clients", "no"], "Failed to load certificate"),
    ):
        with PerdureServer(tmp_path / "data", "--tls-port", port, *options) as server:
            status, log = server.refused()
            assert (status, reason in log) == (1, True), log
    assert not list((tmp_path / "data").iterdir()), "nothing was touched"


def test_keys_move_over_tls(both: Both, authority: Authority) -> None:
    """MIGRATE with tls-cluster: both ways, within a transaction, and to who does not speak TLS."""
    found = []
    for source, target in (both, both[::-1]):
        serve_tls(source, authority, "tls-cluster", "yes")
        port = serve_tls(target, authority)
        with source.client() as mine, target.client() as theirs:
            mine.set("k", "v" * 300_000)
            mine.set("l", "v")
            replies = [mine.execute_command("MIGRATE", "127.0.0.1", port, "k", 0, 20000)]
            with mine.pipeline() as pipe:
                replies += pipe.execute_command("MIGRATE", "127.0.0.1", port, "l", 0, 20000).execute()
            assert theirs.get("k") == b"v" * 300_000 and theirs.get("l") == b"v" and not mine.exists("k", "l")
            mine.set("k", "v")
            with socket.create_server(("127.0.0.1", 0)) as silent, pytest.raises(redis.ResponseError) as refused:
                mine.execute_command("MIGRATE", "127.0.0.1", silent.getsockname()[1], "k", 0, 100)
            found.append((replies, str(refused.value)))
            theirs.flushall()
            mine.flushall()
        assert config_set(source, "tls-cluster", "no", "tls-port", "0") == "OK"
    assert found[0] == found[1]
