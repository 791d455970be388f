"""A process of `lpla serve`, as a user starts it."""

import json
import os
import socket
import subprocess
import sys
import urllib.request
from typing import Any

import psutil
from tiny_audit import ROOT, wait_for

STARTS = 300
"""Seconds, at most, until it answers."""


class Server:
    """A process of `lpla serve` on a free port of loopback."""

    def __init__(self, *settings: str) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        command = [sys.executable, "-m", "lpla", "serve", *settings, "--port", str(self.port)]
        self.process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        try:
            wait_for(self.is_ready, STARTS)
        except BaseException:
            self.process.kill()
            raise
        self.others = psutil.Process(self.process.pid).children(recursive=True)

    @property
    def url(self) -> str:
        """Where it takes images."""
        return f"http://127.0.0.1:{self.port}/v1/embeddings"

    def is_ready(self) -> bool:
        """Whether it answers; fails once it has ended."""
        assert self.process.poll() is None, self.process.communicate()[0]
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/health", timeout=5) as answer:
                return answer.status == 200
        except OSError:
            return False

    def ask(self, **body: Any) -> dict[str, Any]:
        """Its answer to a request."""
        request = urllib.request.Request(
            self.url,
            json.dumps({"model": "backbone"} | body).encode(),
            {"Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=60) as answer:
            return json.load(answer)

    def end(self, by: int) -> str:
        """End it by a signal, and return what it said, once its other processes have ended too."""
        os.kill(self.process.pid, by)
        said = self.process.communicate(timeout=60)[0]
        wait_for(lambda: not any(one.is_running() for one in self.others), 20)
        return said
