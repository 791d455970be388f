"""The command line, `lpla` or `python -m lpla`: an audit, as by `run.py`, or one of the commands beside it."""

import gc
import signal
import sys
from typing import Any

from lpla.auditing.commands import COMMANDS, overview, run_command


def audit() -> None:
    """Run the audit whose settings stand on the command line, or answer Hydra's options; Hydra is imported here."""
    import hydra

    from lpla.auditing.command_line import one_sentence

    with one_sentence():
        hydra.main(version_base="1.3", config_path="pkg://lpla.conf", config_name="config")(run_job)()


def run_job(config: Any) -> None:
    """Run a job of the command line; heavy imports wait until here, so that help and typing errors answer at once.

    What they bring lives as long as the process: that the garbage collector goes through it again and again would be a
    fifth of the CPU's time of a job that finds everything.
    """
    from lpla.auditing.command_line import job_begins

    job_begins()
    first = "lpla.auditing.job" not in sys.modules
    if first:
        gc.disable()
    from lpla.auditing.job import run

    if first:
        gc.freeze()
        gc.enable()
        # Lightning is imported later, where something is trained: with Python's threshold, 700, in a quarter more time.
        gc.set_threshold(10_000)
    run(config)


def main() -> None:
    """Run the command that the first word names, or else an audit."""
    helps = sys.argv[1:] in (["--help"], ["-h"])
    if helps or (sys.argv[1:2] and sys.argv[1] in COMMANDS):
        # A reader that has seen enough (`lpla list | head`) is no error.
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    if helps:
        print(overview(), flush=True)
    if not run_command(sys.argv[1:]):
        audit()


if __name__ == "__main__":
    main()
