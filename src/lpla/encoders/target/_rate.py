"""When a request may be sent: at a rate, after a pause that the service asks for, ever later after each failure."""

from __future__ import annotations

import email.utils
import random
import threading
import time
from collections.abc import Mapping
from contextlib import suppress

from tenacity import RetryCallState, wait_exponential_jitter

from lpla.encoders.target._endings import AgainError

FIRST_WAIT, LONGEST_WAIT, LONGEST_ASKED = 0.5, 30.0, 300.0
"""Seconds before a second attempt; at most before a later one; and at most where the service says how long."""


class Bucket:
    """A token bucket: so many requests per second, of which a second's worth may come at once; and pauses for all."""

    def __init__(self, per_second: float | None) -> None:
        self._rate, self._lock = per_second, threading.Lock()
        self._most = max(1.0, per_second or 0.0)
        self._tokens, self._then, self._until = self._most, time.monotonic(), 0.0

    def wait(self) -> float:
        """Take a token, and return the seconds to wait until it may be used."""
        with self._lock:
            now = time.monotonic()
            seconds = max(0.0, self._until - now)
            if self._rate is None:
                return seconds
            self._tokens = min(self._most, self._tokens + (now - self._then) * self._rate) - 1
            self._then = now
            return max(seconds, -self._tokens / self._rate)

    def pause(self, seconds: float) -> None:
        """Let nothing be sent for so long."""
        with self._lock:
            self._until = max(self._until, time.monotonic() + seconds)


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds that a reply asks to wait, by retry-after-ms or Retry-After, in seconds or as a date; None: not said."""
    with suppress(KeyError, ValueError):
        return max(0.0, float(headers["retry-after-ms"]) / 1000)
    with suppress(KeyError, ValueError):
        return max(0.0, float(headers["retry-after"]))
    with suppress(KeyError, ValueError, TypeError):
        return max(0.0, email.utils.parsedate_to_datetime(headers["retry-after"]).timestamp() - time.time())
    return None


_growing = wait_exponential_jitter(multiplier=FIRST_WAIT, max=LONGEST_WAIT, jitter=FIRST_WAIT)


def pause(state: RetryCallState) -> float:
    """What the service asks for, with a little more by chance, so that not all come at once; else ever longer."""
    why = state.outcome.exception() if state.outcome else None
    after = why.after if isinstance(why, AgainError) else None
    return _growing(state) if after is None else after + random.uniform(0, FIRST_WAIT / 5)
