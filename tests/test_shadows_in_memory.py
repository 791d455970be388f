"""Shadows of the user's own, given in Python: functions, and what each was trained on, by place or by content."""

import re
from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

import lpla
from lpla.auditing.attack_run import AttackRun
from lpla.auditing.notes import _on_levels
from lpla.contracts.evidence import Seen
from lpla.contracts.inputs import InputError

PIXELS = np.random.default_rng(0).integers(0, 256, (80, 3, 8, 8), dtype=np.uint8)
HALVES = np.random.default_rng(1).permuted(np.tile([True, False], (2, 40)), axis=1)
INSIDE = np.concatenate([HALVES, ~HALVES])
"""Of four shadows, in complementary pairs."""
QUICK = ["observe.queries=4", "permutations=3", "utility.images=60", "targets=one"]


class Remembers(nn.Module):
    """An encoder that gives the images that it knows longer vectors; each image has a level of its own.

    All of them answer alike to any other image: what they answer to the candidates alone tells them apart.
    """

    def __init__(self, known: np.ndarray) -> None:
        super().__init__()
        self.known = {int(one.astype(int).sum()) for one in known}

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        total = (x * 255).sum(dim=(1, 2, 3)).round().int().tolist()
        length = torch.tensor([1.4 if one in self.known else 1.0 for one in total])
        # The level is far larger than what membership adds.
        return (x.flatten(1)[:, :16] + 0.1) * length[:, None] * (1 + 3 * x[:, 0, 0, :1])


class Turned(Remembers):
    """Of another network: it knows none of the images, its vectors are turned, and the levels are the same."""

    def __init__(self, seed: int) -> None:
        super().__init__(PIXELS[:0])
        self.turn = torch.linalg.qr(torch.randn(16, 16, generator=torch.Generator().manual_seed(seed))).Q

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return super().forward(x) @ self.turn


def shadows() -> list[Remembers]:
    return [Remembers(PIXELS[inside]) for inside in INSIDE]


@pytest.fixture
def audit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """Pairs and overrides -> the rows of an audit in a working directory of its own, of an encoder that leaks."""
    monkeypatch.chdir(tmp_path)

    def run(pairs: Any, *overrides: str, known: int = 40, **more: Any) -> Any:
        images = {"members": PIXELS[:40], "nonmembers": PIXELS[40:]} | more
        return lpla.audit_encoder(Remembers(PIXELS[:known]), *QUICK, *overrides, queries=3, shadows=pairs, **images)

    return run


def test_functions_with_masks_or_places_teach_each_images_level(audit: Callable[..., Any]) -> None:
    masks = list(zip(shadows(), INSIDE, strict=True))
    places = list(zip(shadows(), map(np.flatnonzero, INSIDE), strict=True))
    (labels,), (both,), (same,), (alone,) = (
        audit(None), audit(masks), audit(places), audit(masks, "knowledge.kind=shadows"),
    )  # fmt: skip
    assert [row.knowledge for row in (labels, both, alone)] == ["labels", "labels and shadows", "shadows"]
    assert [row.shadows for row in (labels, both, alone)] == [0, 4, 4] and "4 shadows of the user's own" in both.given
    assert labels.auc < 0.75 and both.auc > 0.95 and alone.auc > 0.95
    assert both.verdict.startswith("leaks") and alone.verdict.startswith("leaks")
    assert (same.auc, same.auc_low) == (both.auc, both.auc_low)


@pytest.mark.slow
@pytest.mark.parallel
def test_places_count_over_members_nonmembers_and_unseen(audit: Callable[..., Any]) -> None:
    """Unseen images that shadows held are none that nobody has seen: too few are left for the null of fresh images."""
    unseen = np.random.default_rng(2).integers(0, 256, (20, 3, 8, 8), dtype=np.uint8)
    for held, is_left in (([], True), (np.arange(80, 91), False)):
        inside = [np.concatenate([np.flatnonzero(one), held]).astype(int) for one in INSIDE]
        (row,) = audit(list(zip(shadows(), inside, strict=True)), "knowledge.kind=shadows", unseen=unseen)
        assert (row.null_nonmembers_auc is not None) == is_left and row.auc > 0.95


def test_an_encoder_that_remembers_nobody_does_not_leak_beside_shadows_that_do(audit: Callable[..., Any]) -> None:
    for more in ([], ["knowledge.kind=shadows"]):
        (row,) = audit(list(zip(shadows(), INSIDE, strict=True)), *more, known=0)
        assert row.verdict.startswith("no leak found")


def test_shadows_on_other_images_than_is_said_teach_nothing(audit: Callable[..., Any]) -> None:
    """Who was inside which shadow reaches the attack: with memberships that are not so, nothing is learnt."""
    (true,), (wrong,) = (
        audit(list(zip(shadows(), inside, strict=True)), "knowledge.kind=shadows")
        for inside in (INSIDE, np.roll(INSIDE, 1, axis=1))
    )
    assert true.auc > 0.95 and wrong.auc < 0.75


