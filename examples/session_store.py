"""Sessions of a web application: who is logged in, and what is in the basket.

A session is one hash, so two requests of one visitor that run at the same time change
two fields and not each other's.  It ends half an hour after the last request, which is
nothing but a deadline that each request moves.  Logging in gives the session a new
name, as the old one may be known to others: RENAME does that in one step, with no
moment at which neither exists.

A basket must not be lost because a server was restarted, and must not be paid twice
because two tabs were open.  The first is the store's part: what was answered is in its
log.  The second is WATCH: if the basket changed while it was being paid for, the
payment is not made and tried again on what is there now.

    python examples/session_store.py          REDIS_URL names the server
"""

from __future__ import annotations

import json
import os
import secrets

import redis

IDLE_S = 30 * 60


class SessionStore:
    """Sessions by id; each is a hash ``session:<id>`` with a deadline."""

    def __init__(self, client: redis.Redis, idle_s: int = IDLE_S) -> None:
        self.client = client
        self.idle_s = idle_s

    def create(self) -> str:
        """A new session; returns its id, which is the visitor's cookie."""
        session = secrets.token_urlsafe(24)
        pipe = self.client.pipeline(transaction=True)
        pipe.hset(f"session:{session}", mapping={"user": "", "basket": "{}"})
        pipe.expire(f"session:{session}", self.idle_s)
        pipe.execute()
        return session

    def touch(self, session: str) -> dict[str, str] | None:
        """A request came: the session's fields, and half an hour more; None if it has ended."""
        pipe = self.client.pipeline(transaction=True)
        pipe.expire(f"session:{session}", self.idle_s)
        pipe.hgetall(f"session:{session}")
        lives, fields = pipe.execute()
        return {name.decode(): value.decode() for name, value in fields.items()} if lives else None

    def log_in(self, session: str, user: str) -> str:
        """The visitor has said who they are; returns the session's new id."""
        renewed = secrets.token_urlsafe(24)
        pipe = self.client.pipeline(transaction=True)
        pipe.rename(f"session:{session}", f"session:{renewed}")
        pipe.hset(f"session:{renewed}", "user", user)
        pipe.execute()
        return renewed

    def put(self, session: str, article: str, count: int) -> None:
        """Put articles into the basket, whatever other tabs do at the same time."""
        key = f"session:{session}"

        def change(pipe: redis.client.Pipeline) -> None:
            basket = json.loads(pipe.hget(key, "basket"))
            basket[article] = basket.get(article, 0) + count
            pipe.multi()
            pipe.hset(key, "basket", json.dumps(basket))

        self.client.transaction(change, key)

    def pay(self, session: str) -> dict[str, int]:
        """Empty the basket into an order; returns what was ordered.  A basket is ordered once."""
        key = f"session:{session}"

        def change(pipe: redis.client.Pipeline) -> dict[str, int]:
            basket = json.loads(pipe.hget(key, "basket"))
            pipe.multi()
            if basket:
                pipe.incr("orders:count")
                pipe.hset(key, "basket", "{}")
            return basket

        return self.client.transaction(change, key, value_from_callable=True)

    def log_out(self, session: str) -> None:
        """End the session."""
        self.client.delete(f"session:{session}")


def main() -> None:
    """One visitor's afternoon."""
    client = redis.from_url(os.environ.get("REDIS_URL", "redis://localhost:6379"))
    store = SessionStore(client)

    session = store.create()
    store.put(session, "teapot", 1)
    store.put(session, "cup", 2)
    print("a visitor has filled a basket:", store.touch(session))

    anonymous, session = session, store.log_in(session, "ada")
    print("after the login the old cookie is worth nothing:", store.touch(anonymous))
    print("and the basket came along:", store.touch(session))

    print("paid:", store.pay(session))
    print("paid once more from another tab:", store.pay(session))
    print(f"the session ends in {client.ttl(f'session:{session}')} seconds, unless there is a request")

    store.log_out(session)
    print("after the logout:", store.touch(session))


if __name__ == "__main__":
    main()
