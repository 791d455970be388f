"""`python -m lpla`, or `lpla` where it is installed: what `python run.py` does in a checkout, and `list [GROUP]`."""

import sys

import hydra
from omegaconf import DictConfig

from lpla.auditing.command_line import job_begins, one_sentence


@hydra.main(version_base="1.3", config_path="pkg://lpla.conf", config_name="config")
def audit(config: DictConfig) -> None:
    """One job, as in `run.py`."""
    job_begins()
    from lpla.auditing.job import run

    run(config)


def main() -> None:
    """The command line."""
    if sys.argv[1:2] == ["list"]:
        from lpla.auditing.catalogue import show

        show(sys.argv[2:])
    else:
        with one_sentence():
            audit()


if __name__ == "__main__":
    main()
