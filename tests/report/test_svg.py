"""Figures as SVG: well-formed, with every name, every mark inside the frame, and axes that name round values."""

import re
from pathlib import Path
from xml.etree import ElementTree

import pytest
from left_behind import leave_sweep

from lpla.report import page
from lpla.report.outputs import read
from lpla.report.scales import Scale, _round_values
from lpla.report.svg import HIGH, WIDE, svg


def test_every_figure_is_a_picture_with_its_names_and_marks(tmp_path: Path) -> None:
    sweep = leave_sweep(tmp_path, "attack", ["lpla", "<b>&bank", "c"])
    left = read(sweep)
    drawn = page.figures_of(left)
    assert {"roc", "norms-0", "nulls", "utility"} <= {one.name for one in drawn}
    for one in drawn:
        text = svg(one.plot, one.sentence)
        root = ElementTree.fromstring(text)
        assert "nan" not in text and "inf" not in re.sub("infinity|information", "", text)
        said = [node.text or "" for node in root.iter() if node.tag.endswith(("text", "title"))]
        assert one.sentence in said and one.plot.yaxis[0].axis_label in said
        high = float(root.attrib["viewBox"].split()[3])
        assert high >= HIGH
        for node in root.iter():
            for side, most in (("x", WIDE), ("cx", WIDE), ("y", high), ("cy", high)):
                assert 0 <= float(node.get(side, 0)) <= most
    roc = svg(drawn[0].plot, "")
    names = [node.text or "" for node in ElementTree.fromstring(roc).iter() if node.tag.endswith("text")]
    assert any(name.startswith("<b>&bank") for name in names) and "5 %" in names and "chance, 95 %" in names
    assert roc.count("stroke-dasharray") >= 4 and 'fill="#888888"' in roc
    nulls = svg(next(one.plot for one in drawn if one.name == "nulls"), "")
    assert nulls.count("<circle") == len(left.measured) and nulls.count("<polygon") >= 2 * len(left.measured)


@pytest.mark.parametrize(("low", "high"), [(0.0, 1.0), (-1.23, -0.91), (0, 16), (0.9123, 0.9211), (1e-6, 3e-6)])
def test_an_axis_names_a_few_round_values_within(low: float, high: float) -> None:
    found = _round_values(low, high)
    assert 3 <= len(found) <= 8 and low <= found[0] and found[-1] <= high


def test_places_follow_the_axis() -> None:
    logarithmic = Scale(0.01, 1, 0, 200, logarithmic=True, given=((0.1, "10 %"), (2.0, "200 %")))
    assert (logarithmic.at(0.01), logarithmic.at(0.1), logarithmic.at(1), logarithmic.at(0.001)) == (0, 100, 200, 0)
    assert logarithmic.ticks() == [(100, "10 %")]
    named = Scale(0, 2, 0, 100, names=("a", "b"))
    assert (named.at("a"), named.at(("b", 0.25))) == (25, 87.5) and named.ticks() == [(25, "a"), (75, "b")]