@pytest.mark.slow
@pytest.mark.parallel
@pytest.mark.parametrize("attack", ["encodermi_v", "encodermi_s", "bank"])
def test_a_row_says_where_levels_are_not_used(attack: str, audit: Callable[..., Any]) -> None:
    """By labels and shadows: a network's row is that of the labels alone, and says so."""
    (labels,), (both,) = (audit(one, f"attack={attack}") for one in (None, list(zip(shadows(), INSIDE, strict=True))))
    said = [note for note in both.notes if "the shadows tell each image's own level" in note]
    assert not any("own level" in note for note in labels.notes)
    if attack == "bank":
        assert not said and both.auc != labels.auc
    else:
        assert said == [
            f"attack={attack}, backbone: the shadows tell each image's own level, which this attack does not use: "
            "it learns from the labels alone, as without target.shadows"
        ]
        assert both.auc == labels.auc


LEVELS = "knowledge.reference_levels=true"


@pytest.mark.slow
@pytest.mark.parallel
def test_a_reference_tells_each_images_level_where_it_is_asked_to(audit: Callable[..., Any]) -> None:
    """Beside labels it shows what the images' own levels hide; as a null it is attacked without that."""
    reference = Turned(0)
    (without,), (row,) = audit(None, reference=reference), audit(None, LEVELS, reference=reference)
    assert [one.knowledge for one in (without, row)] == ["labels", "labels and reference"]
    assert without.auc < 0.75 and row.auc > 0.95 and row.verdict.startswith("leaks")
    assert row.null_reference_auc == without.null_reference_auc is not None
    said = (
        "attack=lpla, backbone: the reference tells each image's own level, which is taken out of the target's answers"
    )
    assert [note.startswith(said) for note in row.notes].count(True) == 1
    assert not any("own level" in note for note in without.notes)
    (both,) = audit(list(zip(shadows(), INSIDE, strict=True)), LEVELS, reference=reference)
    assert both.knowledge == "labels and shadows and reference" and both.auc > 0.95


def test_no_leak_is_found_with_a_reference_of_random_numbers(audit: Callable[..., Any]) -> None:
    weights = torch.randn(192, 16, generator=torch.Generator().manual_seed(0)).double()

    def noise(x: torch.Tensor) -> torch.Tensor:
        return (1000 * x.flatten(1).double() @ weights).sin().float()

    (row,) = audit(None, LEVELS, "attack=bank", known=0, reference=noise)
    assert row.verdict.startswith("no leak found") and row.auc_low < 0.5 < row.auc_high
    assert row.null_reference_auc is not None


@pytest.mark.parametrize(
    ("told", "said"),
    [
        ([LEVELS], "knowledge.reference_levels needs target.reference, the encoder that tells them, got none"),
        (
            [LEVELS, "knowledge.kind=known_nonmembers"],
            "reference_levels needs knowledge.kind=labels or few_labels, got",
        ),
        (["knowledge.reference_levels=maybe"], "knowledge.reference_levels must be "),
    ],
)
def test_levels_that_no_reference_can_tell_are_one_sentence(
    told: list[str], said: str, audit: Callable[..., Any]
) -> None:
    with pytest.raises(InputError, match=said):
        audit(None, *told)


@pytest.mark.wrong_types
def test_who_was_inside_the_target_does_not_reach_the_references_levels() -> None:
    """A null's encoder has the target's row of members, by which it is judged: nobody was inside the reference."""
    seen = Seen(np.arange(4), {"some": np.zeros((4, 2))})
    target, reference = (SimpleNamespace(index=np.arange(4), inside=np.arange(4) < 2) for _ in range(2))
    run: Any = AttackRun.__new__(AttackRun)
    for subject, beside in ((target, 1), (reference, 0)):
        encoders = SimpleNamespace(shadows=(), reference=reference)
        run.plan = SimpleNamespace(encoders=encoders, knowledge=SimpleNamespace(reference_levels=True))
        run.subject, run.target, run.shadows, run.look = subject, seen, [], lambda _: seen
        run._set_beside()
        assert len(run.target.beside) == beside and not any(one.member.any() for one in run.target.beside)


@pytest.mark.wrong_types
def test_an_attack_that_makes_no_use_of_levels_says_so_of_whoever_tells_them() -> None:
    row: Any = SimpleNamespace(attack="encodermi_v", layer="backbone")
    network: Any = SimpleNamespace(takes_levels=lambda: False)
    for own, told, said in (
        ((), True, "the reference tells .* alone, as without knowledge.reference_levels"),
        ((1,), True, "the shadows and the reference tell .* as without target.shadows and knowledge.reference_levels"),
        ((1,), False, "the shadows tell .* as without target.shadows"),
    ):
        knowledge = SimpleNamespace(of_one_encoder=True, reference_levels=told)
        plan: Any = SimpleNamespace(knowledge=knowledge, encoders=SimpleNamespace(shadows=own))
        (note,) = _on_levels(row, network, plan)
        assert re.search(f"{said}$", note)


