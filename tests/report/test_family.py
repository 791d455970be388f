"""What the rows of a sweep say together."""

from lpla.report.conclusion import conclude
from lpla.report.family import leaking
from lpla.report.tally import tally

ROW = {"layer": "backbone", "settings": [], "attack": "lpla"}
LEAKS = "leaks: the rank test decides"
NOTHING, UNDECIDED = "no leak found at this sample size: AUC .5", "undecided: no test is possible"


def swept(*found: tuple[float | None, str]) -> list[dict]:
    return [ROW | {"seed": seed, "leak_p": p, "verdict": verdict} for seed, (p, verdict) in enumerate(found)]


def statement(rows: list[dict]) -> str:
    return conclude(rows).sentence


def test_rows_leak_by_holm_and_not_by_themselves() -> None:
    rows = swept((0.02, "leaks: a"), (0.001, "leaks: a"), (0.6, NOTHING), (0.016, "leaks: a"))
    assert [row["seed"] for row in leaking(rows)] == [0, 1, 3]
    rows = swept((0.02, "leaks: a"), (0.001, "leaks: a"), (0.6, NOTHING), (0.5, NOTHING))
    assert [row["seed"] for row in leaking(rows)] == [1]
    assert "1 of 4 rows leak, Holm 5% (backbone seed=1)" in tally(rows)


def test_many_leaks_are_a_count_and_the_first_ten_by_name() -> None:
    first = ", ".join(f"backbone seed={seed}" for seed in range(10))
    many = swept(*[(1e-9, "leaks: a")] * 420)
    assert f"420 of 420 rows leak, Holm 5% ({first} and 410 more)" in tally(many)


def test_undecided_and_invalid_rows_are_counted_apart() -> None:
    rows = swept(
        (0.001, "invalid: the views differ"), (None, UNDECIDED), (None, ""), (0.3, NOTHING), (0.001, "leaks: a")
    )
    counted, holm, invalid = tally(rows)
    for verdict in ("undecided", "invalid", "no leak found at this sample size", "leaks", "undefined"):
        assert f"{verdict}: 1 of 5 rows" in counted
    assert holm == "1 of 2 rows leak, Holm 5% (backbone seed=4)"
    assert invalid == "1 of 4 rows are invalid; where nothing is wrong, chance makes 0.11 of them so, at most"
    assert tally(swept((None, UNDECIDED))) == ["undecided: 1 of 1 rows"]


def test_rows_of_an_attack_that_does_not_look_at_p_count_once() -> None:
    blind = ROW | {"attack": "blind", "auc": 0.51, "null_untrained_auc": 0.5, "verdict": NOTHING}
    norms = ROW | {"attack": "lpla", "verdict": "leaks: a"}
    repeated = [blind | {"p": p, "leak_p": 0.4} for p in (1, 2, 3, 4)]
    rows = [*repeated, *(norms | {"p": p, "auc": 0.6 + p / 100, "leak_p": 0.012} for p in (1, 2))]
    # By six rows p = .012 would be .072, by three it is .036.
    assert [row["p"] for row in leaking(rows)] == [1, 2]
    holm, repeats, *_ = tally(rows)
    assert statement(rows) == "the encoder leaks: 2 of 3 rows say so (lpla backbone p=1, lpla backbone p=2)"
    assert "2 of 3 rows leak" in holm
    assert repeats.startswith("3 of 6 rows repeat another one and are not counted: ")


def test_rows_that_differ_in_a_figure_a_choice_or_have_none_are_no_repeats() -> None:
    one = ROW | {"auc": 0.6, "leak_p": 0.4, "verdict": NOTHING, "p": 1}
    undefined = ROW | {"auc": None, "verdict": UNDECIDED}
    rows = [one, one | {"auc": 0.61, "p": 2}, one | {"attack": "rmia"}, one | {"seed": 1}, undefined, undefined]
    assert not any("repeat" in sentence for sentence in tally(rows))


def test_members_that_were_shown_unequally_often_are_spoken_of() -> None:
    rows = [ROW | {"epochs": 50, "exposure": shown, "members": n} for shown, n in ((50.0, 20), (26.3, 19))]
    assert tally(rows)[-1].startswith("the targets saw each of their members unequally often (26.3 to 50.0 times in 50")
    assert "unequally" not in str(tally([rows[0], rows[0] | {"members": 40}, rows[1] | {"epochs": 30}]))


def test_several_rows_of_one_encoder_are_a_statement_on_it() -> None:
    """Two layers of one encoder read "leaks: 2 of 2 rows"."""
    layers = [ROW | {"layer": one, "verdict": "leaks: a", "leak_p": 0.001} for one in ("backbone", "projector")]
    said = "the encoder leaks: 2 of 2 rows say so (backbone, projector)"
    assert statement(layers) == said and "encoder" not in str(tally(layers))
    weak = [*layers, *(ROW | {"attack": f"a{n}", "verdict": "leaks: a", "leak_p": 0.03} for n in range(3))]
    assert statement(weak).startswith("the encoder leaks: 5 of 5 rows")
    assert statement(weak).endswith(", 2 of them after Holm's correction for 5 rows")
    assert statement(weak[2:]).startswith("it is undecided whether the encoder leaks: 3 of 3 rows")
    assert statement([one | {"verdict": NOTHING, "auc": 0.5} for one in layers]).startswith(
        "no leak of the encoder found"
    )
    assert statement(layers[:1]) == "leaks: a"
    assert statement([layers[0], layers[1] | {"seed": 1}]).startswith("2 of 2 encoders leak: 2 of 2 rows say so")
    two = [one | {"seed": seed} for seed in (0, 1) for one in layers]
    assert tally([*two, layers[0] | {"seed": 2, "verdict": NOTHING}])[0] == (
        "each row by itself: leaks: 2 of 3 encoders, no leak found at this sample size: 1 of 3 encoders (5 rows)"
    )


def test_a_row_without_a_leak_of_its_own_is_not_counted_as_one_by_holm() -> None:
    """A p-value between the level of a row and that of the family made a row "leak" whose verdict did not say so."""
    rows = swept((0.03, NOTHING), (0.03, UNDECIDED), (0.001, "invalid: a"))
    assert leaking(rows[:1]) == leaking(rows) == []
    assert "0 of 1 rows leak, Holm 5%" in tally(rows[:1])


def test_the_choice_among_attacks_is_allowed_for_in_the_conclusion() -> None:
    """The strongest row alone says leaks by Holm, whose p-value is not the one that its headline gives."""
    rows = [ROW | {"attack": f"a{n}", "verdict": NOTHING, "leak_p": 0.9} for n in range(4)]
    rows[1] |= {"verdict": "leaks: a", "leak_p": 0.006, "choice_p": 0.056}
    assert leaking(rows) and "undecided" in statement(rows) and "p = 0.056" in statement(rows)
    rows[1] |= {"choice_p": 0.01}
    assert statement(rows).startswith("the encoder leaks: 1 of 4 rows")
    # A choice that fell on an invalid row says nothing of the others.
    rows[1] |= {"verdict": "invalid: a"}
    rows[2] |= {"verdict": "leaks: a", "leak_p": 0.001}
    assert conclude(rows).rows == [rows[2]]
    # Who names one attack has chosen none.
    rows[1] |= {"verdict": "leaks: a", "choice_p": 0.056}
    assert conclude(rows).kind == "undecided" and conclude(rows[1:2]).kind == "leaks"
