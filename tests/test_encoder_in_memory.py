"""An encoder that stands in memory through the whole audit: a leak, none, its key, and what is no image."""

import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_audit import TINY
from torch import nn

import lpla
from lpla.auditing import job
from lpla.contracts.evidence import Query
from lpla.contracts.inputs import Images, InputError, Views
from lpla.encoders.target.python import Python
from lpla.work.given import Given


class Mean(nn.Module):
    """Memorises: members have long embeddings. What it remembers are the images' sums."""

    def __init__(self, members: np.ndarray) -> None:
        super().__init__()
        self.known = {round(float(one.sum()), 2) for one in members.astype(np.float32) / 255}

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        length = torch.tensor([2.0 if round(float(one.sum()), 2) in self.known else 1.0 for one in x])
        return (x.flatten(1)[:, :16] + 0.5) * length[:, None]


@pytest.mark.parametrize("leaks", [True, False])
def test_an_encoder_in_memory_is_audited_and_has_a_page(
    leaks: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    images = np.random.default_rng(0).integers(0, 256, (120, 3, 16, 16), dtype=np.uint8)
    encode = Mean(images[:60] if leaks else images[:0])
    settings = [one for one in TINY if one.startswith(("observe", "utility", "permutations"))]
    found = lpla.audit_encoder(encode, *settings, members=images[:60], nonmembers=images[60:] / 255, queries=2)
    (row,) = found
    assert row.members == row.nonmembers == 60 and row.dataset == "given"
    assert row.verdict.startswith("leaks:" if leaks else "no leak found")
    assert row.auc_low is not None and (row.auc_low > 0.5) == leaks
    page = found.report(tmp_path / "audit.html").read_text()
    assert "<html" in page and "trained elsewhere: encoder in memory" in page and "60 members" in page
    assert row.arch == "encoder in memory" and "lpla_encoder" not in page and "lpla_encoder" not in str(found)
    assert {one.name for one in tmp_path.iterdir()} == {"store", "audit.html"}


def test_arrays_of_any_side_reach_a_function_that_takes_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The function was tried on 32 pixels alone, and torch's own error was all that was said."""
    monkeypatch.chdir(tmp_path)
    images = np.random.default_rng(0).integers(0, 256, (120, 3, 20, 20), dtype=np.uint8)
    network = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(3 * 20 * 20, 8)).eval()
    settings = [one for one in TINY if one.startswith(("observe", "utility", "permutations"))]
    (row,) = lpla.audit_encoder(network, *settings, members=images[:60], nonmembers=images[60:], queries=2)
    assert row.auc is not None and not row.verdict.startswith("leaks")
    # By labels no image can be named, and a count of 0 would say that nobody is exposed.
    assert row.exposed_members is None
    # Fresh images were asked for first, and with data.unseen a second reason was given.
    said = "backbone: fresh images: by labels the attack learns from the non-members that are compared"
    assert [note for note in row.notes if "fresh images" in note] == [said]
    (tmp_path / "of_20_pixels.py").write_text("def encode(x):\n    return x.flatten(1) * x.new_ones(3 * 20 * 20)\n")
    with pytest.raises(lpla.InputError, match=r"target.call failed on images of 32 x 32 pixels .* target.side must be"):
        Python(call="of_20_pixels:encode").parts()
    assert Python(call="of_20_pixels:encode", side=20).parts()["name"] == "python"


