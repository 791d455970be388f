"""A service that misbehaves on purpose: what is waited for, what is tried again, what ends a run in one sentence."""

import time
from email.utils import formatdate
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import torch
from numpy_encoder import encode
from server_process import Server, target

from lpla.contracts.answers import KeptAnswers
from lpla.contracts.inputs import InputError
from lpla.encoders.target import _asking, _rate
from lpla.encoders.target._png import eight_bits
from lpla.encoders.target._rate import Bucket, retry_after
from lpla.encoders.target._service_forms import Kserve
from lpla.encoders.target.http import Http

IMAGES = torch.rand(24, 1, 8, 8, generator=torch.Generator().manual_seed(0))
EXPECTED = encode(eight_bits(IMAGES))


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Waits of milliseconds."""
    monkeypatch.setattr(_rate, "_growing", lambda _: 0.01)


def of(server: Server, store: Path, fault: str, **settings: Any) -> Http:
    return target(store, **{"url": server.url(f"{fault}/v1/embeddings"), "model": "net", "batch": 4, **settings})


def asked(made: Http, images: torch.Tensor = IMAGES) -> np.ndarray:
    return made.build().encode(images)["backbone"].numpy()


def kept(made: Http) -> KeptAnswers:
    assert made.kept is not None
    return made.kept


@pytest.mark.parametrize("fault", ["429-seconds", "429-ms", "429-date", "500-first", "cut", "late", "moved"])
def test_what_may_succeed_later_is_tried_again_and_loses_nothing(server: Server, tmp_path: Path, fault: str) -> None:
    made = of(server, tmp_path, fault, timeout=0.7 if fault == "late" else 60.0)
    start = time.monotonic()
    np.testing.assert_array_equal(asked(made), EXPECTED)
    counts, there = kept(made).counts(), server.requests("none" if fault == "moved" else fault)
    assert counts.answers == len(IMAGES)
    if fault == "429-date":
        assert time.monotonic() - start > 0.1  # A date has whole seconds: of one that is to come a part is left.
    if fault == "moved":
        return
    assert counts.requests == len(there) > 6
    lost = sum(len(one["digests"]) for one in there if not one["answered"])
    # A rate that is refused is no query; a failure may have been one, and is counted.
    assert counts.queries == len(IMAGES) + (0 if "429" in fault else 4 if fault == "late" else lost)


REFUSED = {
    "html": r"must answer JSON, got a web page: is target\.url the address of its API\? It begins '<!doctype html>",
    "text": r"must answer JSON, got 'embedding: 1 2 3'",
    "200-error": r"must answer vectors at target\.vectors=data\[\]\.embedding, got none: its reply .*over quota",
    "404": r"with status 404: '.*no such path.*'; set target\.url to .*; 0 answers to 0 queries are kept$",
    "fewer": r"must answer one vector for each image, got 3 for 4",
    "twice": r"must number its vectors from 0 to 3, got \[0, 0, 0, 0\]",
    "wider": r"must answer vectors of one width, got 32 after 16: its model has changed; set target\.version",
    "version": r"must be one model from beginning to end, got net-2 after net-1; set target\.version",
    "429-long": r"asks to wait 9,999 s before it answers again; \d+ answers to \d+ queries are kept; the same command",
    "elsewhere": r"redirects to another host, http://elsewhere\.invalid, which is not followed; set target\.url to it",
    "401": r"with status 401: .*the key None is not known.*; set target\.key .*; 0 answers to 0 queries are kept$",
    "500-always": r"failed 10 times in a row \(status 500\); 0 answers to \d+ queries are kept; the same command",
}


@pytest.mark.parametrize("fault", REFUSED)
def test_what_cannot_be_used_ends_the_run_in_one_sentence_and_what_was_answered_stays(
    server: Server, tmp_path: Path, fault: str
) -> None:
    made = of(server, tmp_path, fault, parallel=1)
    with pytest.raises(InputError, match=REFUSED[fault]):
        asked(made)
    counts, requests = kept(made).counts(), server.requests(f"{fault}/")
    assert counts.answers == len(kept(made).digests()) == (12 if fault in ("wider", "version") else 0)
    assert counts.requests == len(requests) == {"500-always": 10, "wider": 4, "version": 4}.get(fault, 1)


def test_queries_that_were_refused_side_by_side_are_all_taken_back_before_they_are_counted(
    server: Server, tmp_path: Path
) -> None:
    made = of(server, tmp_path, "404", parallel=4)
    with pytest.raises(InputError, match=r"; 0 answers to 0 queries are kept$"):
        asked(made)
    assert kept(made).counts().queries == 0


@pytest.mark.parametrize("path", [{"vectors": "data"}, {"index": "data"}])
def test_a_path_that_leads_to_no_list_is_said(server: Server, tmp_path: Path, path: dict[str, str]) -> None:
    said = (
        r"target\.vectors=data, got none: its reply begins"
        if "vectors" in path
        else r"target\.index must lead to a list"
    )
    with pytest.raises(InputError, match=said):
        asked(of(server, tmp_path, "scalar", parallel=1, **path))


def test_an_output_of_a_tensor_that_lacks_its_numbers_is_none() -> None:
    form, sent = Kserve(output="vector"), {"name": "vector", "shape": [2, 3], "parameters": {"binary_data_size": 24}}
    for reply in ({"outputs": [sent]}, [], {"error": "no"}):
        assert form.found(reply, {}) == ([], None, None)


def test_a_service_that_stands_still_fails_ten_times_and_goes_on_when_it_is_back(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = of(server, tmp_path, "none", url="http://127.0.0.1:9/v1/embeddings")
    with pytest.raises(InputError, match=r"failed 1\d times in a row \(ConnectError: .*; 0 answers to 0 queries"):
        asked(made)
    assert kept(made).counts().requests <= _asking.OPENS_AFTER + made.parallel


def test_an_answer_that_came_twice_is_kept_and_counted_once(server: Server, tmp_path: Path) -> None:
    made = of(server, tmp_path, "none")
    made.build()
    for first, new in ((0.0, ("a", "b")), (1.0, ("b", "c")), (2.0, ())):
        kept(made).keep({one: np.full(2, first, dtype=np.float32) for one in new})
    assert kept(made).counts().answers == 3
    assert {one: found[0] for one, found in kept(made).find(["a", "b", "c"]).items()} == {"a": 0, "b": 0, "c": 1}


def test_images_that_a_redirect_took_are_queries_though_nothing_answers_where_it_leads(
    server: Server, tmp_path: Path
) -> None:
    made = of(server, tmp_path, "none")
    asker, moved = made.build().asker, httpx.Response(307, headers={"location": "/v2/embeddings"})

    def fails(request: httpx.Request, first: str) -> httpx.Response:
        if request.url.path == first:
            raise httpx.ConnectError("nobody", request=request)
        return moved

    for first, queries in ((asker.url.path, 0), ("/v2/embeddings", 4)):
        assert kept(made).reserve(4, None)
        client = httpx.Client(transport=httpx.MockTransport(partial(fails, first=first)))
        with client, pytest.raises(_asking.AgainError, match="nobody"):
            asker._sent(client, client.build_request("POST", asker.url), 4)
        assert kept(made).counts().queries == queries


def test_nan_is_kept_as_an_answer_and_refused_where_the_encoder_is_looked_at(server: Server, tmp_path: Path) -> None:
    found = asked(of(server, tmp_path, "nan"))
    assert np.isnan(found).any(axis=1).sum() == 6
    np.testing.assert_array_equal(found[~np.isnan(found)], EXPECTED[~np.isnan(found)])


def test_answers_that_differ_and_answers_of_one_length_are_said(server: Server, tmp_path: Path) -> None:
    said = {}
    for fault in ("none", "noisy", "unit"):
        encoder = of(server, tmp_path, fault).build()
        encoder.examine(IMAGES)
        said[fault] = " ".join(encoder.notes)
    assert said["none"].startswith("20 images asked twice were answered alike the model that it reports is net-1")
    assert "20 images asked twice were answered otherwise, by 0." in said["noisy"]
    assert "the service is not deterministic, and the first answer to each view is used" in said["noisy"]
    assert "all answers have the length 1, so that the L2 norm is at chance by construction" in said["unit"]
    assert "length" not in said["none"]


def test_the_budget_is_hard_over_all_runs(server: Server, tmp_path: Path) -> None:
    made = of(server, tmp_path, "budget", max_queries=14, parallel=4)
    with pytest.raises(
        InputError, match=r"target\.max_queries=14 is spent: 12 queries were sent and \d+ answers are kept"
    ):
        asked(made)
    again = of(server, tmp_path, "budget", max_queries=14)
    with pytest.raises(InputError, match=r"target\.max_queries=14 is spent"):
        asked(again)
    assert len(server.queries("budget/")) == kept(again).counts().queries == kept(again).counts().answers == 12
    more = of(server, tmp_path, "budget", max_queries=24)
    np.testing.assert_array_equal(asked(more), EXPECTED)
    assert len(server.queries("budget/")) == len(set(server.queries("budget/"))) == 24


def test_a_rate_is_kept_and_a_pause_holds_for_all(server: Server, tmp_path: Path) -> None:
    start = time.monotonic()
    asked(of(server, tmp_path, "rate", per_second=5.0, batch=2))
    assert time.monotonic() - start > (12 - 5 - 1) / 5
    bucket = Bucket(None)
    bucket.pause(3)
    assert 2.5 < bucket.wait() <= 3


def test_a_wait_is_read_in_every_form() -> None:
    assert retry_after(httpx.Headers({"Retry-After-Ms": "1500", "Retry-After": "9"})) == 1.5
    assert retry_after(httpx.Headers({"Retry-After": "7"})) == 7
    soon = retry_after(httpx.Headers({"Retry-After": formatdate(time.time() + 30, usegmt=True)}))
    assert soon is not None and 27 < soon <= 30
    assert retry_after(httpx.Headers({"Retry-After": formatdate(time.time() - 30, usegmt=True)})) == 0
    assert retry_after(httpx.Headers({"Retry-After": "soon"})) is None and retry_after(httpx.Headers()) is None
