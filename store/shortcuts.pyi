"""What is used of ``shortcuts.pyx``."""

from perdure.store.command import Handler

SHORTCUTS: dict[Handler, Handler]
