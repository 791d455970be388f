"""The hooks of a defence: each changes what it says, and stands in the key of that and of nothing else."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Checkpoint
from tiny_audit import Ran, Silent, changed, source_of, tiny_settings
from torch import Tensor, nn

from lpla.auditing.plan import Plan, plan
from lpla.contracts.defense import Asked, Defense, Embeddings, Privacy, Step, Training, trainable
from lpla.contracts.encoder import Arch
from lpla.contracts.inputs import InputError
from lpla.store.artifacts import Store, key_of
from lpla.training.defended import Defended
from lpla.training.pretraining import train
from lpla.work import keys
from lpla.work.trained import Trained
from lpla.work.unit import make

Cli = Callable[..., Ran]


def trained(source: Trained, defense: Defense, seen: Sequence[int] = ()) -> tuple[Arch, list[float]]:
    """The tiny encoder under a defence, which may look at some images, and its losses."""
    arch = source.build()
    defense.prepare(arch)
    rows = torch.tensor(list(seen), dtype=torch.long)
    images = (source.images.pixels[rows], source.images.labels[rows]) if len(rows) else (None, None)
    losses = train(
        arch,
        source.images.pixels,
        np.asarray(source.members),
        source.regime,
        source.trainer_factory(),
        [],
        defended=Defended(defense, *images),
    )
    return arch, losses


def same(one: Arch, other: Arch) -> bool:
    pairs = zip(one.state_dict().values(), other.state_dict().values(), strict=True)
    return all(torch.equal(*pair) for pair in pairs)


@pytest.fixture(scope="module")
def source() -> Trained:
    """The tiny audit's target: two epochs of two batches of ten."""
    return source_of(plan(tiny_settings()).units[0])


@pytest.fixture(scope="module")
def plain(source: Trained) -> Arch:
    return trained(source, Defense())[0]


class OwnGradients(Defense):
    """The gradients of the loss, computed by itself and scaled."""

    def __init__(self, scale: float = 1.0) -> None:
        self.scale, self.steps = scale, []

    def gradients(self, arch: Arch, views: Sequence[Tensor], step: Step) -> tuple[Tensor, list[Tensor]]:
        """As of the contract."""
        self.steps.append(step)
        loss = arch.loss(views, step.progress)
        return loss, [self.scale * one for one in torch.autograd.grad(loss, trainable(arch))]


def test_gradients_of_its_own_are_those_of_the_step(source: Trained, plain: Arch) -> None:
    own = OwnGradients()
    assert same(trained(source, own)[0], plain)
    assert [one.number for one in own.steps] == [0, 1, 2, 3]
    assert [one.progress for one in own.steps] == [0, 0.25, 0.5, 0.75]
    assert own.steps[0].training == Training(20, 10, 2) and own.steps[0].training.steps == 4
    assert {one.seed for one in own.steps} == {source.regime.seed}
    assert not same(trained(source, OwnGradients(0.5))[0], plain)


class OwnBatches(Defense):
    """Draws batches of unlike sizes, of which more than an epoch takes; one of them is empty."""

    sizes = (7, 0, 5)

    def __init__(self) -> None:
        self.seen: list[int] = []

    def batches(self, training: Training, seed: int, epoch: int) -> Iterator[Tensor]:
        """As of the contract."""
        yield from (torch.arange(size) + epoch for size in self.sizes)

    def loss(self, arch: Arch, views: Sequence[Tensor], step: Step) -> Tensor:
        """Nothing of an empty batch."""
        self.seen.append(len(views[0]))
        return (
            arch.loss(views, step.progress)
            if len(views[0])
            else 0 * torch.stack([one.sum() for one in trainable(arch)]).sum()
        )


def test_batches_of_its_own_may_have_any_size(source: Trained) -> None:
    own = OwnBatches()
    trained(source, own)
    assert own.seen == [7, 0, 7, 0]  # as many in an epoch as whole batches


class Watching(Defense):
    """Stops after the epoch of a falling score, and remembers what it saw."""

    outside = 6

    def __init__(self, scores: Sequence[float]) -> None:
        self.given, self.seen = list(scores), []

    def score(self, encode: Callable[[], Embeddings], labels: Tensor) -> float:
        """As of the contract."""
        self.seen.append((encode(), labels))
        return self.given[len(self.seen) - 1]

    def stops(self, done: int, epochs: int, scores: Sequence[float | None]) -> bool:
        """As of the contract."""
        taken = [one for one in scores if one is not None]
        return len(taken) > 1 and taken[-1] < taken[-2]


