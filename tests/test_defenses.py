"""The defences: what each does to a training or a release, against a slow oracle; their keys; and their refusals."""

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from tiny_audit import CONF, changed, source_of
from torch import Tensor

from lpla.auditing.plan import Plan
from lpla.contracts.defense import Asked, Defense, Step, Training
from lpla.contracts.inputs import InputError, Views
from lpla.encoders.defense.crop import Crop
from lpla.encoders.defense.distill import Distill
from lpla.encoders.defense.early_stop import EarlyStop, knn
from lpla.encoders.defense.noise import Noise
from lpla.encoders.defense.noise_fresh import NoiseFresh
from lpla.encoders.defense.pca import PCA
from lpla.encoders.defense.quantise import Quantise
from lpla.encoders.defense.round import Round
from lpla.encoders.defense.strong_augment import StrongAugment
from lpla.encoders.defense.temperature import Temperature
from lpla.encoders.defense.top_k import TopK
from lpla.encoders.defense.weight_decay import WeightDecay
from lpla.extraction.release import Release
from lpla.store.artifacts import key_of
from lpla.training.defended import Defended
from lpla.training.pretraining import train
from lpla.work.plug_in import plug_in

Tiny = Callable[..., Plan]
RELEASES = ("noise", "noise_fresh", "norms_only", "pca", "quantise", "round", "top_k", "unit_norm")
TRAININGS = ("crop", "distill", "early_stop", "strong_augment", "temperature", "weight_decay")
ROWS = torch.randn(48, 10, generator=torch.Generator().manual_seed(3))


def configured(name: str) -> dict[str, Any]:
    """The option of the group, as data."""
    return yaml.safe_load((CONF / "defense" / f"{name}.yaml").read_text())


def asked(
    images: int = 12, views: int = 4, secret: int = 7, layer: str = "backbone", fitted: dict | None = None
) -> Asked:
    index = torch.arange(100, 100 + images).repeat(views)
    return Asked(layer, index, torch.arange(views).repeat_interleave(images), secret, fitted or {})


def released(defense: Defense, embedding: Tensor = ROWS, learnt_from: Tensor | None = None) -> Tensor:
    fitted = {} if learnt_from is None else defense.fit(learnt_from)
    return defense.release(embedding, asked(fitted=fitted))


def test_every_defence_is_of_training_or_of_release_as_its_key_says(tiny: Tiny) -> None:
    plain = tiny().units[0]
    options = {file.stem for file in (CONF / "defense").glob("*.yaml")}
    assert {*RELEASES, *TRAININGS, "none"} <= options
    for name in (*RELEASES, *TRAININGS):
        unit = changed(plain, defense=configured(name))
        pool = unit.observations[0]
        keys = [key_of(one.encoder_parts) for one in (plain, unit)]
        assert (keys[0] == keys[1]) == (name in RELEASES), name
        of_statistic = [key_of(one.statistic_parts(pool, pool.statistics[0])) for one in (plain, unit)]
        assert of_statistic[0] != of_statistic[1], name


@pytest.mark.parametrize("name", RELEASES)
def test_a_release_does_not_depend_on_the_batch(name: str) -> None:
    defense: Defense = plug_in(configured(name))
    learnt = Release(defense, 7, fitted={"backbone": defense.fit(ROWS[:40])})
    # View-major, of 48 images in one view.
    whole = learnt("backbone", ROWS, torch.arange(48))
    parts = [learnt("backbone", ROWS[i : i + 5], torch.arange(48)[i : i + 5]) for i in range(0, 48, 5)]
    assert torch.equal(whole, torch.cat(parts))
    order = torch.randperm(48, generator=torch.Generator().manual_seed(0))
    assert torch.equal(learnt("backbone", ROWS[order], order), whole[order])