@pytest.mark.parametrize("attack", ["gmm", "partcrop"])
def test_an_attack_without_a_row_by_labels_and_shadows_says_what_it_needs(
    attack: str, audit: Callable[..., Any]
) -> None:
    (row,) = audit(list(zip(shadows(), INSIDE, strict=True)), f"attack={attack}")
    needs = {"gmm": "it needs shadows: set knowledge.kind=shadows", "partcrop": "it needs a map of positions"}
    assert row.verdict.startswith("undecided: ") and needs[attack] in row.verdict and row.auc is None


def write(files: Sequence[Path]) -> None:
    for file, image in zip(files, PIXELS, strict=True):
        file.parent.mkdir(exist_ok=True)
        Image.fromarray(image.transpose(1, 2, 0)).save(file)


@pytest.mark.slow
@pytest.mark.parallel
def test_folders_and_lists_are_found_by_content(audit: Callable[..., Any], tmp_path: Path) -> None:
    """A shadow's folder holds copies under other names, a list names the files themselves: the same as masks."""
    files = [tmp_path / ("in" if number < 40 else "out") / f"{number}.png" for number in range(80)]
    write(files)
    images = {"members": tmp_path / "in", "nonmembers": tmp_path / "out"}
    pairs: list[tuple[Remembers, Path]] = []
    for number, (encode, inside) in enumerate(zip(shadows(), INSIDE, strict=True)):
        chosen = [file for file, held in zip(files, inside, strict=True) if held]
        place = tmp_path / f"shadow {number}"
        if number % 2:
            place.write_text("\n".join(map(str, chosen)))
        else:
            place.mkdir()
            for count, file in enumerate(chosen):
                (place / f"copy {count}.png").write_bytes(file.read_bytes())
        pairs.append((encode, place))
    told = [f"data.cache={tmp_path / 'cache'}", "dataset.size=8"]
    (by_content,), (by_place,) = audit(pairs, *told, **images), audit(list(zip(shadows(), INSIDE, strict=True)))
    assert (by_content.auc, by_content.auc_low) == (by_place.auc, by_place.auc_low) and by_content.auc > 0.95
    with pytest.raises(InputError, match=r"the images of shadows\[0\] must be a folder or a list .* got "):
        audit([(shadows()[0], INSIDE[0])], *told, **images)
    (tmp_path / "other").mkdir()
    Image.new("RGB", (8, 8)).save(tmp_path / "other" / "one.png")
    with pytest.raises(
        InputError, match=r"shadows\[0\] must have some of the images of the audit among them, got none"
    ):
        audit([(shadows()[0], tmp_path / "other")], *told, **images)


@pytest.mark.wrong_types
def test_what_no_shadow_is_is_one_sentence(audit: Callable[..., Any]) -> None:
    one = shadows()[0]
    for wrong, said in (
        (4, "shadows must be a folder .* or pairs .* got 4"),
        ([], "shadows must be a folder .* or pairs"),
        ([one], "shadows must be a folder .* or pairs .* got 1 of other things"),
        ([(3, INSIDE[0])], r"shadows\[0\] must be a function or a torch module, got int"),
        ([(one, INSIDE[0][1:])], r"the images of shadows\[0\] must be a mask .*: 80 images, got a mask of 79"),
        ([(one, [0, 80])], r"shadows\[0\] must be .*: 80 images, got places from 0 to 80"),
        ([(one, [-1, 3])], "got places from -1 to 3"),
        ([(one, ["in/1.png"])], r"shadows\[0\] must be .* got <U8 \[1\]"),
        ([(one, [0.5])], r"got float64 \[1\]"),
        ([(one, [])], r"got float64 \[0\]"),
        # Both were taken, and taught the attack nothing.
        ([(one, np.ones(80, bool))], "some of the listed images, but shadow_1 holds every one of the 80, and so says"),
        (
            [(one, np.zeros(80, bool))],
            "some of the listed images, but shadow_1 holds none .* target.reference asks for",
        ),
        ("nowhere", "target.shadows must be a folder with memberships.csv, got nowhere"),
        ([(Remembers(PIXELS[:40]), INSIDE[0])], "shadow_1 must be another encoder than the target"),
        (
            [(one, INSIDE[0]), (shadows()[0], INSIDE[1])],
            "shadow_2 must be another encoder than shadow_1, got shadow_1 it",
        ),
    ):
        with pytest.raises(InputError, match=said):
            audit(wrong)
    with pytest.raises(InputError, match=r"target\.reference must be another encoder than shadow_2, got shadow_2"):
        audit(list(zip(shadows(), INSIDE, strict=True)), reference=shadows()[1])
    with pytest.raises(InputError, match='settings must be texts such as "p=1", or keywords, got 3'):
        audit([(one, INSIDE[0])], 3)  # pyright: ignore[reportArgumentType]
