"""A server process on loopback, and targets that ask it."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

from lpla.encoders.target.http import Http
from lpla.store.answers import Answers

HERE = Path(__file__).parent


class Server:
    """A process of `server.py`; it can be killed and started again at the same port."""

    def __init__(self, folder: Path) -> None:
        self.journal = folder / "journal.jsonl"
        self.journal.touch()
        self.port = 0
        self.start()

    def start(self) -> None:
        """Start it."""
        command = [sys.executable, str(HERE / "server.py"), str(self.journal), str(self.port)]
        # One thread, as of a numpy that starts with every core it would be slow beside others.
        self.process = subprocess.Popen(
            command, stdout=subprocess.PIPE, text=True, env=os.environ | {"OMP_NUM_THREADS": "1"}
        )
        assert self.process.stdout
        self.port = int(self.process.stdout.readline())

    def kill(self) -> None:
        """Kill it without a word of warning."""
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()
        assert self.process.stdout
        self.process.stdout.close()

    def url(self, path: str) -> str:
        """The address of a path, whose first part names the fault."""
        return f"http://127.0.0.1:{self.port}/{path}"

    def requests(self, path: str) -> list[dict[str, Any]]:
        """What was asked at a path, request by request."""
        lines = [json.loads(line) for line in self.journal.read_text().splitlines()]
        return [one for one in lines if one["path"].startswith(f"/{path}")]

    def queries(self, path: str) -> list[str]:
        """The images that were answered at a path."""
        return [one for request in self.requests(path) if request["answered"] for one in request["digests"]]


def target(store: Path, **settings: Any) -> Http:
    """A service as a target that keeps its answers in a store."""
    made = Http(**settings, store=str(store))
    return made.keeping(Answers(store, made.asks()))