def test_a_score_on_images_of_nobody_ends_the_training(source: Trained) -> None:
    longer = replace(source, regime=replace(source.regime, epochs=5))
    outside = sorted({*range(50)} - set(source.members))[:6]
    watching = Watching([1, 2, 1, 0, 0])
    arch, losses = trained(longer, watching, outside)
    assert len(losses) == len(watching.seen) == 3
    embeddings, labels = watching.seen[-1]
    assert torch.equal(labels, source.images.labels[torch.tensor(outside)])
    with torch.inference_mode():
        expected = arch.eval().encode(source.images.pixels[torch.tensor(outside)].float() / 255)
    for layer, one in expected.items():
        torch.testing.assert_close(embeddings[layer], one, rtol=1e-4, atol=1e-5)


class Prepared(Defense):
    """Puts another normalisation into the network."""

    def prepare(self, arch: Arch) -> None:
        """As of the contract."""
        for module in arch.modules():
            for name, child in module.named_children():
                if isinstance(child, nn.BatchNorm2d):
                    setattr(module, name, nn.GroupNorm(1, child.num_features))

    def check(self, arch: Arch, training: Training) -> None:
        """As of the contract."""
        assert not any(isinstance(one, nn.BatchNorm2d) for one in arch.modules())
        raise InputError(f"defense=prepared refuses batches of {training.batch_size}")

    def privacy(self, arch: Arch, training: Training) -> Privacy:
        """As of the contract."""
        return Privacy(training.steps, 1e-5, "replace one")


def named(kind: str) -> dict[str, str]:
    return {"_target_": f"{__name__}.{kind}"}


def test_what_is_prepared_is_built_and_loaded(source: Trained, tmp_path: Path) -> None:
    defended = replace(source, defense=named("Prepared"), regime=replace(source.regime, epochs=0))
    store = Store(tmp_path)
    first, anew = defended.make("one", store, (), lambda: None, Silent())
    second, again = defended.make("one", store, (), lambda: None, Silent())
    assert (anew, again) == (True, False)
    assert any(isinstance(one, nn.GroupNorm) for one in second.modules())
    assert same(first, second)  # pyright: ignore[reportArgumentType]


class Distilling(Defense):
    """A student that learns the teacher's embeddings."""

    distils, outside = True, 30

    def loss(self, arch: Arch, views: Sequence[Tensor], step: Step) -> Tensor:
        """As of the contract."""
        assert step.teacher is not None and not step.teacher.training
        with torch.no_grad():
            wanted = step.teacher.encode(views[0])["projector"]
        return (arch.encode(views[0])["projector"] - wanted).square().mean()


def test_a_student_learns_from_the_encoder_that_no_defence_has(source: Trained, tmp_path: Path) -> None:
    outside = tuple(sorted({*range(80)} - set(source.members))[:30])
    student, store = replace(source, defense=named("Distilling"), outside=outside), Store(tmp_path)
    teacher = student.teacher()
    assert teacher is not None and teacher.parts() == source.parts()
    assert student.shown == outside and student.steps() == 2 * 3
    student.make("student", store, (), lambda: None, Silent())
    assert teacher.is_made(store) and student.is_made(store)
    other = replace(student, outside=outside[:20])
    assert key_of(other.parts()) != key_of(student.parts())


class Whitening(Defense):
    """Releases embeddings less the mean of those of the images of nobody."""

    outside = 12

    def fit(self, embeddings: Tensor) -> dict[str, Tensor]:
        """As of the contract."""
        return {"mean": embeddings.mean(dim=0)}

    def release(self, embedding: Tensor, asked: Asked) -> Tensor:
        """As of the contract."""
        return embedding - asked.fitted["mean"]


class Choosy(Defense):
    """Changes answers alone, and refuses this audit."""

    def release(self, embedding: Tensor, asked: Asked) -> Tensor:
        """As of the contract."""
        return 2 * embedding

    def check(self, arch: Arch, training: Training) -> None:
        """As of the contract."""
        raise InputError(f"defense=choosy refuses batches of {training.batch_size}")


def test_the_images_of_nobody_are_in_the_key_of_what_they_change(tiny: Callable[..., Plan]) -> None:
    unit = tiny().units[0]

    def both(kind: str, outside: tuple[int, ...]) -> tuple[str, str]:
        one = changed(unit, defense=named(kind), outside=outside)
        pool = one.observations[0]
        return key_of(one.encoder_parts), key_of(one.statistic_parts(pool, pool.statistics[0]))

    plain, few, more = both("Defense", ()), both("Whitening", (1, 2)), both("Whitening", (1, 2, 3))
    assert plain[0] == few[0] == more[0] and len({plain[1], few[1], more[1]}) == 3
    assert both("Defense", (1, 2)) == plain
    few, more = both("Watching", (1, 2)), both("Watching", (1, 2, 3))
    assert len({plain[0], few[0], more[0]}) == 3
    assert both("OwnBatches", (1, 2)) == both("OwnBatches", ())


