"""Every null on a fault that it is there for, and on a sound audit: the row is invalid, and is not."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_audit import Silent, tiny_settings
from torch import Tensor
from torch.nn import functional as F

from lpla.auditing.attack_run import AttackRun
from lpla.auditing.nulls import nulls_of
from lpla.auditing.plan import Plan, plan
from lpla.contracts.inputs import Images, Membership
from lpla.data.split.balanced import Balanced
from lpla.extraction import extraction as extraction_module
from lpla.metrics.verdict import Nulls, verdict
from lpla.store.artifacts import Store
from lpla.work import plug_in
from lpla.work.unit import make

SETTINGS = ["members=100", "epochs=0", "queries=3", "observe.queries=3", "utility.images=0", "permutations=6"]
SETTINGS += ["layer=backbone"]


def audited(folder: Path, *overrides: str) -> tuple[Nulls, str]:
    """The nulls of an audit without training, and its verdict on scores that tell nothing."""
    work, store = plan(tiny_settings(*SETTINGS, *overrides)), Store(folder)
    for unit in (*work.units, work.encoders.untrained.unit):
        make(unit, store, Silent())
    run = AttackRun(work, store, "backbone")
    attack = run.fit()
    found = nulls_of(work, store, run, attack).nulls
    return found, verdict(run.score(attack), work.member, found)


def distrusted(nulls: Nulls) -> set[str]:
    """Names of the nulls that fail, but for the untrained encoder."""
    return {name for name, one in vars(nulls).items() if getattr(one, "distrust", False)}


def test_a_sound_audit_is_not_invalid_and_all_was_checked(tmp_path: Path) -> None:
    nulls, said = audited(tmp_path)
    assert not distrusted(nulls) and nulls.sent and (nulls.sent.views, nulls.sent.asked) == (0, 300)
    assert said.startswith("no leak found") and "not checked" not in said


def crop(views: Tensor) -> Tensor:
    return F.interpolate(views[..., 1:-1, 1:-1], views.shape[2:], mode="bilinear")


def another_size(views: Tensor) -> Tensor:
    small = F.interpolate(views, scale_factor=0.5, mode="bilinear")
    return F.interpolate(small, views.shape[2:], mode="bilinear")


QUERY_FAULTS: dict[str, Callable[[Tensor], Tensor]] = {
    "cropped": crop,
    "another size": another_size,
    "mirrored": lambda views: views.flip(3),
    "a little brighter": lambda views: views * 1.001,
}

FAST = (("mirrored", True), ("another size", False))


def plant(monkeypatch: pytest.MonkeyPatch, chosen: set[int], change: Callable[[Tensor], Tensor]) -> None:
    """Within the extraction, views of the images `chosen` are changed on their way."""
    answers, chunk = extraction_module.answers, extraction_module.Extraction._observe_chunk
    index: list[Tensor] = []

    def observe(self, encoder, images: Tensor, device):
        index[:] = [images]
        return chunk(self, encoder, images, device)

    def altered(encoder, views: tuple[Tensor, ...], query, *others):
        hit = torch.tensor([i in chosen for i in index[0].tolist()]).repeat(query.queries)
        sent = views[0].clone()
        sent[hit] = change(sent[hit])
        return answers(encoder, (sent,), query, *others)

    monkeypatch.setattr(extraction_module.Extraction, "_observe_chunk", observe)
    monkeypatch.setattr(extraction_module, "answers", altered)


@pytest.mark.parametrize(
    ("fault", "members"),
    [
        pytest.param(fault, members, marks=() if (fault, members) in FAST else (pytest.mark.slow, pytest.mark.parallel))
        for fault in QUERY_FAULTS
        for members in (True, False)
    ],
)
def test_one_group_sent_otherwise_within_the_extraction(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fault: str, members: bool
) -> None:
    work = plan(tiny_settings(*SETTINGS, "shadows=2"))
    plant(monkeypatch, set(work.judged_index[work.member == members].tolist()), QUERY_FAULTS[fault])
    nulls, said = audited(tmp_path, "shadows=2")
    assert nulls.sent and nulls.sent.images == 100 and nulls.images and not nulls.images.distrust
    # Of the target, its shadows and the untrained target; a symmetric view is no other when mirrored.
    assert 1100 < nulls.sent.views <= 4 * 100 * 3
    assert nulls.sent.encoders == ("target", "untrained target", "shadow 1", "shadow 2")
    assert said.startswith("invalid: ") and "what was sent is not what was asked for (" in said
    assert "of 100 of 300 images" in said
    if fault == "another size":
        assert nulls.views and nulls.views.distrust


@pytest.mark.slow
@pytest.mark.parallel
def test_members_sent_otherwise_to_the_target_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """That the shadows and the untrained target were asked rightly does not hide it."""
    settings = ["shadows=2", "epochs=1"]
    work = plan(tiny_settings(*SETTINGS, *settings))
    with monkeypatch.context() as planted:
        plant(planted, set(work.judged_index[work.member].tolist()), lambda views: views.flip(3))
        make(work.units[0], Store(tmp_path), Silent())
    nulls, said = audited(tmp_path, *settings)
    assert nulls.sent and nulls.sent.encoders == ("target",)
    assert distrusted(nulls) == {"sent"} and said.startswith("invalid: what was sent is not what was asked for (")


def shadows_members(work: Plan) -> set[int]:
    """Images that some shadow was trained on, none of them judged."""
    return set(work.membership.index[work.membership.inside[1] & ~work.membership.candidates].tolist())


def known_to_the_attacker(work: Plan) -> set[int]:
    assert work.encoders.known
    return set(work.encoders.known.index.tolist())


def told_members(work: Plan) -> set[int]:
    return set(work.membership.index[work.labelled & work.encoders.target.inside].tolist())


def fresh(work: Plan) -> set[int]:
    assert work.encoders.fresh
    return set(work.encoders.fresh.index.tolist())


NOT_JUDGED: dict[str, tuple[list[str], Callable[[Plan], set[int]]]] = {
    "shadows' members": (["split=disjoint", "shadows=2"], shadows_members),
    "known non-members": (["knowledge.kind=known_nonmembers", "knowledge.images=40"], known_to_the_attacker),
    "told members": (["knowledge.kind=few_labels", "knowledge.images=30"], told_members),
    "fresh images": (["shadows=2"], fresh),
}


@pytest.mark.slow
@pytest.mark.parallel
@pytest.mark.parametrize("whose", NOT_JUDGED)
def test_images_from_which_an_attack_learns_are_sent_otherwise(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, whose: str
) -> None:
    """None of them is judged: the attack would learn what is not there, and the leak would stay hidden."""
    settings, whom = NOT_JUDGED[whose]
    work = plan(tiny_settings(*SETTINGS, *settings))
    chosen = whom(work)
    assert chosen and not chosen & set(work.judged_index.tolist())
    plant(monkeypatch, chosen, crop)
    nulls, said = audited(tmp_path, *settings)
    assert nulls.sent and nulls.sent.images == len(chosen)
    assert said.startswith("invalid: what was sent is not what was asked for (")


@pytest.mark.slow
@pytest.mark.parallel
def test_views_of_an_earlier_epoch_are_held_to_what_was_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They are behind the rows of the curve alone."""
    settings = ["shadows=2", "epochs=2", "observe.every=1"]
    work = plan(tiny_settings(*SETTINGS, *settings))
    extract = extraction_module.Extraction.observe

    def observe(self, encoder, device):
        with pytest.MonkeyPatch.context() as planted:
            if self.epoch == 1:
                plant(planted, set(work.judged_index[work.member].tolist()), crop)
            return extract(self, encoder, device)

    monkeypatch.setattr(extraction_module.Extraction, "observe", observe)
    nulls, said = audited(tmp_path, *settings)
    assert nulls.sent and nulls.sent.encoders == ("target", "shadow 1", "shadow 2")
    assert said.startswith("invalid: ") and "what was sent is not what was asked for (" in said