@pytest.mark.parametrize("kind", [Noise, NoiseFresh])
def test_noise_has_the_stated_deviation(kind: type[Defense]) -> None:
    embedding = torch.randn(3000, 24, generator=torch.Generator().manual_seed(0)) * torch.linspace(1, 9, 3000)[:, None]
    one = Asked("projector", torch.arange(3000), torch.zeros(3000, dtype=torch.long), 5, {})
    away = kind(sigma=0.3).release(embedding, one) - embedding  # pyright: ignore[reportCallIssue]
    relative = away / embedding.norm(dim=1, keepdim=True)
    # 72,000 normal numbers: the deviation's own standard error is 0.3 / sqrt(24) / sqrt(2 x 72,000) = .00016.
    assert relative.std().item() == pytest.approx(0.3 / math.sqrt(24), abs=6e-4)
    assert abs(relative.mean().item()) < 1e-3
    # Dimensions and rows are independent.
    correlation = np.corrcoef(relative.T.numpy()) - np.eye(24)
    assert np.abs(correlation).max() < 0.1
    assert torch.equal(kind(sigma=0.0).release(embedding, one), embedding)  # pyright: ignore[reportCallIssue]


def test_keyed_noise_is_the_same_for_all_queries_of_an_image_and_no_other() -> None:
    same = torch.ones(48, 10)
    noise = (released(Noise(sigma=0.5), same) - same).unflatten(0, (4, 12))
    assert torch.equal(noise, noise[:1].expand_as(noise))
    assert len(noise[0].unique(dim=0)) == 12
    fresh = (released(NoiseFresh(sigma=0.5), same) - same).unflatten(0, (48,))
    assert len(fresh.unique(dim=0)) == 48
    for other in (asked(secret=8), asked(layer="projector")):
        assert not torch.equal(Noise(sigma=0.5).release(same, other), released(Noise(sigma=0.5), same))


def test_fresh_noise_is_averaged_away_by_queries_and_keyed_noise_is_not() -> None:
    same, views = torch.ones(40 * 64, 10), 64

    def left(defense: Defense, queries: int) -> float:
        answers = defense.release(same, asked(40, views)).unflatten(0, (views, 40))
        return (answers[:queries].mean(dim=0) - 1).square().mean().sqrt().item()

    fresh, keyed = NoiseFresh(sigma=0.4), Noise(sigma=0.4)
    assert left(fresh, 64) == pytest.approx(left(fresh, 1) / 8, rel=0.15)
    assert left(keyed, 64) == pytest.approx(left(keyed, 1), rel=1e-5)


def test_eight_bits_are_those_of_a_slow_oracle() -> None:
    learnt = ROWS[:20].clone()
    learnt[:, 3] = 0.25  # a dimension without a range
    embedding = ROWS * 1.5  # beyond the ranges too
    found = released(Quantise(), embedding, learnt)
    for row, column in np.ndindex(48, 10):
        low, high = learnt[:, column].min().item(), learnt[:, column].max().item()
        step = (high - low) / 255
        codes = [low + code * step for code in range(256)]
        nearest = min(codes, key=lambda code: abs(code - embedding[row, column].item()))
        assert found[row, column].item() == pytest.approx(nearest, abs=1e-5)
    assert max(len(found[:, column].unique()) for column in range(10)) <= 256
    odd = torch.tensor([[torch.nan] * 10, [torch.inf] * 10])
    assert not released(Quantise(), odd.repeat(24, 1), learnt).isfinite().any()


def test_one_bit_says_what_is_above_the_mean_and_leaves_norms_nothing_to_tell() -> None:
    learnt = ROWS[:20] + 0.3
    found = released(Quantise(bits=1), ROWS, learnt)
    for row, column in np.ndindex(48, 10):
        assert found[row, column].item() == (1 if ROWS[row, column] >= learnt[:, column].mean() else -1)
    assert (found.norm(dim=1) == found[0].norm()).all()
    assert not released(Quantise(bits=1), torch.full((48, 10), torch.nan), learnt).isfinite().any()


def test_the_largest_coordinates_are_those_of_a_slow_oracle() -> None:
    embedding = ROWS.clone()
    embedding[0] = torch.tensor([1.0, -1, 1, -1, 0, 0, 0, 0, 0, 0])  # equally great ones
    found = released(TopK(k=3), embedding)
    for row, out in zip(embedding.tolist(), found.tolist(), strict=True):
        kept = sorted(range(10), key=lambda i: (-abs(row[i]), i))[:3]
        assert out == [value if i in kept else 0 for i, value in enumerate(row)]
    assert torch.equal(released(TopK(k=99), embedding), embedding)


