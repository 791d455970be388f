"""Requests to a service: side by side, at a rate, tried again where that may help, counted before they are sent."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, NoReturn

import httpx
from tenacity import RetryCallState, Retrying, retry_if_exception_type, stop_after_attempt
from tenacity.nap import sleep_using_event

from lpla.contracts.answers import KeptAnswers
from lpla.contracts.inputs import InputError
from lpla.encoders.target._endings import ATTEMPTS, REDIRECTS, REMEDIES, AgainError, EndedError, RefusedError, elsewhere
from lpla.encoders.target._rate import LONGEST_ASKED, Bucket, pause, retry_after
from lpla.encoders.target._secrets import Headers

log = logging.getLogger(__name__)

OPENS_AFTER = 10
"""Failures one after the other, of all requests together, after which nothing more is sent."""
NOT_SENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.LocalProtocolError)
"""How a request fails before any of it is sent, so that its images are no queries."""
SAID_EVERY = 30.0
"""Seconds between two lines of the log on how far it is."""
Item = tuple[str, Any]
"""The SHA-256 of what is sent in place of an image, and what it is made of."""


@dataclass(frozen=True)
class Limits:
    """How a service is asked: settings of the target."""

    batch: int
    parallel: int
    per_second: float | None
    timeout: float
    max_queries: int | None


class Asker:
    """Sends images to a service and keeps what it answers.

    `content` makes a request of some images, `read` makes vectors of a reply, by the images' digests.
    """

    def __init__(
        self,
        url: httpx.URL,
        headers: Headers,
        verify: Any,
        limits: Limits,
        kept: KeptAnswers,
    ) -> None:
        """Args:
        url: the address.
        headers: of every request.
        verify: TLS certificates that are trusted, as httpx has them.
        limits: how fast, and how much in all.
        kept: where requests are counted and answers kept.
        """
        self.url, self.headers, self.verify, self.limits, self.kept = url, headers, verify, limits, kept
        self._bucket, self._failures = Bucket(limits.per_second), 0
        self._stop, self._lock = threading.Event(), threading.Lock()

    def ask(
        self,
        items: Sequence[Item],
        content: Callable[[Sequence[Any]], Mapping[str, Any]],
        read: Callable[[Any, Sequence[str]], Mapping[str, Any]],
        purpose: str = "",
    ) -> None:
        """Ask about all items, side by side; whatever arrives is kept, also where another request fails.

        Args:
            items: digests and images.
            content: from images to the keyword arguments of a request.
            read: from a reply and the digests to the vectors by digest.
            purpose: under which they are kept, as of `KeptAnswers`.

        Raises:
            InputError: the service cannot be used, or not now; with the remedy.
        """
        size = self.limits.batch
        parts = [items[start : start + size] for start in range(0, len(items), size)]
        self._stop.clear()
        self._failures, done, said = 0, 0, time.monotonic()
        session, threads = self.kept.session(), ThreadPoolExecutor(self.limits.parallel)
        with self._saying_how_it_stands(), session, self._client() as client, threads as pool:
            waiting = {pool.submit(self._insist, client, part, content, read, purpose): part for part in parts}
            try:
                for one in as_completed(waiting):
                    one.result()
                    done += len(waiting[one])
                    if time.monotonic() - said > SAID_EVERY:
                        said = time.monotonic()
                        log.info("service: %s of %s answers", f"{done:,}", f"{len(items):,}")
            finally:
                self._stop.set()
                pool.shutdown(cancel_futures=True)

    def describe(self) -> Any:
        """What the service says of the model to which its address belongs; counted as no query."""
        self._stop.clear()
        above = self.url.copy_with(path=self.url.join(".").path.rstrip("/"))
        with self._saying_how_it_stands(), self._client() as client:
            return self._retrying()(lambda: self._json(self._sent(client, client.build_request("GET", above))))

    @contextmanager
    def _saying_how_it_stands(self) -> Iterator[None]:
        """Add the counts to what ended a run, once no request is under way whose queries may be taken back yet."""
        try:
            yield
        except EndedError as ended:
            counts = self.kept.counts()
            got = f"{counts.answers:,} answers to {counts.queries:,} queries are kept"
            raise InputError(f"{ended}; {got}{ended.later}") from None

    def _client(self) -> httpx.Client:
        logging.getLogger("httpx").setLevel(logging.WARNING)  # which would write a line for each request
        logging.getLogger("httpcore").setLevel(logging.WARNING)  # which would write headers, if all is written
        return httpx.Client(verify=self.verify, timeout=self.limits.timeout, headers=dict(self.headers.values))

    def _retrying(self) -> Retrying:
        return Retrying(
            retry=retry_if_exception_type(AgainError),
            stop=stop_after_attempt(ATTEMPTS),
            wait=pause,
            sleep=sleep_using_event(self._stop),
            retry_error_callback=self._give_up,
        )

    def _insist(
        self,
        client: httpx.Client,
        part: Sequence[Item],
        content: Callable[[Sequence[Any]], Mapping[str, Any]],
        read: Callable[[Any, Sequence[str]], Mapping[str, Any]],
        purpose: str,
    ) -> None:
        """One request, tried again until it is answered or given up; then the others send no more."""
        digests = [digest for digest, _ in part]
        try:
            for attempt in self._retrying():
                with attempt:
                    if self._stop.wait(self._bucket.wait()):
                        return
                    if not self.kept.reserve(len(digests), self.limits.max_queries):
                        raise InputError(self._spent())
                    request = client.build_request("POST", self.url, **content([image for _, image in part]))
                    reply = self._sent(client, request, len(digests))
                    self.kept.keep(read(self._json(reply), digests), purpose)
                    self._failures = 0
        except BaseException:
            self._stop.set()
            raise

    def _reply(self, client: httpx.Client, request: httpx.Request) -> httpx.Response:
        """The reply to a request, which redirects on the same host lead to."""
        for _ in range(REDIRECTS):
            reply = client.send(request)
            if not reply.is_redirect:
                return reply
            there = elsewhere(reply, self.url)
            kind = {name: value for name, value in request.headers.items() if name.lower() == "content-type"}
            request = client.build_request(request.method, there, content=request.content, headers=kind)
        raise InputError(f"the service redirects {REDIRECTS} times on its own host; set target.url to where it leads")

    def _sent(self, client: httpx.Client, request: httpx.Request, queries: int = 0) -> httpx.Response:
        """The reply with status 200; raises AgainError or InputError for any other."""
        try:
            reply = self._reply(client, request)
        except httpx.TransportError as failed:
            if isinstance(failed, NOT_SENT) and failed.request is request:  # and not where a redirect leads
                self.kept.refused(queries)
            self._no_reply(failed)
        if reply.status_code == 200:
            return reply
        status = f"status {reply.status_code}"
        if reply.status_code == 429:
            self.kept.refused(queries)
            after = retry_after(reply.headers)
            if after is not None and after > LONGEST_ASKED:
                raise EndedError(f"the service asks to wait {after:,.0f} s before it answers again")
            self._bucket.pause(after or 0.0)
            raise AgainError(status, after)
        if reply.status_code >= 500 or reply.status_code == 408:
            self._failed(status, retry_after(reply.headers))
        self.kept.refused(queries)
        remedy = REMEDIES.get(reply.status_code, "")
        raise RefusedError(f"the service refused a request with {status}: {self.excerpt(reply.text)}{remedy}")

    def _no_reply(self, failed: httpx.TransportError) -> NoReturn:
        """Raise InputError for what no further attempt can help, else as `_failed`."""
        if isinstance(failed, httpx.LocalProtocolError):
            raise InputError("target.headers hold a header that cannot be sent") from None
        said = self.headers.hide(str(failed))
        if "CERTIFICATE" in said:
            remedy = "set target.ca_file to the certificates of the authority that signed it"
            raise InputError(f"the certificate of {self.url.host} is not trusted ({said}); {remedy}") from None
        self._failed(f"{type(failed).__name__}: {said}")

    def _failed(self, why: str, after: float | None = None) -> NoReturn:
        """Count a failure and raise: AgainError, or InputError once the circuit opens."""
        with self._lock:
            self._failures += 1
            failures = self._failures
        if failures >= OPENS_AFTER:
            self._stop.set()
            raise EndedError(f"the service failed {failures} times in a row ({why})")
        raise AgainError(why, None if after is None or after > LONGEST_ASKED else after)

    def _give_up(self, state: RetryCallState) -> None:
        why = state.outcome.exception() if state.outcome else None
        raise EndedError(f"the service did not answer in {ATTEMPTS} attempts ({why})")

    def _spent(self) -> str:
        counts, most = self.kept.counts(), self.limits.max_queries
        return (
            f"target.max_queries={most} is spent: {counts.queries:,} queries were sent and {counts.answers:,} answers "
            "are kept; a larger target.max_queries goes on from there"
        )

    def _json(self, reply: httpx.Response) -> Any:
        kind = reply.headers.get("content-type", "")
        if "html" in kind or reply.text.lstrip()[:1] == "<":
            raise InputError(
                "the service must answer JSON, got a web page: is target.url the address of its API? It begins "
                f"{self.excerpt(reply.text)}"
            )
        try:
            return reply.json()
        except ValueError:
            raise InputError(f"the service must answer JSON, got {self.excerpt(reply.text)}") from None

    def excerpt(self, text: str) -> str:
        """The beginning of what a service said, without secrets."""
        return repr(" ".join(self.headers.hide(text).split())[:200])
