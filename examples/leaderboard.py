"""A leaderboard.

Thousands play, points come in all the time, and everybody wants to see three things: who
leads, where they stand themselves, and who is just ahead of them.  A sorted set keeps the
players in order of their points while they change, so none of that is a query over all.

Points of a day go to that day's board; the week's board is the sum of its days, made with
one command and kept for a minute, so that the crowd that looks at it does not make it anew
each time.  Days end by themselves: each board has a time to live.

Of players with the same points the one stands first who joined in first: a player begins
with a fraction of a point, which is smaller the later it is, and points only add to it
(ZADD NX and ZINCRBY, so that two servers can count for one player at the same time).

    python examples/leaderboard.py            REDIS_URL names the server
"""

from __future__ import annotations

import os
import time
from dataclasses import dataclass

import redis

DAY_S = 86_400
HEAD_START = 0.14
"""What the first of a day begins with; those of seven days together are still less than a point."""


@dataclass(frozen=True)
class Standing:
    """Where a player stands; the leader's place is 1."""

    place: int
    player: str
    points: int


class Leaderboard:
    """The boards of one game."""

    def __init__(self, client: redis.Redis, game: str, kept_days: int = 30) -> None:
        self.client = client
        self.game = game
        self.kept_days = kept_days

    def _board(self, day: int) -> str:
        return f"board:{self.game}:{day}"

    def add(self, player: str, points: int, now_s: float) -> int:
        """A player gets points; how many they have today."""
        day, second = divmod(now_s, DAY_S)
        board = self._board(int(day))
        pipe = self.client.pipeline(transaction=True)
        pipe.zadd(board, {player: HEAD_START * (1 - second / DAY_S)}, nx=True)
        pipe.zincrby(board, points, player)
        pipe.expire(board, (self.kept_days + 1) * DAY_S)
        _, total, _ = pipe.execute()
        return int(total)

    def _standings(self, board: str, first: int, last: int) -> list[Standing]:
        found = self.client.zrange(board, first, last, desc=True, withscores=True)
        return [Standing(first + n + 1, player.decode(), int(score)) for n, (player, score) in enumerate(found)]

    def top(self, count: int, day: int) -> list[Standing]:
        """Who leads."""
        return self._standings(self._board(day), 0, count - 1)

    def around(self, player: str, day: int, each_way: int = 1) -> list[Standing]:
        """The player and those next to them; [] for who has no points."""
        place = self.client.zrevrank(self._board(day), player)
        if place is None:
            return []
        return self._standings(self._board(day), max(0, place - each_way), place + each_way)

    def with_at_least(self, points: int, day: int) -> int:
        """How many players have so many points."""
        return int(self.client.zcount(self._board(day), points, "+inf"))

    def week(self, last_day: int, count: int) -> list[Standing]:
        """Who leads over seven days."""
        board = f"board:{self.game}:week:{last_day}"
        if not self.client.exists(board):
            pipe = self.client.pipeline(transaction=True)
            pipe.zunionstore(board, [self._board(day) for day in range(last_day - 6, last_day + 1)])
            pipe.expire(board, 60)
            pipe.execute()
        return self._standings(board, 0, count - 1)

    def ban(self, player: str, last_day: int) -> None:
        """A cheater leaves all boards."""
        pipe = self.client.pipeline(transaction=True)
        for day in range(last_day - self.kept_days, last_day + 1):
            pipe.zrem(self._board(day), player)
        pipe.delete(f"board:{self.game}:week:{last_day}")
        pipe.execute()


def shown(standings: list[Standing]) -> str:
    """Standings on one line."""
    return ", ".join(f"{one.place}. {one.player} ({one.points})" for one in standings)


def main() -> None:
    """Two days of a game."""
    client = redis.from_url(os.environ.get("REDIS_URL", "redis://localhost:6379"))
    for key in client.scan_iter("board:chess:*"):
        client.delete(key)
    now_s = time.time() // DAY_S * DAY_S
    today = int(now_s // DAY_S)
    board = Leaderboard(client, "chess")

    board.add("grace", 50, now_s - DAY_S)
    for minute, (player, points) in enumerate(
        [("ada", 30), ("grace", 20), ("linus", 10), ("ada", 15), ("mallory", 900), ("grace", 25), ("edsger", 10)]
    ):
        board.add(player, points, now_s + 60 * minute)

    print("today:", shown(board.top(3, today)))
    board.ban("mallory", today)
    print("without the cheater:", shown(board.top(9, today)))
    print("around linus:", shown(board.around("linus", today)))
    print("at least 20 points:", board.with_at_least(20, today))
    print("the week:", shown(board.week(today, 2)))
    print("nobody is nowhere:", board.around("nobody", today))


if __name__ == "__main__":
    main()
