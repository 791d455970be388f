"""What the rows of a sweep say together."""

from lpla.report.family import leaking, tally

ROW = {"layer": "backbone", "settings": [], "attack": "lpla"}
LEAKS = "leaks: the rank test decides"
NOTHING, UNDECIDED = "no leak found at this sample size: AUC .5", "undecided: no test is possible"


def swept(*found: tuple[float | None, str]) -> list[dict]:
    return [ROW | {"seed": seed, "leak_p": p, "verdict": verdict} for seed, (p, verdict) in enumerate(found)]


def test_rows_leak_by_holm_and_not_by_themselves() -> None:
    rows = swept((0.02, "leaks: a"), (0.001, "leaks: a"), (0.6, NOTHING), (0.016, "leaks: a"))
    assert [row["seed"] for row in leaking(rows)] == [0, 1, 3]
    rows = swept((0.02, "leaks: a"), (0.001, "leaks: a"), (0.6, NOTHING), (0.5, NOTHING))
    assert [row["seed"] for row in leaking(rows)] == [1]
    assert "1 of 4 rows leak, Holm 5% (backbone seed=1)" in tally(rows)


def test_undecided_and_invalid_rows_are_counted_apart() -> None:
    rows = swept(
        (0.001, "invalid: the views differ"), (None, UNDECIDED), (None, ""), (0.3, NOTHING), (0.001, "leaks: a")
    )
    counted, holm, invalid = tally(rows)
    for verdict in ("undecided", "invalid", "no leak found at this sample size", "leaks", "undefined"):
        assert f"{verdict}: 1 of 5 rows" in counted
    assert holm == "1 of 2 rows leak, Holm 5% (backbone seed=4)"
    assert invalid == "1 of 4 rows are invalid; where nothing is wrong, chance makes 0.10 of them so, at most"
    assert tally(swept((None, UNDECIDED))) == ["undecided: 1 of 1 rows"]