def test_principal_components_are_those_of_a_slow_oracle() -> None:
    learnt = ROWS[:30] * torch.linspace(3, 0.1, 10)
    found = released(PCA(components=4, images=30), ROWS, learnt)
    values, vectors = np.linalg.eigh(np.cov(learnt.double().T.numpy()))
    directions = vectors[:, np.argsort(-values)[:4]]
    expected = (ROWS.double().numpy() - learnt.double().mean(dim=0).numpy()) @ directions
    for column in range(4):  # A direction has no sign.
        sign = np.sign(expected[0, column] * found[0, column].item())
        np.testing.assert_allclose(found[:, column], sign * expected[:, column], atol=1e-4)
    narrow = released(PCA(components=32), ROWS, learnt)
    torch.testing.assert_close(narrow.norm(dim=1), (ROWS - learnt.mean(dim=0)).norm(dim=1))
    with pytest.raises(InputError, match=r"^defense.images must be more than defense.components, which is 32, got 32"):
        PCA(components=32, images=32)


@pytest.mark.parametrize("decimals", [0, 1, 3])
def test_rounding_is_that_of_a_slow_oracle(decimals: int) -> None:
    found = released(Round(decimals=decimals), ROWS.double())
    expected = [[round(value, decimals) for value in row] for row in ROWS.double().tolist()]
    torch.testing.assert_close(found, torch.tensor(expected, dtype=torch.float64), atol=1e-9, rtol=0)


def test_training_views_are_changed_as_said() -> None:
    usual = Views(crop_scale=(0.2, 1.0), jitter=0.8, brightness=0.3, hue=0.4, grayscale=0.2)
    assert Crop(scale=(0.3, 0.4)).train_views(usual) == replace(usual, crop_scale=(0.3, 0.4))
    stronger = StrongAugment(strength=2).train_views(usual)
    assert stronger == replace(usual, crop_scale=(0.1, 1.0), jitter=1.0, brightness=0.6, hue=0.5, grayscale=0.4)
    assert StrongAugment(strength=1).train_views(usual) == usual
    with pytest.raises(InputError, match="strong_augment needs training views that change images"):
        StrongAugment().train_views(Views(flip=0.5))


def test_weight_decay_is_that_of_the_optimiser_alone(tiny: Tiny) -> None:
    plain, decayed = (source_of(tiny(one).units[0]).build() for one in ("seed=0", "defense=weight_decay"))
    optimizers = [one.optimization.optimizer([torch.nn.Parameter(torch.ones(1))], lr=0.1) for one in (plain, decayed)]
    groups = [dict(one.param_groups[0]) for one in optimizers]
    assert groups[1].pop("weight_decay") == 5e-3 != groups[0].pop("weight_decay")
    assert {n: v for n, v in groups[0].items() if n != "params"} == {
        n: v for n, v in groups[1].items() if n != "params"
    }
    plain.optimization = replace(plain.optimization, optimizer=torch.optim.LBFGS)
    with pytest.raises(InputError, match="needs an optimiser that has a weight decay, got LBFGS"):
        WeightDecay().prepare(plain)


def test_temperature_is_that_of_the_loss_or_refused(tiny: Tiny) -> None:
    arch = source_of(tiny("defense=temperature", "defense.value=2").units[0]).build()
    assert arch.criterion.temperature == 2  # pyright: ignore[reportAttributeAccessIssue]
    assert source_of(tiny("arch=mocov3", "defense=temperature").units[0]).build().temperature == 1
    with pytest.raises(InputError, match="needs a framework with one temperature, such as simclr, got BYOL"):
        tiny("arch=byol", "defense=temperature")
    assert isinstance(Temperature(value=1).value, float)


