"""Configuration in, audit out: `python run.py --help`."""

import hydra
from omegaconf import DictConfig

from lpla.auditing.command_line import job_begins, one_sentence


@hydra.main(version_base="1.3", config_path="conf", config_name="config")
def main(config: DictConfig) -> None:
    """One job; heavy imports wait until work starts, so that help and typing errors answer at once."""
    job_begins()
    from lpla.auditing.job import run

    run(config)


if __name__ == "__main__":
    with one_sentence():
        main()
