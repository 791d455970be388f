"""What the page says of people: its first sentence in every case, and what follows only where it is honest."""

import json
import re
from html import unescape
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from left_behind import leave, leave_sweep

from lpla.metrics.epsilon import epsilon_bound
from lpla.metrics.folder import folder_test
from lpla.report import exposure, page, people
from lpla.report.outputs import read

LEAKS = {
    "verdict": "leaks: the tail test decides: AUC", "auc": 0.72, "auc_low": 0.61, "auc_high": 0.8149, "members": 100,
    "tpr_at_5pct": 0.28, "tpr_at_5pct_low": 0.19, "tpr_at_5pct_high": 0.38, "recipe_verdict": "recipe leaks: AUC",
    "recipe_tpr_at_5pct_low": 0.22, "recipe_tpr_at_5pct_high": 0.34,
}  # fmt: skip
FOUND = (
    "If 5 of 100 outsiders may be wrongly accused, the attack names 28 of the 100 images it was trained on (19 to 38)"
)
PAIRS = (
    "shown an image it was trained on and one it was not, the attack tells which is which in 72 of 100 cases (61 to 81)"
)
NOT_SAFETY = "; no leak found is not safety: what is left to do stands below."


@pytest.mark.parametrize(
    ("changed", "sentence"),
    [
        ({}, f"{FOUND}; over retrainings 22 to 34."),
        ({"recipe_tpr_at_5pct_low": None}, f"{FOUND}."),
        ({"recipe_verdict": "recipe invalid, as"}, f"{FOUND}."),
        (
            {"verdict": "no leak found at this sample size: AUC"},
            f"{FOUND}; over retrainings 22 to 34, where a guess names 5{NOT_SAFETY}",
        ),
        (
            {"tpr_at_5pct_low": 0.04},
            f"{FOUND.replace('19', '4')}; over retrainings 22 to 34, where a guess names 5, but all images together "
            f"leak: {PAIRS}, a guess in 50.",
        ),
        ({"tpr_at_5pct": None}, f"{PAIRS}, a guess in 50."),
        (
            {"tpr_at_5pct": None, "verdict": "no leak found at this sample size: AUC"},
            f"{PAIRS}, a guess in 50{NOT_SAFETY}",
        ),
        (
            {"verdict": "undecided: no test is possible"},
            "How many images the attack names cannot be said: no test is possible.",
        ),
        ({"verdict": "", "auc": None}, "How many images the attack names cannot be said: no attack was defined."),
        (
            {"verdict": "invalid: the views differ"},
            "How many images the attack names cannot be said, as the audit is invalid: the views differ.",
        ),
    ],
)
def test_the_first_sentence(changed: dict[str, Any], sentence: str) -> None:
    said = people.first_sentence(LEAKS | changed)
    assert said == sentence[0].upper() + sentence[1:]


def spoken(job: Path) -> str:
    page.write(job)
    text = unescape((job / "report.html").read_text())
    assert text.index('class="people"') < text.index('class="verdict')
    return text


def told(job: Path, **columns: Any) -> Path:
    """The folder of a job with these columns in each of its rows, the last one being the strongest."""
    rows = json.loads((job / "result.json").read_text())
    (job / "result.json").write_text(json.dumps([row | columns for row in rows]))
    return job


EXPOSED = {
    "eps_low": 0.9, "eps_cap": 1.82, "null_untrained_eps_low": 0.0, "exposed_members": 31, "exposed_precision": 0.96875,
    "exposed_precision_low": 0.838, "exposed_precision_high": 0.999, "null_untrained_exposed_members": 2,
    "null_untrained_exposed_nonmembers": 3, "exposed_members_prior_10pct": 9, "exposed_precision_prior_10pct": 0.25,
    "exposed_members_prior_1pct": None, "exposed_precision_prior_1pct": None, "compared": 2,
}  # fmt: skip


def test_the_page_speaks_of_epsilon_of_exposed_images_and_of_a_folder(tmp_path: Path) -> None:
    job = told(leave(tmp_path / "job", 0), **EXPOSED)
    row = read(job).strongest()[0]
    text, held = spoken(job), np.load(job / "scores.npz")
    score = held["score"][list(held["layer"]).index(row["layer"])]
    bound = epsilon_bound(score, held["member"], 0, 2)
    assert 0 < bound.low < epsilon_bound(score, held["member"], 0).low or bound.low == 0
    assert f"{bound} An untrained encoder's scores contradict none." in text
    assert "All bounds, counts and p-values of this section allow for the row's being chosen among 2." in text
    folder = folder_test(score[held["member"]], score[~held["member"]], choices=2)
    assert f"(p = {folder.p:.2g}, against 100 fair non-members)" in text
    assert re.search(r"would be found in \d+ \(\d+ to \d+\), \d+ \(\d+ to \d+\) and \d+ \(\d+ to \d+\) of 100", text)
    assert "31 of 100 members are named at a threshold that the shadows set, precision .969 [.838 .999]" in text
    assert (
        "under an untrained encoder 2 members and 3 non-members would be. Where 1 in 10 is a member: 9 of 100, " in text
    )
    assert "precision .250. Where 1 in 100 is a member: no honest count at this prior." in text
    assert "A whole folder: as one, the 100 images were trained on" in text
    assert "Folders of 10, 100 and 1,000 images that are drawn from these members" in text


