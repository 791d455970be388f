"""`python -m lpla`, or `lpla` where it is installed: what `run.py` does, `list`, `inspect` and `shadows`."""

import gc
import sys

import hydra
from omegaconf import DictConfig

from lpla.auditing.command_line import job_begins, one_sentence


@hydra.main(version_base="1.3", config_path="pkg://lpla.conf", config_name="config")
def audit(config: DictConfig) -> None:
    """One job, as in `run.py`."""
    run_job(config)


def run_job(config: DictConfig) -> None:
    """Run a job of the command line; heavy imports wait until here, so that help and typing errors answer at once.

    What they bring lives as long as the process: that the garbage collector goes through it again and again would be a
    fifth of the CPU's time of a job that finds everything.
    """
    job_begins()
    first = "lpla.auditing.job" not in sys.modules
    if first:
        gc.disable()
    from lpla.auditing.job import run

    if first:
        gc.freeze()
        gc.enable()
    run(config)


def main() -> None:
    """The command line."""
    if sys.argv[1:2] == ["list"]:
        from lpla.auditing.catalogue import show

        show(sys.argv[2:])
    elif sys.argv[1:2] == ["inspect"]:
        from lpla.auditing.inspection import show as inspect

        inspect(sys.argv[2:])
    elif sys.argv[1:2] == ["shadows"]:
        from lpla.auditing.shadows import show as shadows

        shadows(sys.argv[2:])
    else:
        with one_sentence():
            audit()


if __name__ == "__main__":
    main()
