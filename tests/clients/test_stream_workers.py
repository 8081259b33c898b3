"""Work handed out by a stream: consumer groups, workers that die, their entries claimed, nothing lost or done twice."""

from __future__ import annotations

import threading

import pytest
import redis
from clients_harness import PATIENCE_S, eventually

STREAM, GROUP = "orders", "packers"


@pytest.fixture(params=[2, 3], ids=["RESP2", "RESP3"])
def client(request, url):
    with redis.Redis.from_url(url, protocol=request.param, decode_responses=True) as connected:
        yield connected


def entries_of(reply):
    """The entries of XREAD's or XREADGROUP's reply on one stream, in either protocol."""
    if not reply:
        return []
    ((_, entries),) = reply.items() if isinstance(reply, dict) else reply
    return entries[0] if entries and isinstance(entries[0], list) else entries


class Packer(threading.Thread):
    """Takes orders, five at a time, until told to go home; dies over its third if it is ill."""

    def __init__(self, client, name, ill=False):
        super().__init__(daemon=True)
        self.client, self.consumer, self.ill = client, name, ill
        self.packed = []
        self.home = threading.Event()

    def run(self):
        while not self.home.is_set():
            reply = self.client.xreadgroup(GROUP, self.consumer, {STREAM: ">"}, count=5, block=50)
            for entry, fields in entries_of(reply):
                if self.ill and len(self.packed) == 2:
                    return
                self.packed.append(fields["order"])
                self.client.xack(STREAM, GROUP, entry)


def test_every_order_is_packed_once_though_a_packer_dies(client):
    client.xgroup_create(STREAM, GROUP, id="0", mkstream=True)
    for n in range(15):
        client.xadd(STREAM, {"order": n})
    ill = Packer(client, "ill", ill=True)
    ill.start()
    ill.join(PATIENCE_S)
    assert client.xpending(STREAM, GROUP)["pending"] == 3
    well = [Packer(client, f"well {n}") for n in range(3)]
    for packer in well:
        packer.start()
    for n in range(15, 60):
        client.xadd(STREAM, {"order": n})
    rescued = []
    cursor = "0-0"
    while True:
        cursor, entries, _ = client.xautoclaim(STREAM, GROUP, "rescuer", min_idle_time=0, start_id=cursor, count=2)
        mine = [(entry, fields) for entry, fields in entries if fields["order"] in {"2", "3", "4"}]
        rescued += [fields["order"] for _, fields in mine]
        for entry, _ in mine:
            client.xack(STREAM, GROUP, entry)
        if cursor == "0-0":
            break
    eventually(lambda: client.xinfo_groups(STREAM)[0]["lag"] == 0)
    for packer in well:
        packer.home.set()
        packer.join(PATIENCE_S)
    packed = ill.packed + rescued + [order for packer in well for order in packer.packed]
    assert sorted(map(int, packed)) == list(range(60))
    assert rescued == ["2", "3", "4"]


def test_pending_entries_are_told_claimed_and_read_again(client):
    client.xgroup_create(STREAM, GROUP, id="$", mkstream=True)
    with pytest.raises(redis.ResponseError, match="BUSYGROUP"):
        client.xgroup_create(STREAM, GROUP)
    ids = [client.xadd(STREAM, {"order": n}, maxlen=1000, approximate=True) for n in range(6)]
    client.xreadgroup(GROUP, "ann", {STREAM: ">"}, count=4)
    told = client.xpending_range(STREAM, GROUP, min="-", max="+", count=10)
    assert [(each["message_id"], each["consumer"], each["times_delivered"]) for each in told] == [
        (entry, "ann", 1) for entry in ids[:4]
    ]
    assert client.xclaim(STREAM, GROUP, "bob", min_idle_time=0, message_ids=ids[1:3], justid=True) == ids[1:3]
    assert [entry for entry, _ in entries_of(client.xreadgroup(GROUP, "bob", {STREAM: "0"}))] == ids[1:3]
    assert client.xdel(STREAM, ids[0]) == 1
    _, claimed, deleted = client.xautoclaim(STREAM, GROUP, "bob", min_idle_time=0)
    assert deleted == [ids[0]] and [entry for entry, _ in claimed] == ids[1:4]
    consumers = {each["name"]: each["pending"] for each in client.xinfo_consumers(STREAM, GROUP)}
    assert consumers == {"ann": 0, "bob": 3}
    assert client.xgroup_delconsumer(STREAM, GROUP, "bob") == 3
    group = client.xinfo_groups(STREAM)[0]
    assert (group["pending"], group["lag"], group["last-delivered-id"]) == (0, 2, ids[3])
    full = client.xinfo_stream(STREAM, full=True)
    assert full["length"] == 5 and full["groups"] and client.xgroup_destroy(STREAM, GROUP) == 1


def test_readers_without_a_group_wait_for_what_is_new(client):
    got = []

    def read():
        got.extend(entries_of(client.xread({STREAM: "$"}, block=int(PATIENCE_S * 1000))))

    readers = [threading.Thread(target=read) for _ in range(3)]
    for reader in readers:
        reader.start()
    eventually(lambda: client.info("clients")["blocked_clients"] == 3)
    entry = client.xadd(STREAM, {"order": 1})
    for reader in readers:
        reader.join(PATIENCE_S)
    assert [(each[0], each[1]) for each in got] == [(entry, {"order": "1"})] * 3


def test_a_stream_is_kept_short(client):
    ids = [client.xadd(STREAM, {"n": n}) for n in range(300)]
    assert client.xtrim(STREAM, maxlen=100, approximate=False) == 200
    assert client.xtrim(STREAM, minid=ids[250], approximate=False) == 50
    assert client.xlen(STREAM) == 50 and client.xrange(STREAM, count=1)[0][0] == ids[250]
    assert client.xrevrange(STREAM, count=2)[1][1] == {"n": "298"}
    assert client.xrange(STREAM, min=f"({ids[298]}") == [(ids[299], {"n": "299"})]