def test_one_view_of_one_image_is_enough(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    work = plan(tiny_settings(*SETTINGS, "shadows=2"))
    answers = extraction_module.answers

    def altered(encoder, views: tuple[Tensor, ...], *others):
        sent = views[0].clone()
        sent[len(sent) // 2] += 0.01
        return answers(encoder, (sent,), *others)

    monkeypatch.setattr(extraction_module, "answers", altered)
    make(replace(work.units[1], batch_size=10**6), Store(tmp_path), Silent())
    monkeypatch.undo()
    nulls, said = audited(tmp_path, "shadows=2")
    assert nulls.sent and (nulls.sent.images, nulls.sent.encoders) == (1, ("shadow 1",))
    assert said.startswith("invalid: what was sent is not what was asked for (1 views of 1 of 300 images; shadow 1)")


class MembersNoisy(Balanced):
    """The target's members are stored with a little noise."""

    def draw(self, images: Images, members: int | None, shadows: int, seed: int) -> Membership:
        drawn = super().draw(images, members, shadows, seed)
        index = torch.from_numpy(drawn.members(0))
        noise = torch.randint(0, 3, (len(index), *images.pixels.shape[1:]), generator=torch.Generator().manual_seed(0))
        images.pixels[index] = (images.pixels[index].long() + noise).clamp(max=255).to(torch.uint8)
        return drawn


class Dark(Balanced):
    """Both groups are drawn from the darkest third of the images; fresh images are the brighter half."""

    def draw(self, images: Images, members: int | None, shadows: int, seed: int) -> Membership:
        assert members is not None
        light = images.pixels.float().mean(dim=(1, 2, 3)).numpy().argsort()
        pool = light[np.random.default_rng(seed).permutation(len(light) // 3)[: 2 * members]]
        drawn = super().draw(images, members, shadows, seed)
        return replace(drawn, index=pool, unseen=np.sort(light[len(light) // 2 :]))


class Dependent(Balanced):
    """The target's row is that of a shadow."""

    def draw(self, images: Images, members: int | None, shadows: int, seed: int) -> Membership:
        drawn = super().draw(images, members, shadows, seed)
        inside = drawn.inside.copy()
        inside[0] = inside[1]
        return replace(drawn, inside=inside)


@pytest.fixture
def own_images() -> Iterator[None]:
    """Images that a test may change, where otherwise a process reads them once."""
    plug_in._load_images.cache_clear()
    yield
    plug_in._load_images.cache_clear()


@pytest.mark.usefixtures("own_images")
def test_members_stored_otherwise(tmp_path: Path) -> None:
    nulls, said = audited(tmp_path, "shadows=2", f"split._target_={__name__}.MembersNoisy")
    assert "images" in distrusted(nulls) and not distrusted(nulls) & {"sent", "permuted"}
    assert said.startswith("invalid: the images differ between the groups (AUC ")


def test_non_members_unlike_fresh_images(tmp_path: Path) -> None:
    nulls, said = audited(tmp_path, "shadows=2", f"split._target_={__name__}.Dark")
    assert distrusted(nulls) == {"fresh"}
    assert said.startswith("invalid: non-members are told from images outside every training set (AUC ")


@pytest.mark.slow
@pytest.mark.parallel
def test_a_target_whose_members_a_shadow_shares(tmp_path: Path) -> None:
    nulls, said = audited(tmp_path, f"split._target_={__name__}.Dependent")
    assert "shadows" in distrusted(nulls) and not distrusted(nulls) & {"images", "views", "sent", "fresh"}
    assert "scores of the shadows tell the target's members (AUC " in said and said.startswith("invalid: ")


def test_an_attack_that_is_told_the_permuted_membership(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only where it is permuted, so that no other null can see it."""
    fit, score, told = AttackRun.fit, AttackRun.score, []

    def fitted(self: AttackRun, permutation: int | None = None):
        told[:] = [] if permutation is None else [self.member(permutation)]
        return fit(self, permutation)

    def peeking(self: AttackRun, attack):
        found = score(self, attack)
        return found + 0.5 * found.std() * told[0] if told else found

    monkeypatch.setattr(AttackRun, "fit", fitted)
    monkeypatch.setattr(AttackRun, "score", peeking)
    nulls, said = audited(tmp_path, "shadows=2")
    assert distrusted(nulls) == {"permuted"}
    assert said.startswith("invalid: permuted membership is told (AUC 0.6")


@pytest.mark.slow
@pytest.mark.parallel
def test_without_fresh_images_that_is_said(tmp_path: Path) -> None:
    work = plan(tiny_settings(*SETTINGS, "shadows=2", "attack=gmm"))
    store = Store(tmp_path)
    for unit in (*work.units, work.encoders.untrained.unit):
        make(unit, store, Silent())
    run = AttackRun(work, store, "backbone")
    found = nulls_of(work, store, run, run.fit())
    assert found.nulls.fresh is None and found.fields["null_nonmembers_auc"] is None
    assert found.notes == (
        "backbone: fresh images: attack=gmm needs the same images of every encoder to align them, got different ones "
        "(split)",
    )
    none = replace(work, encoders=replace(work.encoders, fresh=None))
    assert (
        nulls_of(none, store, run, run.fit()).notes[0].startswith("backbone: fresh images: at least 10 images outside")
    )


def test_fresh_images_are_new_to_all_that_learns(tiny: Callable[..., Plan]) -> None:
    work = tiny("knowledge.kind=known_nonmembers", "knowledge.images=30")
    fresh, known = work.encoders.fresh, work.encoders.known
    assert fresh and known and len(fresh.index) == 20 and not fresh.inside.any()
    assert not set(fresh.index) & (set(known.index) | set(work.membership.index))
    assert set(fresh.index) <= set(work.membership.unseen)
    assert tiny("members=894").encoders.fresh is None