@pytest.mark.slow
@pytest.mark.parallel
def test_what_cannot_be_said_of_people_is_not_said(tmp_path: Path) -> None:
    none = {name: None for name in EXPOSED}
    listed = spoken(told(leave(tmp_path / "listed", 0), **none, split="given"))
    assert "a list of members that was handed in is no random draw" in listed and "contradict" not in listed
    assert "no honest count of single images" in listed and "members are named" not in listed
    labelled = spoken(told(leave(tmp_path / "labelled", 0), **none, knowledge="labels"))
    assert "No bound on epsilon: the attack learnt from the labels of the very images" in labelled
    assert "Single images were not counted, as by labels no threshold can be set" in labelled
    assert (
        "honest count" not in labelled
        and "All bounds" not in labelled
        and "A whole folder: no test, as each image's score" in labelled
    )
    # The sentence spoke of a threshold on the shadows also where there were none.
    alone = spoken(told(leave(tmp_path / "alone", 0), **none, knowledge="known_nonmembers", shadows=0))
    assert "no honest count of single images: there are no shadows whose scores could set a threshold" in alone
    assert "on the shadows no threshold" not in alone and "the shadows' threshold" not in alone
    wrong = told(leave(tmp_path / "wrong", 0), **EXPOSED | {"exposed_precision": 0.7, "exposed_precision_high": 0.8})
    assert "below the 90% that the threshold was set for: this count is not to be used" in spoken(wrong)
    leave(tmp_path / "earlier", 0)
    rows = json.loads((tmp_path / "earlier" / "result.json").read_text())
    (tmp_path / "earlier" / "result.json").write_text(
        json.dumps([{k: v for k, v in row.items() if k not in EXPOSED} for row in rows])
    )
    earlier = spoken(tmp_path / "earlier")
    assert (
        "an epsilon" not in earlier
        and "bound on" not in earlier
        and "honest count" not in earlier
        and "A whole folder" in earlier
    )
    invalid = spoken(told(leave(tmp_path / "invalid", 0), **EXPOSED, verdict="invalid: the views differ"))
    assert "cannot be said, as the audit is invalid: the views differ." in invalid
    assert 'id="people"' not in invalid and "A whole folder" not in invalid
    unknown = leave(tmp_path / "unknown", 0)
    (unknown / "scores.npz").unlink()
    assert "A whole folder" not in spoken(unknown) and "If 5 of 100 outsiders" in spoken(unknown)
    # The pages of sweeps hold the sentence alone, of the row with the highest AUC.
    sweep = leave_sweep(tmp_path / "sweep", "p", [1, 2])
    assert "If 5 of 100 outsiders" in spoken(sweep) and 'id="people"' not in spoken(sweep)


def test_the_page_says_how_many_images_are_named_in_every_retraining(tmp_path: Path) -> None:
    job = leave(tmp_path / "job", 0)
    strongest = read(job).strongest()[0]
    member = np.array([[1, 1, 1, 1], [1, 1, 1, 0], [0, 1, 1, 0]], dtype=bool)
    named = np.array([[1, 1, 1, 1], [1, 1, 0, 1], [0, 1, 0, 1]], dtype=bool)
    rows = exposure.stable(np.array([7, 3, 9, 5]), named, member, attack="lpla", layer=strongest["layer"])
    exposure.write(rows, job)
    text = spoken(job)
    # Image 5 is named, rightly, in the only retraining that held it: that is not several.
    assert "Of 4 images that up to 3 retrainings held, 4 are named in at least one of these and 2 in every one" in text
    assert "of several; 1 are named, wrongly, in one that did not hold them (exposed.csv)." in text
    assert 'download="exposed.csv"' in text
    exposure.write(exposure.stable(np.arange(4), ~named & False, member, attack="lpla", layer=strongest["layer"]), job)
    assert "None of 4 images is named in any of the retrainings (exposed.csv)." in spoken(job)


def test_of_several_attacks_the_page_speaks_of_the_strongest(tmp_path: Path) -> None:
    job = leave(tmp_path / "job", 0)
    rows = json.loads((job / "result.json").read_text())
    weakest = min(rows, key=lambda row: row["auc"])
    weakest |= {"strongest": "strongest of 2 rows: lpla", "tpr_at_5pct": 0.77, "tpr_at_5pct_low": 0.7}
    (job / "result.json").write_text(json.dumps(rows))
    assert "the attack names 77 of the 100 images" in spoken(job)


def test_a_leak_that_the_choice_among_rows_may_have_made_is_not_said_to_be_one(tmp_path: Path) -> None:
    """Of 19 rows without a leak the best one says "leaks" now and then; the page speaks of just that one."""
    job = leave(tmp_path / "job", 0)
    rows = json.loads((job / "result.json").read_text())
    weak = {"leak_p": 0.02, "recipe_leak_p": 0.4, "recipe_rank_p": 0.011, "recipe_verdict": "recipe leaks: AUC 0.550"}
    many = [
        rows[0] | {"leak_p": 0.6, "attack": f"a{one}", "recipe_leak_p": 1.0, "recipe_rank_p": 0.5} for one in range(18)
    ]
    (job / "result.json").write_text(json.dumps([rows[1] | weak | {"auc": 0.99}, *many]))
    text = spoken(job)
    assert "the best of 19 rows may find as much by chance, so that it is undecided whether there is a leak." in text
    chosen = "Recipe leaks: AUC 0.550. This row was chosen among 19; Holm's p over their recipes is 0.42"
    assert f"{chosen}, so that chance may have made it." in text
    # Strong enough, and alone, it is said as it stands.
    strong = weak | {"leak_p": 1e-6, "recipe_rank_p": 1e-9}
    (job / "result.json").write_text(json.dumps([rows[1] | strong | {"auc": 0.99}, *many]))
    text = spoken(job)
    assert "by chance, so" not in text and "Holm's p over their recipes is 3.8e-08." in text
    (job / "result.json").write_text(json.dumps([rows[1] | weak]))
    text = spoken(job)
    assert "by chance, so" not in text and "<p>Recipe leaks: AUC 0.550.</p>" in text
