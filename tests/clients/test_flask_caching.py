"""Flask-Caching on redis: views and functions that are kept, and forgotten."""

from __future__ import annotations

import pytest
from clients_harness import package

flask = package("flask")
flask_caching = package("flask_caching")


@pytest.fixture
def site(url):
    app = flask.Flask("site")
    cache = flask_caching.Cache(
        app, config={"CACHE_TYPE": "RedisCache", "CACHE_REDIS_URL": f"{url}/3", "CACHE_KEY_PREFIX": "site:"}
    )
    with app.app_context():
        yield app, cache


def test_a_view_is_rendered_once(site):
    app, cache = site
    rendered = []

    @app.route("/page")
    @cache.cached(timeout=50, query_string=True)
    def page():
        rendered.append(flask.request.args.get("n"))
        return f"page {rendered[-1]}"

    browser = app.test_client()
    assert [browser.get(f"/page?n={n}").text for n in (1, 1, 2, 1)] == ["page 1", "page 1", "page 2", "page 1"]
    assert rendered == ["1", "2"]
    cache.clear()
    browser.get("/page?n=1")
    assert rendered == ["1", "2", "1"]


def test_a_function_is_memoized_until_it_is_forgotten(site):
    _, cache = site
    calls = []

    @cache.memoize(60)
    def square(n):
        calls.append(n)
        return n * n

    assert [square(n) for n in (2, 2, 3)] == [4, 4, 9] and calls == [2, 3]
    cache.delete_memoized(square, 2)
    assert [square(n) for n in (2, 3)] == [4, 9] and calls == [2, 3, 2]
    cache.delete_memoized(square)
    assert square(3) == 9 and calls == [2, 3, 2, 3]


def test_the_cache_by_hand(site, client):
    _, cache = site
    assert cache.set("a", {"b": (1, 2)}, timeout=10) and cache.get("a") == {"b": (1, 2)}
    assert not cache.add("a", 1) and cache.add("n", 1)
    assert cache.has("a") and not cache.has("z")
    assert cache.get_many("a", "z", "n") == [{"b": (1, 2)}, None, 1]
    assert sorted(cache.set_many({"x": 1, "y": 2}, timeout=5)) == ["x", "y"] and cache.get_dict("x", "y") == {
        "x": 1,
        "y": 2,
    }
    assert cache.delete_many("x", "y") and cache.get("x") is None
    assert cache.cache.inc("count", 3) == 3 and cache.cache.dec("count", 1) == 2
    client.select(3)
    assert 0 < client.ttl("site:a") <= 10
    cache.set("for ever", 1, timeout=0)
    assert client.ttl("site:for ever") == -1
    assert cache.unlink("for ever") and cache.delete("a")
    cache.clear()
    assert client.dbsize() == 0
