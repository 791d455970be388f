"""What tests have workers do."""

import os
import signal
import time
from pathlib import Path

import torch
from threadpoolctl import threadpool_info


def meet(folder: Path, expected: int) -> tuple[set[int], str | None, int]:
    """Threads of all libraries, GPU and process; returns when `expected` workers have come."""
    (folder / str(os.getpid())).touch()
    while len(list(folder.iterdir())) < expected:
        time.sleep(0.02)
    threads = {torch.get_num_threads(), *(library["num_threads"] for library in threadpool_info())}
    return threads, os.environ.get("CUDA_VISIBLE_DEVICES"), os.getpid()


def end() -> None:
    """Die without a word."""
    os.kill(os.getpid(), signal.SIGKILL)


def hang() -> None:
    """Work that does not end."""
    time.sleep(3600)


def mistake(sentence: str) -> None:
    """A user's mistake."""
    from lpla.contracts.inputs import InputError

    raise InputError(sentence)


def rehearse(rates: dict[int, float], folder: Path, count: int) -> float:
    """The rate of one of `count` workers; where there is none, the first to come has no room and the others wait."""
    first = not list(folder.iterdir())
    if count in rates:
        meet(folder, count)
        return rates[count]
    (folder / str(os.getpid())).touch()
    if first:
        raise MemoryError("no room")
    hang()
    return 0.0
