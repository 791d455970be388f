"""RMIA on the log-norm: its parameters reach the likelihood, and what holds for every scalar holds for it."""

import numpy as np
import pytest
import torch
from omegaconf import OmegaConf
from sklearn.metrics import roc_auc_score
from tiny_audit import ROOT

from lpla.attacks.attack.rmia import RMIA
from lpla.attacks.likelihood.per_sample import PER_SAMPLE
from lpla.attacks.likelihood.rmia import GAMMA, OFFLINE, Rmia
from lpla.attacks.likelihood.standardise import standardise
from lpla.attacks.planted import answers, given, layout, null_error
from lpla.contracts.inputs import InputError

IMAGES = 600


def attack(a: float = 0.3, gamma: float = 1.0, p: float = 2) -> RMIA:
    return RMIA(p=p, ps=[1, 2], a=a, gamma=gamma)


def setting(seed: int = 0, length: float = 0.4, never_held: int = 0) -> tuple:
    inside = layout(seed, 8, IMAGES)
    inside[1:, :never_held] = False
    return given(attack(), answers(seed + 50, inside, length=length), inside)


@pytest.mark.parametrize("length", [0.4, -0.4])
@pytest.mark.parametrize("never_held", [0, IMAGES // 2])
def test_finds_a_leak_of_either_sign_online_and_offline(length: float, never_held: int) -> None:
    target, shadows, member = setting(length=length, never_held=never_held)
    method = attack().fit(shadows)
    judged = slice(0, never_held or None)
    scores = method.score(target)[judged]
    assert roc_auc_score(member[judged], scores) > 0.5 + 5 * null_error(member[judged])
    assert method.fit_summary()["likelihood"] == "rmia"


@pytest.mark.parametrize("seed", range(3))
def test_no_leak_no_auc(seed: int) -> None:
    target, shadows, member = setting(seed, length=0)
    assert abs(roc_auc_score(member, attack().fit(shadows).score(target)) - 0.5) < 3 * null_error(member)


@pytest.mark.parametrize(("a", "gamma", "p"), [(0.3, 1.0, 2), (0.9, 2.0, 1)])
def test_its_parameters_reach_the_likelihood(a: float, gamma: float, p: float) -> None:
    target, shadows, _ = setting(never_held=IMAGES // 2)
    column = {1: 0, 2: 1}[int(p)]
    x = np.stack([standardise(one.values["log_norm"][..., column]).mean(axis=1) for one in (target, *shadows)])
    expected = Rmia(a, gamma).fit(x[1:], np.stack([one.member for one in shadows])).score(x[0])
    found = attack(a, gamma, p).fit(shadows).score(target)
    np.testing.assert_array_equal(found, expected)
    assert not np.array_equal(found, attack(0.5, gamma, p).fit(shadows).score(target))


def test_the_table_of_likelihoods_stays_as_it_is() -> None:
    before = dict(PER_SAMPLE)
    attack(a=0.9)
    assert before == PER_SAMPLE


def test_attack_and_likelihood_share_their_constants() -> None:
    """The offline constant was .3 in the attack and .5 in the likelihood of the same name."""
    configured = OmegaConf.load(ROOT / "conf" / "attack" / "rmia.yaml")
    model = PER_SAMPLE["rmia"]()
    assert isinstance(model, Rmia)
    assert (configured.a, configured.gamma) == (model.a, model.gamma) == (OFFLINE, GAMMA)


def test_unusable_views_are_counted_and_stay_in_the_table() -> None:
    inside = layout(0, 8, IMAGES)
    embedded = answers(50, inside, length=0.4)
    embedded[0][0], embedded[0][1, 0], embedded[1][5], embedded[2][6, 0] = 0, torch.nan, 0, torch.inf
    target, shadows, _ = given(attack(), embedded, inside)
    method = attack().fit(shadows)
    assert np.isfinite(method.score(target)).all()
    assert "4 zero and 1 non-finite embeddings" in " ".join(method.warnings())


def test_wrong_settings_say_what_was_expected() -> None:
    with pytest.raises(InputError, match=r"attack.a must be a number from 0 to 1, got 2"):
        attack(a=2)
    with pytest.raises(InputError, match="p must be a number > 0 or inf, got 0"):
        attack(p=0)
