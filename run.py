"""Configuration in, audit out: `python run.py --help`."""

import hydra
from omegaconf import DictConfig

from lpla.__main__ import run_job
from lpla.auditing.command_line import one_sentence


@hydra.main(version_base="1.3", config_path="conf", config_name="config")
def main(config: DictConfig) -> None:
    """One job."""
    run_job(config)


if __name__ == "__main__":
    with one_sentence():
        main()
