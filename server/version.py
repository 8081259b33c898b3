"""What the server says it is.

``REDIS_VERSION`` is the Redis whose commands and replies these are: clients gate
features by it (HELLO, INFO), so it states what is implemented, not what is new.
``PERDURE_VERSION`` is the distribution's own.
"""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version

REDIS_VERSION = "7.0.15"


def _own_version() -> str:
    try:
        return version("perdure")
    except PackageNotFoundError:  # run from a tree that is not installed
        return "0.0.0"


PERDURE_VERSION = _own_version()