def test_a_share_of_the_epochs_is_the_beginning_of_the_whole_training(tiny: Tiny) -> None:
    source = source_of(tiny("epochs=5").units[0])
    seen: list[list[float]] = []
    for defense in (Defense(), EarlyStop(share=0.5), EarlyStop(share=1.0)):
        images = source.images.pixels, np.asarray(source.members)
        guard = Defended(defense)
        seen.append(train(source.build(), *images, source.regime, source.trainer_factory(), [], defended=guard))
    assert seen[1] == seen[0][:3] and seen[2] == seen[0]
    assert EarlyStop(share=0.07).stops(7, 100, [])  # 0.07 x 100 is 7.000000000000001


def test_patience_ends_a_training_whose_accuracy_rises_no_more() -> None:
    one = EarlyStop(share=0.8, patience=2)
    assert one.outside == 200 and EarlyStop().outside == 0
    assert [one.stops(done, 10, [0.5, 0.7, 0.6, 0.7, 0.6, 0.6, 0.6, 0.6][:done]) for done in (1, 2, 3, 4, 8)] == [
        False, False, False, True, True]  # fmt: skip
    assert EarlyStop(share=0.25).score(lambda: {}, torch.zeros(0, dtype=torch.long)) is None
    with pytest.raises(InputError, match="needs images of two classes"):
        one.score(lambda: {}, torch.tensor([1, 1, -1]))
    # As many voters as images would name one class whatever the encoder.
    with pytest.raises(InputError, match=r"^defense.k must be less than defense.images, which is 200, got 200$"):
        EarlyStop(patience=2, k=200)
    assert EarlyStop(k=200).outside == 0 and EarlyStop(patience=2, k=199).k == 199


def test_neighbours_vote_as_a_slow_oracle_says() -> None:
    labels = torch.arange(48) % 3
    embedding = ROWS + torch.eye(10)[labels] * 1.5
    right = 0
    for i in range(48):
        cosine = [(float(torch.cosine_similarity(embedding[i], embedding[j], dim=0)), j) for j in range(48) if j != i]
        votes = [int(labels[j]) for _, j in sorted(cosine, reverse=True)[:5]]
        right += max(range(3), key=lambda label: (votes.count(label), -label)) == int(labels[i])
    assert knn(embedding, labels, 5) == pytest.approx(right / 48)
    one = EarlyStop(patience=1)
    with_unlabelled = {"backbone": torch.cat([embedding, ROWS[:4]])}
    assert one.score(lambda: with_unlabelled, torch.cat([labels, torch.full((4,), -1)])) == pytest.approx(right / 48)


def test_a_student_learns_every_layer_with_its_norm(tiny: Tiny) -> None:
    source = source_of(tiny().units[0])
    teacher, student = source.build().eval(), source.build()
    views = [source.images.pixels[:10].float() / 255] * 2
    step = Step(0, 0.0, 0, Training(20, 10, 2), teacher)
    student.eval()  # as a batch norm in training answers otherwise
    assert Distill().loss(student, views, step).item() == pytest.approx(0, abs=1e-9)
    with torch.no_grad():
        for weight in student.projector.parameters():
            weight.mul_(3)
    found = Distill().loss(student, views, step).item()
    expected = []
    with torch.no_grad():
        of_teacher, of_student = teacher.encode(views[0]), student.encode(views[0])
    for layer, wanted in of_teacher.items():
        given = of_student[layer]
        expected += [
            float((a - b).norm() ** 2 / max(a.norm(), b.norm()) ** 2) for a, b in zip(given, wanted, strict=True)
        ]
    assert found == pytest.approx(np.mean(expected), rel=1e-4) and found > 0.1
    with torch.no_grad():
        for weight in teacher.parameters():
            weight.mul_(1e-6)
    assert 0.9 < Distill().loss(student, views, step).item() < 1.1  # of a teacher that says next to nothing
    with pytest.raises(InputError, match="needs a teacher"):
        Distill().loss(student, views, replace(step, teacher=None))
    with pytest.raises(InputError, match=r"defense.images must be at least train.batch_size, which is 10, got 9"):
        tiny("defense=distill", "defense.images=9")