def test_what_a_defence_says_is_in_no_key() -> None:
    class Says(Defense):
        def check(self, arch: Arch, training: Training) -> None:
            """As of the contract."""

        def privacy(self, arch: Arch, training: Training) -> Privacy | None:
            """As of the contract."""
            return None

    globals()["Says"] = Says
    assert keys.trained_defense(named("Says")) is None and keys.released_defense(named("Says")) is None


def test_a_release_learns_from_images_of_nobody_alone(tiny: Callable[..., Plan], tmp_path: Path) -> None:
    unit, store = tiny().units[0], Store(tmp_path)
    outside = tuple(int(i) for i in tiny().membership.unseen[-12:])  # not the data set's first images
    make(unit, store, Silent())
    encoder, _ = unit.source.make("again", store, (), lambda: None, Silent())
    release = changed(unit, defense=named("Whitening"), outside=outside).release()
    pixels = unit.images.pixels
    with torch.inference_mode():
        encoder.eval()
        learnt = release.learnt(encoder, pixels, unit.observations[0].query, torch.device("cpu"))
        embeddings = encoder.encode(pixels[list(outside)].float() / 255)
    for layer, one in embeddings.items():
        torch.testing.assert_close(learnt.fitted[layer]["mean"], one.mean(dim=0), rtol=1e-4, atol=1e-5)


def test_images_of_the_defence_are_nobodys_and_nothing_is_measured_on_them(tiny: Callable[..., Plan]) -> None:
    work = tiny("defense._target_=test_defense.Whitening")
    target = work.encoders.target.unit
    assert len(target.outside) == 12 and set(target.outside) <= set(work.membership.reserved.tolist())
    assert not set(target.outside) & {*work.membership.index.tolist(), *work.membership.unseen.tolist()}
    asked = {i for unit in work.units for one in unit.observations for i in one.index}
    assert not asked & set(target.outside)
    assert {unit.outside for unit in work.units} == {target.outside}
    assert not tiny().units[0].outside


def test_too_few_images_of_nobody_are_refused(monkeypatch: pytest.MonkeyPatch, tiny: Callable[..., Plan]) -> None:
    monkeypatch.setattr(Whitening, "outside", 10**6)
    with pytest.raises(InputError, match="needs 1000000 images outside every training set, of which there are "):
        tiny("defense._target_=test_defense.Whitening")


def test_a_defence_refuses_before_anything_is_trained(tiny: Callable[..., Plan]) -> None:
    with pytest.raises(InputError, match="defense=prepared refuses batches of 10"):
        tiny("defense._target_=test_defense.Prepared")


def test_a_defence_of_the_release_alone_refuses_too(tiny: Callable[..., Plan]) -> None:
    with pytest.raises(InputError, match="defense=choosy refuses batches of 10"):
        tiny("defense._target_=test_defense.Choosy")


@pytest.mark.parametrize("kind", ["OwnGradients", "OwnBatches", "Distilling"])
def test_a_defence_that_needs_whole_batches_is_refused_on_ranks(tiny: Callable[..., Plan], kind: str) -> None:
    with pytest.raises(InputError, match=r"trainer must use one device with defense=test_defense\."):
        tiny(f"defense._target_=test_defense.{kind}", "trainer=ddp", "trainer.devices=2")


def test_an_encoder_is_not_looked_at_along_a_training_that_a_defence_ends(tiny: Callable[..., Plan]) -> None:
    with pytest.raises(InputError, match=r"observe.every must be null with defense=.*, which decides when"):
        tiny("defense._target_=test_defense.Watching", "observe.every=1", "+defense.scores=[]")
    with pytest.raises(InputError, match=r"observe.every must be null with defense=.*, whose student learns from a"):
        tiny("defense._target_=test_defense.Distilling", "observe.every=1")


def test_a_training_that_is_stopped_goes_no_further_after_an_interruption(source: Trained, tmp_path: Path) -> None:
    longer = replace(source, regime=replace(source.regime, epochs=5))
    state = tmp_path / "state.ckpt"

    class Keep(Checkpoint):
        def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
            trainer.save_checkpoint(state)

    def run(callbacks: list, resume: Path | None) -> tuple[Arch, list[float]]:
        arch = longer.build()
        outside = torch.tensor(sorted({*range(50)} - set(source.members))[:6])
        images = longer.images.pixels, np.asarray(longer.members)
        seen = Defended(watching, longer.images.pixels[outside], longer.images.labels[outside])
        factory = longer.trainer_factory()
        return arch, train(arch, *images, longer.regime, factory, callbacks, resume=resume, defended=seen)

    watching = Watching([1, 2, 1, 0, 0])
    first, losses = run([Keep()], None)
    second, again = run([], state)
    assert losses == again and len(again) == 3 and len(watching.seen) == 3
    assert same(first, second)
