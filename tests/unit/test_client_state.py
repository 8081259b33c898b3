"""The bits of a client's and the server's state: one bit a reason, and every gate sees it."""

from __future__ import annotations

from perdure.server import client

MODES = {"REPLY_ON", "REPLY_NONE", "REPLY_SKIP_NEXT", "REPLY_SKIP"}


def test_no_two_reasons_share_a_bit() -> None:
    values = {name: value for name, value in vars(client).items() if name.isupper() and isinstance(value, int)}
    bits = {name: value for name, value in values.items() if value.bit_count() == 1 and name not in MODES}
    assert len(bits) > 10
    assert len(set(bits.values())) == len(bits), sorted(bits.items(), key=lambda item: item[1])
    assert all(bit & client.EVERYTHING for bit in bits.values())
