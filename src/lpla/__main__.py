"""`python -m lpla`, or `lpla` where it is installed: what `run.py` does, `list [GROUP]` and `inspect FILE`."""

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
    elif sys.argv[1:2] == ["inspect"]:
        from lpla.auditing.inspection import show as inspect

        inspect(sys.argv[2:])
    else:
        with one_sentence():
            audit()


if __name__ == "__main__":
    main()