def test_functions_that_agree_on_fixed_images_do_not_share_what_was_extracted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of one source file, and alike but on the images that one of them remembers: what the first left is not taken."""
    monkeypatch.chdir(tmp_path)
    images = np.random.default_rng(0).integers(0, 256, (120, 3, 16, 16), dtype=np.uint8)
    settings = [one for one in TINY if one.startswith(("observe", "utility", "permutations"))]
    for remembered, verdict in ((images[:0], "no leak found"), (images[:60], "leaks:"), (images[:0], "no leak found")):
        (row,) = lpla.audit_encoder(Mean(remembered), *settings, members=images[:60], nonmembers=images[60:], queries=2)
        assert row.verdict.startswith(verdict)


def test_a_functions_key_holds_its_answers_to_the_images_in_question_and_to_no_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (300, 3, 8, 8), dtype=np.uint8)
    images = Images("made up", torch.from_numpy(pixels), torch.full((300,), -1))
    asked: list[int] = []
    query = Query(Views(flip=0.5), 3, 0)

    def answers(known: np.ndarray, index: Sequence[int], query: Query = query, turned: bool = False) -> str | None:
        def encode(x: torch.Tensor) -> torch.Tensor:
            asked.append(len(x))
            as_they_are = [any(torch.equal(one, whole) for whole in clean) for one in x]
            return encoder(x) if not turned else encoder(x) * (2.0 - torch.tensor(as_they_are).float()[:, None])

        encoder = Mean(known)
        monkeypatch.setattr(sys.modules[__name__], "in_question", encode, raising=False)
        target = {"_target_": "lpla.encoders.target.python.Python", "call": f"{__name__}:in_question"}
        source = Given(target=target, widths={"backbone": 16}, channels=3, can_be_rebuilt=False)
        # Asked about them once.
        assert source.answers(images, index, query) == source.answers(images, tuple(index), query)
        assert source.blank().answers(images, index, query) is None
        return source.answers(images, index, query)

    clean = images.pixels[:20].float() / 255
    nobody, last = pixels[:0], pixels[299:]
    assert answers(nobody, range(290)) == answers(last, range(290))
    assert answers(nobody, range(300)) != answers(last, range(300))
    assert answers(nobody, range(300)) != answers(nobody, range(299, -1, -1))
    assert sum(asked) == 2 * (290 + 8 * 3) + 4 * (300 + 8 * 3) and max(asked) <= 128
    # Functions that agree on the images as they are may differ on views of them, which are sent too.
    few = range(20)
    assert answers(nobody, few) == answers(nobody, few) != answers(nobody, few, turned=True)
    alone = replace(query, queries=1)
    assert answers(nobody, few, alone) == answers(nobody, few, alone, turned=True)
    assert answers(nobody, few, replace(query, seed=1)) != answers(nobody, few)
    assert answers(nobody, range(2)) and answers(nobody, few, replace(query, queries=100))


@pytest.mark.wrong_types
def test_images_that_are_none_are_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    good = np.zeros((4, 3, 8, 8), dtype=np.uint8)
    for bad, said in (
        (np.zeros((4, 8, 8)), r"members must be a folder, .* got float64 \[4, 8, 8\]"),
        (np.full((4, 3, 8, 8), 0.1234), "members must be a folder, .* got float64 from 0.1234 to 0.1234"),
        (np.full((4, 3, 8, 8), 7.0), "got float64 from 7 to 7"),
    ):
        with pytest.raises(InputError, match=said):
            lpla.audit_encoder(Mean(good), members=bad, nonmembers=good)
    with pytest.raises(InputError, match=r"images of one size, got \[8, 16\] pixels"):
        lpla.audit_encoder(Mean(good), members=good, nonmembers=np.zeros((4, 3, 16, 16), dtype=np.uint8))
    same = np.random.default_rng(0).integers(0, 256, (8, 3, 16, 16), dtype=np.uint8)
    said = "^data.members and data.nonmembers must be .*, but every image, 16 in all, stands on both sides"
    with pytest.raises(InputError, match=said):
        lpla.audit_encoder(Mean(good), members=same, nonmembers=same.copy())
    with pytest.raises(InputError, match="encode must be a function or a torch module, got int"):
        lpla.audit_encoder(3, members=good, nonmembers=good)  # pyright: ignore[reportArgumentType]


def test_rows_without_a_page_say_how_to_have_one() -> None:
    with pytest.raises(InputError, match=r"report needs the page of a job: lpla.audit\(..., folder=FOLDER\)"):
        job.Results([]).report("nowhere.html")
