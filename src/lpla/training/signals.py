"""SIGINT and SIGTERM: the first lets the current step end, the second stops at once; either way with a clear sentence.

Nothing is saved when one arrives, as all that is worth keeping is in the store already: finished artifacts, and the
last checkpoint of the encoder under way.
"""

from __future__ import annotations

import logging
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

log = logging.getLogger(__name__)

SIGNALS = (signal.SIGINT, signal.SIGTERM)

_received: list[signal.Signals] = []
"""Signals that came so far; signals are the process's, and so is this list."""


class Stopped(SystemExit):
    """Somebody asked this process to stop; the exit code is a shell's, 128 + the signal's number."""


@contextmanager
def stoppable() -> Iterator[None]:
    """Handle signals: a first one is heeded by the next `check`, a second one raises Stopped wherever the process is.

    An ignored signal stays ignored, and outside the main thread, which alone may be signalled, nothing changes.
    """
    before = {one: signal.getsignal(one) for one in SIGNALS}
    if threading.current_thread() is not threading.main_thread() or _note in before.values():
        yield
        return
    for one, handler in before.items():
        if handler is not signal.SIG_IGN:
            signal.signal(one, _note)
    try:
        yield
    except (Stopped, KeyboardInterrupt):
        # A library that catches the signal by itself ends in a KeyboardInterrupt.
        first = _received[0] if _received else signal.SIGINT
        kept = "finished artifacts and the last checkpoint of the encoder under way are kept"
        log.warning("stopped by %s: %s; the same command goes on from there", first.name, kept)
        raise Stopped(128 + first) from None
    finally:
        _received.clear()
        for one, handler in before.items():
            signal.signal(one, handler or signal.SIG_DFL)


def asked() -> bool:
    """Return whether a signal has not been heeded yet."""
    return bool(_received)


def check() -> None:
    """Raise Stopped if a signal came; to be called between two steps."""
    if _received:
        raise Stopped(128 + _received[0])


def _note(number: int, frame: FrameType | None) -> None:
    _received.append(signal.Signals(number))
    if len(_received) > 1:
        check()
    log.warning("%s: stopping after the current step; once more stops at once", _received[0].name)
