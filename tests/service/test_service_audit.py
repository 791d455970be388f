"""An audit of a service: the audit of the encoder itself, each view asked for once, priced and agreed to before."""

import logging
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from server_process import Server, target
from tiny_audit import TINY_GIVEN, scores_of

from lpla.auditing import job
from lpla.auditing.settings import composed
from lpla.contracts.inputs import InputError
from lpla.encoders.target import _service_encoder
from lpla.encoders.target._png import png
from lpla.extraction.extraction import Extraction
from lpla.report.results import Results
from lpla.store.__main__ import main

DIGITS = ["dataset=digits", "split=balanced", "members=20"]


def audit(store: Path, *overrides: str, folder: Path | None = None) -> Results:
    return job.audit(composed([*TINY_GIVEN, *DIGITS, f"store={store}", *overrides]), folder)


def of_service(server: Server, path: str, *overrides: str) -> list[str]:
    return ["target=http", f"target.url={server.url(path)}", "target.model=net", *overrides]


@pytest.fixture(scope="module")
def itself(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Folders of audits of the encoder itself: of views with 8 bits, as a PNG has them, and of views as they are."""
    root, found = tmp_path_factory.mktemp("itself"), {}
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(Path(__file__).parent))
        for name in ("of_eight_bits", "of_floats"):
            found[name] = root / name
            found[name].mkdir()
            told = ["target=python", f"target.call=numpy_encoder:{name}", "target.channels=1"]
            audit(root / "store", *told, folder=found[name])
    return found


def test_an_audit_through_a_service_is_that_of_the_encoder_and_a_sweep_asks_for_nothing_more(
    server: Server, itself: dict[str, Path], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    through, store = of_service(server, "audit/v1/embeddings"), tmp_path / "store"
    (row,) = audit(store, *through, folder=tmp_path)
    found, expected = scores_of(tmp_path), scores_of(itself["of_eight_bits"])
    np.testing.assert_array_equal(found["index"], expected["index"])
    np.testing.assert_allclose(found["score"], expected["score"], rtol=1e-5, atol=1e-6)
    assert np.ptp(found["score"]) > 0 and row.null_sent_views == 0
    assert (row.arch, row.backbone) == ("net at 127.0.0.1", "net")
    assert "read by target=http" in row.given and "20 images asked twice were answered alike" in row.given
    assert "the model that it reports is net-1" in row.given and "a ResNet of ours" in row.given
    answered = server.queries("audit/")
    assert len(answered) == len(set(answered)) + 20
    (priced,) = re.findall(r"target: up to (\d+) queries in about (\d+) requests of 16 images", caplog.text)
    assert 0 <= int(priced[0]) - len(answered) < 10 and int(priced[1]) == -(-int(priced[0]) // 16)
    for changed in (["p=1"], ["attack=bank"], ["queries=2", "observe.queries=2"], ["attack=log_angle", "p=3"]):
        audit(store, *through, *changed)
    assert server.queries("audit/") == answered


def test_floats_sent_to_kserve_give_the_audit_of_the_encoder_itself(
    server: Server, itself: dict[str, Path], tmp_path: Path
) -> None:
    told = ["target=http", "target.service=kserve", f"target.url={server.url('floats')}", "target.model=net"]
    audit(tmp_path / "store", *told, folder=tmp_path)
    found, expected = scores_of(tmp_path), scores_of(itself["of_floats"])
    np.testing.assert_allclose(found["score"], expected["score"], rtol=1e-5, atol=1e-6)
    assert np.abs(found["score"] - scores_of(itself["of_eight_bits"])["score"]).max() > 1e-3


def test_a_run_says_its_price_and_waits_until_it_is_agreed_to(server: Server, tmp_path: Path) -> None:
    told = of_service(server, "priced/v1/embeddings", "target.ask_above=100", "target.price_per_1000=0.5")
    price = r"target\.confirm must be true for more than 100 queries: up to \d+ queries in about \d+ requests of 16 "
    price += r"images, \d+ s at target\.per_second=0\.5, 0\.\d\d at target\.price_per_1000=0\.5"
    with pytest.raises(InputError, match=price):
        audit(tmp_path, *told, "target.per_second=0.5")
    with pytest.raises(InputError, match=r"target\.max_queries must be at least \d+, got 150: "):
        audit(tmp_path, *told, "target.max_queries=150", "target.confirm=true")
    assert not server.requests("priced/")
    audit(tmp_path, *told, "target.confirm=true")
    asked = len(server.queries("priced/"))
    assert asked > 100
    audit(tmp_path, *told, "p=1")  # Nothing is asked, so that nothing is to be agreed to.
    with pytest.raises(
        InputError, match=rf"must be at least \d+, got {asked}: up to \d+ queries .*, after {asked} queries before"
    ):
        audit(tmp_path, *told, "seed=1", f"target.max_queries={asked}")
    assert len(server.queries("priced/")) == asked


def test_bytes_that_are_not_those_of_the_views_make_a_row_invalid(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sending, usual = [False], Extraction._observe_chunk

    def observe(self: Extraction, *arguments: Any) -> Any:
        sending[0] = self.query.queries > 1
        try:
            return usual(self, *arguments)
        finally:
            sending[0] = False

    # What the encoder is given is right: only what it sends is not, by one bit of each pixel.
    monkeypatch.setattr(Extraction, "_observe_chunk", observe)
    monkeypatch.setattr(_service_encoder, "png", lambda pixels: png(pixels ^ np.uint8(sending[0])))
    (row,) = audit(tmp_path, *of_service(server, "altered/v1/embeddings"))
    assert (
        row.null_sent_views
        and row.verdict.startswith("invalid")
        and "what was sent is not what was asked for" in row.verdict
    )


def test_shadows_and_a_reference_of_a_service_have_settings_of_their_own(tmp_path: Path, server: Server) -> None:
    told = of_service(server, "beside/v1/embeddings")
    problem = r"target\.{0} must have settings of its own beside a service, as \{{{1}: "
    with pytest.raises(InputError, match=problem.format("reference", "target")):
        audit(tmp_path, *told, "target.reference=other.pt")
    with pytest.raises(InputError, match=problem.format("shadows", "folder")):
        audit(tmp_path, *told, "target.shadows=shadows")
    with pytest.raises(
        InputError, match=r"target\.reference\.target must be an option that reads a file, .*, got http"
    ):
        audit(tmp_path, *told, "target.reference={target: http, url: 'http://localhost:1'}")
    assert not server.requests("beside/")
    script = Path(__file__).parents[1] / "foreign" / "files" / "script.pt"
    reference = f"target.reference={{target: exported, file: {script}, run_code: true, normalize: half}}"
    (row,) = audit(tmp_path, *told, reference, "target.confirm=true")
    assert row.null_reference_auc is not None and "the reference is script.pt" in row.given
    assert any(
        re.match(r"the service was sent (\d+) queries in \d+ requests, of which \1 answers", one) for one in row.notes
    )


def test_answers_are_left_where_a_store_is_pruned(
    server: Server, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    target(tmp_path, url=server.url("pruned/v1/embeddings")).build().expect(torch.rand(3, 1, 8, 8))
    main(["--store", str(tmp_path), "list"])
    assert re.match(r"answers +\w{32} ", capsys.readouterr().out)
    main(["--store", str(tmp_path), "prune", "0"])
    assert "deleted 0 artifacts" in capsys.readouterr().out and list(tmp_path.rglob("answers.sqlite"))
    main(["--store", str(tmp_path), "prune", "0", "--answers"])
    assert "deleted 1 artifacts" in capsys.readouterr().out and not list(tmp_path.rglob("answers.sqlite"))
