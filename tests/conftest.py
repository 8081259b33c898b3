"""For all tests: hypothesis draws the same examples each time, so that a run that passed passes again.

``make crash`` (PERDURE_FULL=1) draws new ones, prints the failing one, and keeps it in ``.hypothesis``.
"""

from __future__ import annotations

import os

from hypothesis import settings

settings.register_profile("same", derandomize=True, database=None)
settings.register_profile("new", print_blob=True)
settings.load_profile("new" if os.environ.get("PERDURE_FULL") else "same")
