"""How a request to a service fails: what may succeed later, and what ends the run, with its remedy."""

from __future__ import annotations

import httpx

from lpla.contracts.inputs import InputError

ATTEMPTS = 20
"""Attempts at one request, those that are refused for their rate among them."""
REDIRECTS = 3
"""Redirects of one request that are followed on the service's own host."""
KEY = "; set target.key (or target.headers) to a key that the service knows"
ADDRESS = "; set target.url to the address of its API, and target.model to a model that it has"
REMEDIES = {401: KEY, 403: KEY, 404: ADDRESS, 405: ADDRESS}
"""What to set where a service refuses a request with such a status."""


class AgainError(Exception):
    """A request that may succeed later; `after` are the seconds that the service asks for."""

    def __init__(self, why: str, after: float | None = None) -> None:
        super().__init__(why)
        self.after = after


class EndedError(InputError):
    """What ended a run; counts are added once no request is under way, whose queries may be taken back yet."""

    later = "; the same command goes on from there"
    """What to do after the counts."""


class RefusedError(EndedError):
    """A request that the service refused, as it would the same one later."""

    later = ""


def elsewhere(reply: httpx.Response, asked: httpx.URL) -> httpx.URL:
    """Where a redirect leads on the same host; raises InputError for another.

    Another host would be sent the key.
    """
    there = asked.join(reply.headers.get("location", ""))
    if (there.scheme, there.host, there.port) == (asked.scheme, asked.host, asked.port):
        if reply.status_code in (307, 308):
            return there
        raise InputError(f"the service redirects to the path {there.path}; set target.url to it")
    host = f"{there.scheme}://{there.host}"
    raise InputError(f"the service redirects to another host, {host}, which is not followed; set target.url to it")
