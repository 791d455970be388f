"""Attacks that train a network: what they find, what they must not see, the same bits again, and what they refuse."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from omegaconf import OmegaConf
from sklearn.metrics import roc_auc_score
from tiny_audit import tiny_config

from lpla.attacks.attack._network import NetworkAttack
from lpla.attacks.attack._training import Training, logits, mlp
from lpla.attacks.attack.encodermi_s import DeepSets
from lpla.attacks.likelihood.leave_one_out import balanced_cut
from lpla.contracts.evidence import Labelled, Seen
from lpla.contracts.inputs import InputError, UndefinedError
from lpla.work.plug_in import plug_in

NAMES = ("encodermi_v", "encodermi_s", "partcrop")
IMAGES, VECTORS, WIDTH = 200, 8, 16
QUICK = "attack.training.epochs=5"
SE = np.sqrt((IMAGES + 1) / (12 * (IMAGES / 2) ** 2))


def attack(name: str, *overrides: str) -> NetworkAttack:
    """As its configuration makes it, for `VECTORS` vectors per image."""
    parts = ["attack.parts=6"] if name == "partcrop" else []
    config = tiny_config(f"attack={name}", "attack.training.device=cpu", *parts, *overrides).attack
    return plug_in(OmegaConf.to_container(config, resolve=True))  # pyright: ignore[reportArgumentType]


def vectors(random: np.random.Generator, inside: np.ndarray, gap: float) -> torch.Tensor:
    """Vectors about a direction of the image's own, closer to it for members."""
    spread = np.where(inside, np.exp(-gap), 1.0)[:, None, None]
    shared = random.normal(size=(IMAGES, 1, WIDTH))
    return torch.from_numpy(shared + spread * random.normal(size=(IMAGES, VECTORS, WIDTH)))


