"""A command line that cannot be used ends in one sentence, before any heavy import, and changes nothing else."""

import os
from collections.abc import Callable

import pytest
from tiny_audit import TINY, Ran

from lpla.report.outputs import command, read

Cli = Callable[..., Ran]

SENTENCES = {
    "epoch=5": "epoch is no setting; did you mean epochs?",
    "arch.temprature=1": "arch.temprature is no setting; did you mean arch.temperature?",
    "trane.batch_size=3": "trane.batch_size is no setting; did you mean train.batch_size?",
    "atack=lpla": "atack is no setting; did you mean attack?",
    "arch=byol arch.momentun=.9": "arch.momentun is no setting; did you mean arch.momentum?",
    "zzzqq=1": "zzzqq is no setting of this audit; `--help` shows them all",
    "arch=simclrr": "simsiam, swav, vicreg, got simclrr; did you mean simclr?",
    "attack=ensemble": "got ensemble; it became bank",
    "lsit": "a setting is given as KEY=VALUE, got lsit",
    "data.root=/a=b": """must be quoted twice: 'data.root="/a=b"'""",
    "data.root=/a,b": """must be quoted twice: 'data.root="/a,b"'; several values to sweep need -m""",
    "store=~/x": """must be quoted twice: 'store="~/x"'""",
    "arch=null": "Config group override must be a string or a list",
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
    ran = cli(*TINY, "p=0,-1", "-m", "seed=1")
    assert "p must be a number > 0 or inf, got -1" in ran.out


@pytest.mark.parametrize("mistake", [[], ["p=0"]])
def test_a_reference_on_the_command_line_costs_no_page(cli: Cli, mistake: list[str]) -> None:
    ran = cli(*TINY, "seed=${shadows}", "layer=backbone", *mistake)
    left = read(ran.folder)
    assert ran.code == bool(mistake) and "seed=${shadows}" in command(left)
    assert (ran.folder / "report.html").exists() == (not mistake)
    assert bool(left.failed) == bool(mistake)
