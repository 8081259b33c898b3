"""django-redis and Django's own redis backend as a site's cache: values, times, counters, patterns, locks, sessions."""

from __future__ import annotations

import pytest
from clients_harness import package

django = package("django")
package("django_redis")
from django.conf import settings  # noqa: E402

if not settings.configured:
    settings.configure(
        CACHES={"default": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"}},
        SESSION_ENGINE="django.contrib.sessions.backends.cache",
        USE_TZ=True,
    )
    django.setup()

from django.core.cache.backends.redis import RedisCache as DjangosOwn  # noqa: E402
from django_redis.cache import RedisCache  # noqa: E402

PICKLED = {"a": [1, 2.5, None], "b": {"c": b"\x00\xff"}}


@pytest.fixture(params=["", "zlib", "json"])
def cache(request, url):
    """django-redis, with and without its compressor, and with another serializer."""
    options = {
        "": {},
        "zlib": {"COMPRESSOR": "django_redis.compressors.zlib.ZlibCompressor"},
        "json": {"SERIALIZER": "django_redis.serializers.json.JSONSerializer"},
    }
    made = RedisCache(f"{url}/1", {"KEY_PREFIX": "site", "OPTIONS": options[request.param]})
    yield made
    made.close(close_connection_pool=True)


@pytest.fixture
def pickling(url):
    made = RedisCache(f"{url}/1", {"KEY_PREFIX": "site"})
    yield made
    made.close(close_connection_pool=True)


def test_values_come_back_as_they_were(pickling):
    values = {"text": "żółw", "bytes": bytes(range(256)), "nested": PICKLED, "number": 17, "long": "x" * 100_000}
    pickling.set_many(values)
    assert pickling.get_many([*values, "nothing"]) == values
    assert pickling.get("nothing", "default") == "default"
    assert pickling.delete_many(["text", "bytes", "nothing"]) == 2
    assert not pickling.has_key("text") and "nested" in pickling


def test_setting_getting_and_times(cache):
    assert cache.set("page", {"views": 1}, timeout=60) and cache.get("page") == {"views": 1}
    assert 0 < cache.ttl("page") <= 60 and 0 < cache.pttl("page") <= 60_000
    assert not cache.add("page", "other") and cache.add("new", "one", timeout=5)
    assert cache.set("page", "second", nx=True) in (None, False)
    assert cache.get_or_set("made", lambda: "once", timeout=30) == "once" == cache.get_or_set("made", "twice")
    assert cache.persist("page") and cache.ttl("page") is None
    assert cache.expire("page", 100) and cache.pexpire("page", 5000) and 0 < cache.pttl("page") <= 5000
    assert cache.touch("page", 1000) and cache.ttl("page") > 900
    assert cache.set("gone", "x", timeout=0) in (True, None, False) and cache.get("gone") is None
    assert cache.ttl("gone") == 0


def test_counters_and_versions(cache):
    cache.set("hits", 1)
    assert cache.incr("hits") == 2 and cache.incr("hits", 10) == 12 and cache.decr("hits", 2) == 10
    with pytest.raises(ValueError, match="not found"):
        cache.incr("nothing")
    cache.set("big", 2**62)
    assert cache.incr("big", 2**62) == 2**63, "what INCRBY cannot is done without it"
    assert cache.incr_version("hits") == 2
    assert cache.get("hits") is None and cache.get("hits", version=2) == 10


def test_keys_are_found_and_deleted_by_pattern(cache):
    cache.set_many({f"user:{n}:name": n for n in range(50)})
    cache.set("page", 1)
    assert len(cache.keys("user:*")) == 50
    assert sorted(cache.iter_keys("user:1*:name", itersize=5)) == sorted(f"user:{n}:name" for n in (1, *range(10, 20)))
    assert cache.delete_pattern("user:*", itersize=7) == 50
    assert cache.keys("*") == ["page"] and cache.clear() in (True, None)
    assert cache.keys("*") == []


def test_a_lock_excludes_and_is_given_back(cache):
    with cache.lock("importing", timeout=30):
        other = cache.lock("importing", timeout=30, blocking_timeout=0.05)
        assert not other.acquire()
    assert other.acquire() and other.extend(60)
    other.release()
    assert not other.locked()


def test_sets_and_hashes_of_the_cache(pickling):
    assert pickling.sadd("tags", "a", "b", "c") == 3 and pickling.scard("tags") == 3
    pickling.sadd("other", "b", "z")
    assert pickling.sinter("tags", "other") == {"b"} and pickling.sismember("tags", "a")
    assert pickling.smismember("tags", "a", "q") == [True, False]
    assert pickling.hset("hash", "field", PICKLED) == 1 and not pickling.hexists("hash", "other")
    assert pickling.hkeys("hash") == ["field"] and pickling.hlen("hash") == 1
    assert pickling.hexists("hash", "field") and pickling.hdel("hash", "field") == 1


def test_sessions_live_in_the_cache(pickling, monkeypatch):
    from django.contrib.sessions.backends import cache as sessions

    monkeypatch.setattr(sessions, "caches", {"default": pickling})
    session = sessions.SessionStore()
    session["user"] = "ada"
    session.set_expiry(300)
    session.create()
    first = session.session_key
    assert sessions.SessionStore(first)["user"] == "ada"
    session.cycle_key()
    assert not sessions.SessionStore().exists(first) and sessions.SessionStore(session.session_key)["user"] == "ada"
    session.flush()
    assert pickling.keys("*") == []


def test_the_backend_that_django_brings(url):
    cache = DjangosOwn(f"{url}/2", {"KEY_PREFIX": "own", "TIMEOUT": 100})
    cache.set_many({"a": 1, "b": PICKLED}, timeout=50)
    assert cache.get_many(["a", "b", "c"]) == {"a": 1, "b": PICKLED}
    assert cache.incr("a", 4) == 5 and not cache.add("a", 0) and cache.touch("a", None)
    assert cache.get_or_set("c", lambda: 3) == 3
    assert cache.delete("a") and cache.clear() and cache.get("b") is None
