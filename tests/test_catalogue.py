"""What `python -m lpla list` says: every option of every group, without importing any."""

import subprocess
import sys

import pytest
from tiny_audit import CONF

from lpla.auditing.catalogue import defaults, groups, options, show


def test_every_option_of_every_group_has_a_line() -> None:
    assert set(groups()) == {file.parent.name for file in CONF.glob("*/*.yaml")}
    for group in groups():
        found = options(group)
        assert set(found) == {file.stem for file in (CONF / group).glob("*.yaml")}
        assert all(found.values()), f"{group}: {found}"


def test_a_line_is_what_the_plug_in_says_of_itself_or_else_its_yaml() -> None:
    from lpla.encoders.arch import byol

    assert options("arch")["byol"] == (byol.__doc__ or "").splitlines()[0]
    assert options("backbone")["resnet9"] == "Small: 0.31 million parameters, for work on a CPU."


def test_a_line_is_a_whole_sentence() -> None:
    lines = [line for group in groups() for line in options(group).values()]
    assert all("\n" not in line and len(line) < 220 for line in lines), max(lines, key=len)
    assert not [line for line in lines if line.endswith(("al.", ",", ":")) or line.count("(") != line.count(")")]
    assert options("dataset")["svhn"].endswith("(Netzer et al. 2011).")


def test_it_prints_one_group_with_its_default_marked(capsys: pytest.CaptureFixture) -> None:
    show(["attack"])
    printed = capsys.readouterr().out
    marked = [line.split()[1] for line in printed.splitlines() if line.startswith("  *")]
    assert marked == [defaults()["attack"]] == ["lpla"]
    assert "arch:" not in printed


def test_an_unknown_group_is_named_beside_the_known_ones(capsys: pytest.CaptureFixture) -> None:
    with pytest.raises(SystemExit, match="2"):
        show(["attacks"])
    complaint = capsys.readouterr().err
    assert "'attacks'" in complaint and "attack" in complaint and "views" in complaint


def test_it_imports_nothing_heavy() -> None:
    code = "import sys; from lpla.__main__ import main; sys.argv = ['lpla', 'list']; main(); "
    code += "sys.exit(bool({'torch', 'numpy', 'lightly'} & set(sys.modules)))"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert ran.returncode == 0 and "simclr" in ran.stdout, ran.stderr
