"""A download that is cut off: named, not taken for the data set, and got again by the same command."""

import hashlib
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from scipy.io import savemat
from torchvision import datasets

from lpla.contracts.inputs import InputError
from lpla.data.dataset.torchvision import SOURCES, Torchvision

pytestmark = pytest.mark.slow

COUNT = 40


def archive() -> bytes:
    out = BytesIO()
    pixels = np.random.default_rng(0).integers(0, 256, (32, 32, 3, COUNT), dtype=np.uint8)
    savemat(out, {"X": pixels, "y": np.ones((COUNT, 1))})
    return out.getvalue()


class Server(BaseHTTPRequestHandler):
    """Sends as much of the file as the line lets through, having promised all of it."""

    content = archive()
    share = 1.0

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(len(self.content)))
        self.end_headers()
        self.wfile.write(self.content[: int(len(self.content) * self.share)])

    do_HEAD = do_GET  # noqa: N815

    def log_message(self, format: str, *args: object) -> None:
        """Not on the terminal."""


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[type[Server]]:
    line = ThreadingHTTPServer(("127.0.0.1", 0), Server)
    thread = threading.Thread(target=line.serve_forever)
    thread.start()
    url = f"http://127.0.0.1:{line.server_address[1]}/train_32x32.mat"
    md5 = hashlib.md5(Server.content, usedforsecurity=False).hexdigest()
    monkeypatch.setattr(datasets.SVHN, "split_list", {"train": [url, "train_32x32.mat", md5]})
    monkeypatch.setitem(SOURCES["svhn"].counts, "train", COUNT)
    yield Server
    line.shutdown()
    thread.join()
    line.server_close()


def of_svhn(root: Path, download: bool) -> Torchvision:
    return Torchvision(name="svhn", root=str(root), download=download, part="train")


@pytest.mark.parametrize("share", [0.0, 0.5])
def test_a_download_cut_off(
    share: float, server: type[Server], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "share", share)
    file = tmp_path / "train_32x32.mat"
    with pytest.raises(InputError, match=rf"^dataset=svhn.* {file} "):
        of_svhn(tmp_path, download=True).load()
    assert not file.exists() or file.stat().st_size < len(server.content)
    # What is there is not taken for the data set.
    with pytest.raises(InputError, match=rf"^dataset=svhn.*{file.name}.*data\.download=true"):
        of_svhn(tmp_path, download=False).load()
    monkeypatch.setattr(server, "share", 1.0)
    assert len(of_svhn(tmp_path, download=True).load()) == COUNT
    assert len(of_svhn(tmp_path, download=False).load()) == COUNT
