"""A command line that cannot be used ends in one sentence, before any heavy import, and changes nothing else."""

import os
from collections.abc import Callable

import pytest
from tiny_audit import TINY, Ran, tiny_settings

from lpla.auditing.command_line import check_choices, check_once, one_sentence
from lpla.contracts.inputs import InputError
from lpla.report.outputs import command, read

Cli = Callable[..., Ran]

SENTENCES = {
    "epoch=5": "epoch is no setting; did you mean epochs?",
    "arch.temprature=1": "arch.temprature is no setting; did you mean arch.temperature?",
    "trane.batch_size=3": "trane.batch_size is no setting; did you mean train.batch_size?",
    "atack=lpla": "atack is no setting; did you mean attack?",
    "arch=byol arch.momentun=.9": "arch.momentun is no setting; did you mean arch.momentum?",
    "attack.collective=true": "attack.collective is no setting under the options chosen here: it is one of attack=bank",
    "backbone.patch_size=2": "it is one of backbone=vit_micro and backbone=vit_small and backbone=vit_tiny",
    "zzzqq=1": "zzzqq is no setting of this audit; `--help` shows them all",
    "arch=simclrr": "simsiam, swav, vicreg, got simclrr; did you mean simclr?",
    "attack=ensemble": "got ensemble; it became bank",
    "lsit": "a setting is given as KEY=VALUE, got lsit",
    "data.root=/a=b": """must be quoted twice: 'data.root="/a=b"'""",
    "data.root=/a,b": """must be quoted twice: 'data.root="/a,b"'; several values to sweep need -m""",
    "store=~/x": """must be quoted twice: 'store="~/x"'""",
    "arch=null": "mocov3, nnclr, simclr, simsiam, swav, vicreg, got null",
    "attack=": "partcrop, quantile, rmia, got nothing",
    "attack=[2,1]": "partcrop, quantile, rmia, got [2,1]",
    "attack=[lpla,bank]": "partcrop, quantile, rmia, got [lpla,bank]",
    "dataset=[null]": "stl10, svhn, tiny_imagenet, got [null]",
    "experiment=[1]": "tradeoff, tradeoff_medium, tradeoff_small, wandb_sweep, got [1]",
    "views=1": "views must be one of crops, simclr, got 1",
    "-m attack=1,2": "partcrop, quantile, rmia, got 1,2",
    "executor={a:1}": "executor must be one of dask, processes, serial, slurm, got {a:1}",
    "~observe": "observe cannot be taken away by ~observe, as every audit needs it: left alone, it keeps its default",
    "~train.batch_size": "train.batch_size cannot be taken away",
    "~p": "p cannot be taken away",
    "~attack=lpla": "attack cannot be taken away by ~attack=lpla",
}


@pytest.mark.parametrize("given", SENTENCES)
def test_what_hydra_cannot_use_is_one_sentence(cli: Cli, given: str) -> None:
    ran = cli(*given.split())
    (line,) = ran.err.splitlines()
    assert ran.code == 1 and line.startswith("error: ") and SENTENCES[given] in line
    assert "HYDRA_FULL_ERROR" not in os.environ


def test_the_quoted_form_is_understood(cli: Cli) -> None:
    ran = cli(*TINY, 'data.root="/a,b=c"', "dataset=cifar100")
    assert ran.code == 1 and "cifar-100-python" in ran.out and not ran.err


def test_a_sweep_may_be_asked_for_at_the_end(cli: Cli) -> None:
    ran = cli(*TINY, "p=2,-1", "-m", "seed=1")
    assert ran.code == 1 and "seed=1): p must be a number > 0 or inf, got -1; no job was begun" in ran.err


@pytest.mark.parametrize(("sweep", "said"), [
    (("p=1,-1",), "error: job 1 (p=-1): p must be a number > 0 or inf, got -1; no job was begun"),
    (("seed=1,2", "attack=lpla,bank", "attack.p=3"), "error: job 0 (seed=1 attack=lpla attack.p=3): attack.p"),
    (("experiment=table3_small", "backbone.width=100"), "): backbone.width must be a number from 0.015625 to 64,"),
])  # fmt: skip
def test_every_job_of_a_sweep_is_checked_before_the_first_one_begins(cli: Cli, sweep: tuple[str], said: str) -> None:
    ran = cli("-m", *sweep)
    assert ran.code == 1 and said in ran.err and "Traceback" not in ran.err + ran.out
    assert not ran.out and not ran.folder.joinpath("outputs").exists()


TWICE = {
    "attack=a attack=b": "attack must be given once, got attack=a and attack=b; several values are swept by -m attack=",
    "p=1 queries=2 p=1": "p must be given once",
    "+train.x=1 train.x=2": "train.x must be given once",
}


@pytest.mark.parametrize("given", TWICE)
def test_what_is_given_twice_is_refused(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture, given: str
) -> None:
    monkeypatch.setattr("sys.argv", ["run.py", *given.split()])
    with pytest.raises(SystemExit), one_sentence():
        pytest.fail("Hydra would drop the first one")
    assert f"error: {TWICE[given]}" in capsys.readouterr().err


def test_what_an_audit_may_lack_may_be_taken_away_and_options_may_be_swept() -> None:
    check_choices(["~logger", "~arch.temperature", "~views", "attack=lpla,bank", "attack=glob(*)", "experiment=limits"])
    check_choices(["+views@shadow_views=crops", "attack=choice(lpla,bank)", "--config-dir=attack", "p=[2]"])


def test_the_python_door_refuses_the_same() -> None:
    kinds = "a single value, a list, or settings by name"
    for given, said in {
        "attack=[2,1]": "attack must be one of",
        "~observe": "cannot be taken away",
        "ps={a:1}": rf"^ps must keep the kind of value that it has \({kinds}\), got {{a:1}}$",
    }.items():
        with pytest.raises(InputError, match=said):
            tiny_settings(given)


def test_options_of_hydra_and_different_settings_may_stand_side_by_side() -> None:
    check_once(["--config-dir=a", "--config-dir=b", "-m", "p=1", "ps=[1]", "attack=lpla", "attack.p=1", "~logger"])


@pytest.mark.parametrize("mistake", [[], ["p=0"]])
def test_a_reference_on_the_command_line_costs_no_page(cli: Cli, mistake: list[str]) -> None:
    ran = cli(*TINY, "seed=${shadows}", "layer=backbone", *mistake)
    left = read(ran.folder)
    assert ran.code == bool(mistake) and "seed=${shadows}" in command(left)
    assert (ran.folder / "report.html").exists() == (not mistake)
    assert bool(left.failed) == bool(mistake)