def setting(
    method: NetworkAttack, gap: float = 0.3, seed: int = 0, shadows: int = 4
) -> tuple[Seen, list[Labelled], np.ndarray]:
    random = np.random.default_rng(seed)
    halves = [random.permutation(IMAGES) < IMAGES // 2 for _ in range(1 + shadows // 2)]
    inside = [halves[0], *(row for half in halves[1:] for row in (half, ~half))]
    (statistic,) = method.statistics()
    seen = [
        Labelled(np.arange(IMAGES) + 1000, {statistic.name: statistic(vectors(random, row, gap)).numpy()}, row)
        for row in inside
    ]
    return Seen(seen[0].index, seen[0].values), seen[1:], inside[0]


@pytest.mark.parametrize("name", NAMES)
def test_finds_a_planted_leak_and_its_threshold_serves_the_target(name: str) -> None:
    method = attack(name)
    target, shadows, member = setting(method)
    score = method.fit(shadows).score(target)
    assert score.shape == (IMAGES,) and roc_auc_score(member, score) > 0.75
    called = score >= method.threshold_
    best = max(((score >= t)[member].mean() + (score < t)[~member].mean()) / 2 for t in score)
    assert (called[member].mean() + (~called[~member]).mean()) / 2 > best - 3 * np.sqrt(0.25 / IMAGES)


@pytest.mark.slow
@pytest.mark.parallel
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("seed", [1, 2])
def test_no_leak_no_auc(name: str, seed: int) -> None:
    method = attack(name)
    target, shadows, member = setting(method, gap=0.0, seed=seed)
    assert abs(roc_auc_score(member, method.fit(shadows).score(target)) - 0.5) < 3 * SE


@pytest.mark.parametrize("name", NAMES)
def test_a_fit_repeated_gives_the_same_bits_and_leaves_the_global_state_alone(name: str) -> None:
    method = attack(name, QUICK)
    target, shadows, _ = setting(method)
    first, threshold = method.fit(shadows).score(target), method.threshold_
    torch.manual_seed(5)
    state = torch.get_rng_state()
    again = method.fit(shadows)
    assert torch.equal(torch.get_rng_state(), state)
    assert np.array_equal(again.score(target), first) and again.threshold_ == threshold
    assert np.array_equal(attack(name, QUICK).fit(shadows).score(target), first)
    assert not np.array_equal(attack(name, QUICK, "attack.training.seed=9").fit(shadows).score(target), first)


@pytest.mark.parametrize("name", NAMES)
def test_labels_of_the_target_cannot_reach_its_score(name: str) -> None:
    method = attack(name, QUICK)
    target, shadows, member = setting(method)
    plain, threshold, notes = method.fit(shadows).score(target), method.threshold_, method.fit_summary()
    for labels in (member, ~member):
        assert np.array_equal(method.score(Labelled(target.index, target.values, labels)), plain)
    assert (method.threshold_, method.fit_summary()) == (threshold, notes)


@pytest.mark.parametrize("name", NAMES)
def test_the_held_out_images_are_the_same_in_every_shadow_and_are_not_learnt_from(name: str) -> None:
    method = attack(name, "attack.training.epochs=1")
    _, shadows, _ = setting(method)
    held = np.random.default_rng(0).permutation(np.arange(IMAGES) + 1000)[: IMAGES // 5]
    rows = np.isin(shadows[0].index, held)
    assert method.fit(shadows).shadow_scores_ is not None
    known = method.shadow_scores_
    assert known is not None
    assert np.array_equal(known.member, np.concatenate([shadow.member[rows] for shadow in shadows]))
    each = [method.score(shadow)[rows] for shadow in shadows]
    np.testing.assert_allclose(known.score, np.concatenate(each), atol=1e-6)
    assert method.threshold_ == balanced_cut(known.score, known.member)
    # With a single epoch nothing is chosen, so whatever the held-out images look like, the network is the same.
    (statistic,) = method.statistics()
    weights = [w.clone() for w in method.net_.parameters()]
    other = [
        replace(s, values={statistic.name: np.where(rows[:, None], 0.5, s.values[statistic.name])}) for s in shadows
    ]
    method.fit(other)
    assert all(torch.equal(a, b) for a, b in zip(weights, method.net_.parameters(), strict=True))


@pytest.mark.parametrize("name", NAMES)
def test_images_with_features_that_are_not_finite_are_counted_and_uninformative(name: str) -> None:
    method = attack(name, QUICK)
    target, shadows, _ = setting(method)
    (statistic,) = method.statistics()
    values = [np.array(one.values[statistic.name]) for one in (target, *shadows)]
    values[0][3:6, 1], values[1][7], values[2][8, 0] = np.nan, np.inf, np.nan
    target = replace(target, values={statistic.name: values[0]})
    shadows = [replace(one, values={statistic.name: v}) for one, v in zip(shadows, values[1:], strict=True)]
    score = method.fit(shadows).score(target)
    assert np.isfinite(score).all() and len(set(score[3:6])) == 1
    assert score.min() < score[3] < score.max()
    assert "2 images of the shadows" in " ".join(method.warnings())


@pytest.mark.parametrize("name", NAMES)
def test_the_scale_and_shift_of_the_features_change_little(name: str) -> None:
    method = attack(name, QUICK)
    target, shadows, _ = setting(method)
    plain = method.fit(shadows).score(target)
    (statistic,) = method.statistics()
    moved = [replace(one, values={statistic.name: 16 * one.values[statistic.name] + 3}) for one in shadows]
    seen = replace(target, values={statistic.name: 16 * target.values[statistic.name] + 3})
    other = method.fit(moved).score(seen)
    assert np.corrcoef(plain, other)[0, 1] > 0.99


@given(st.permutations(range(28)), st.integers(0, 9))
@settings(max_examples=20, deadline=None)
def test_deepsets_does_not_see_the_order_of_a_set(order: list[int], seed: int) -> None:
    torch.manual_seed(seed)
    net, sets = DeepSets(1, 8), torch.randn(5, 28, 1)
    torch.testing.assert_close(logits(net, sets[:, order]), logits(net, sets))
    assert logits(net, sets).std() > 0


def test_deepsets_by_loops() -> None:
    torch.manual_seed(0)
    net, sets = DeepSets(1, 8).eval(), torch.randn(3, 6, 1)
    for got, one in zip(logits(net, sets), sets, strict=True):
        mean = sum(net.element(x) for x in one) / 6
        torch.testing.assert_close(got, net.whole(mean)[0])


@pytest.mark.parametrize("name", ["encodermi_v", "encodermi_s"])
def test_the_order_of_the_views_does_not_matter_to_encodermi(name: str) -> None:
    method = attack(name, QUICK)
    target, shadows, _ = setting(method)
    score = method.fit(shadows).score(target)
    (statistic,) = method.statistics()
    shuffled = target.values[statistic.name][:, np.random.default_rng(0).permutation(28)]
    np.testing.assert_allclose(method.score(replace(target, values={statistic.name: shuffled})), score, atol=1e-5)
    with pytest.raises(UndefinedError, match=r"^pairwise cosines need queries >= 2, got 1$"):
        statistic.prefix(target.values[statistic.name], 1)


def test_partcrops_network_is_the_papers() -> None:
    method = attack("partcrop", "attack.parts=128")
    sizes = [tuple(w.shape) for w in method.network(256).parameters() if w.ndim == 2]
    assert sizes == [(512, 256), (256, 512), (128, 256), (1, 128)]
    assert method.training == Training(
        epochs=100, patience=10, batch_size=128, lr=1e-3, weight_decay=5e-4, validation=0.2, seed=0, device="cpu"
    )


def test_the_best_epoch_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    from lpla.attacks.attack import _training

    torch.manual_seed(0)
    net = mlp(3, 4, 1)
    rows, labels = torch.randn(20, 3), (torch.arange(20) % 2).float()
    seen: list[list[torch.Tensor]] = []
    losses = iter([3.0, 2.0, 2.5, 1.0, 4.0, 1.0, 5.0, 6.0])

    def recorded(*_: Any) -> torch.Tensor:
        seen.append([w.detach().clone() for w in net.parameters()])
        return torch.full((20,), next(losses))

    monkeypatch.setattr(_training, "logits", recorded)
    training = replace(attack("encodermi_v").training, patience=3)
    held = (rows, torch.zeros(20))
    assert _training.train_network(net, (rows, labels), held, training) == 4
    assert len(seen) == 7
    assert all(torch.equal(a, b) for a, b in zip(seen[3], net.parameters(), strict=True))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s: [], "attack.training needs at least 1 shadow, got 0"),
        (lambda s: [replace(s[0], member=np.zeros(IMAGES, bool))], "among the shadows' images learnt from, got 0 and"),
        (
            lambda s: [replace(s[0], index=s[0].index[:3], member=s[0].member[:3],
                               values={k: v[:3] for k, v in s[0].values.items()})],
            "needs members and non-members among the shadows' images held out, got",
        ),
        (
            lambda s: [replace(s[0], values={k: v * np.nan for k, v in s[0].values.items()})],
            "needs finite features in the shadows, got none in 160 images",
        ),
    ],
)  # fmt: skip
def test_what_cannot_be_learnt_from(change: Callable[[list[Labelled]], list[Labelled]], message: str) -> None:
    method = attack("encodermi_v")
    _, shadows, _ = setting(method)
    shadows = [replace(s, member=np.arange(IMAGES) % 2 == 0) for s in shadows]
    with pytest.raises(InputError, match=message):
        method.fit(change(shadows))


@pytest.mark.parametrize(
    ("setting", "expected"),
    [
        ("epochs=0", "epochs must be an integer >= 1, got 0"),
        ("patience=1.5", "patience must be an integer >= 1, got 1.5"),
        ("batch_size=true", "batch_size must be an integer >= 1, got true"),
        ("validation=1", "validation must be a number between 0 and 1, got 1"),
        ("device=tpu", "device must be one of auto, cpu, cuda, got 'tpu'"),
    ],
)
def test_settings_that_cannot_work(setting: str, expected: str) -> None:
    with pytest.raises(InputError, match=rf"^attack\.training\.{expected}$"):
        attack("encodermi_v", f"attack.training.{setting}")


def test_a_rate_that_is_too_high_is_named() -> None:
    method = attack("encodermi_v")
    object.__setattr__(method.training, "lr", 1e30)  # Beyond what the setting allows: no allowed one is too high here.
    with pytest.raises(InputError, match=r"loss became (nan|inf): lower attack.training.lr, now 1e\+30"):
        method.fit(setting(method)[1])
