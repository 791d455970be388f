"""What `python -m lpla list` says: every option of every group, without importing any."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import get_args

import pytest
from tiny_audit import CONF, TINY_GIVEN

from lpla.auditing.attack_run import AttackRun
from lpla.auditing.catalogue import defaults, groups, needs, options, show
from lpla.auditing.plan import Plan, plan
from lpla.auditing.settings import composed
from lpla.contracts.evidence import Need
from lpla.contracts.inputs import UndefinedError
from lpla.store.artifacts import Store
from lpla.work.plug_in import plug_in


def test_every_option_of_every_group_has_a_line() -> None:
    assert set(groups()) == {file.parent.name for file in CONF.glob("*/*.yaml")}
    for group in groups():
        found = options(group)
        assert set(found) == {file.stem for file in (CONF / group).glob("*.yaml")}
        assert all(found.values()), f"{group}: {found}"


def test_a_line_is_what_the_plug_in_says_of_itself_or_else_its_yaml() -> None:
    from lpla.encoders.arch import byol

    assert options("arch")["byol"] == (byol.__doc__ or "").splitlines()[0]
    assert options("backbone")["resnet9"] == "A small ResNet for work on a CPU: 0.31 million parameters."


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


ATTACKS = [one for one in options("attack") if one != "all"]


@pytest.mark.parametrize("name", ATTACKS)
def test_what_an_attack_needs_stands_in_its_file_as_it_is_configured(name: str, tiny: Callable[..., Plan]) -> None:
    attack = plug_in(tiny(f"attack={name}").attack)
    assert needs(name) == attack.needs() and {*needs(name)} <= {*get_args(Need)} and needs(name)


@pytest.mark.parametrize("name", ["alignment", "encodermi_t", "encodermi_v", "log_angle", "lpla", "quantile", "rmia"])
def test_an_attack_that_needs_several_views_does_not_exist_for_one(
    name: str, tiny: Callable[..., Plan], tiny_store: str
) -> None:
    work = tiny(f"attack={name}", "queries=1", tiny_store)
    assert ("several views" in needs(name)) == bool(work.lacking(plug_in(work.attack)))
    try:
        run = AttackRun(work, Store(tiny_store.removeprefix("store=")), "backbone")
        run.score(run.fit())
    except UndefinedError:
        assert "several views" in needs(name)
    else:
        assert "several views" not in needs(name)


def test_what_is_lacking_names_the_setting_that_enables_it(tiny: Callable[..., Plan]) -> None:
    def lacking(*overrides: str) -> str:
        work = tiny(*overrides)
        return work.lacking(plug_in(work.attack))

    assert lacking("attack=rmia") == lacking("attack=lpla", "knowledge.kind=labels") == ""
    assert lacking("attack=rmia", "knowledge.kind=labels").startswith("it needs shadows: set knowledge.kind=shadows on")
    assert "target.shadows" in lacking("attack=alignment", "knowledge.kind=labels")
    assert not lacking("attack=alignment", "attack.likelihood=auto", "knowledge.kind=labels")
    assert lacking("attack=lpla", "attack.likelihood=hier", "knowledge.kind=labels").startswith(
        "it needs shadows or kn"
    )
    assert not lacking(
        "attack=lpla", "attack.likelihood=hier", "knowledge.kind=known_nonmembers", "knowledge.images=30"
    )
    script = f"target.file={Path(__file__).parent / 'foreign' / 'files' / 'script.pt'}"
    given = ["target=exported", script, "target.run_code=true", "target.normalize=half", "dataset=digits"]
    work = plan(composed([*TINY_GIVEN, "attack=partcrop", *given, "split=balanced", "members=20"]))
    assert "a map of positions: set" in work.lacking(plug_in(work.attack))
    assert not lacking("attack=partcrop")


def test_it_says_what_attacks_need(capsys: pytest.CaptureFixture) -> None:
    show(["attack"])
    lines = capsys.readouterr().out.splitlines()
    (place,) = (number for number, line in enumerate(lines) if line.strip().startswith("log_angle"))
    assert lines[place + 1].strip() == "needs shadows or labels and several views"
    show(["arch"])
    assert "needs" not in capsys.readouterr().out


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
