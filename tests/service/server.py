"""A service of embeddings on loopback, and one that misbehaves on purpose: python server.py JOURNAL [PORT].

It prints its port. The first part of a path names the fault: /none/v1/embeddings answers as it should, /html/... with a
web page. Every request is a line of the journal before it is answered, so that a kill leaves the count: the path, the
SHA-256 of each image, and whether it is to be answered.
"""

import base64
import email.utils
import hashlib
import io
import json
import sys
import threading
import time
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
from numpy_encoder import encode
from PIL import Image

SEEN: Counter[str] = Counter()
LOCK = threading.Lock()
REFUSED = {"429-seconds": ("retry-after", "0"), "429-ms": ("retry-after-ms", "20"), "429-long": ("retry-after", "9999")}
NO_VECTORS: dict[str, Any] = {"html": "<!doctype html><title>Welcome</title>", "text": "embedding: 1 2 3"}
NO_VECTORS |= {"200-error": {"error": "over quota"}, "scalar": {"model": "net-1", "data": 3}}
"""Replies of status 200 without vectors."""
FAILS_FIRST = 2
"""Requests with a status of failure before the first that is answered."""
CHANGES_AFTER = 3
"""Requests after which a model changes."""


def pixels(file: bytes) -> np.ndarray:
    image = np.asarray(Image.open(io.BytesIO(file)))
    return image[:, :, None] if image.ndim == 2 else image


def packed(vector: np.ndarray, kind: str, fault: str) -> Any:
    """An answer as a service sends it."""
    if kind in ("binary", "ubinary"):
        order = "little" if "little" in fault else "big"
        bits = np.packbits(vector > 0, bitorder=order)
        if kind == "ubinary":
            return bits.tolist()
        return (bits.astype(int) - 128).tolist() if "less" in fault else bits.view(np.int8).tolist()
    if kind in ("int8", "uint8"):
        scaled = np.clip(np.round(vector * 3), -128, 127).astype(int)
        return (scaled + 128 if kind == "uint8" else scaled).tolist()
    if kind == "base64":
        return base64.b64encode(vector.astype("<f4").tobytes()).decode()
    return [float(one) for one in vector]


class Service(BaseHTTPRequestHandler):
    """One request."""

    protocol_version = "HTTP/1.1"
    journal: Path

    def log_message(self, format: str, *args: Any) -> None:
        pass

    def do_GET(self) -> None:
        model = {"name": "net", "versions": ["1"], "platform": "numpy"}
        model |= {"inputs": [{"name": "pixels", "datatype": "FP32", "shape": [-1, 1, 8, 8]}]}
        self.answer(model | {"outputs": [{"name": "vector", "datatype": "FP32", "shape": [-1, 16]}]})

    def do_POST(self) -> None:
        content = self.rfile.read(int(self.headers["content-length"]))
        _, fault, form = self.path.partition("?")[0].split("/", 2)
        with LOCK:
            SEEN[self.path] += 1
            number = SEEN[self.path]
        images, kind = self.images(form, content)
        answered = not self.fails(fault, number)
        line = {"path": self.path, "digests": [hashlib.sha256(one.tobytes()).hexdigest() for one in images]}
        with LOCK, self.journal.open("a") as journal:
            journal.write(json.dumps(line | {"answered": answered}) + "\n")
        if answered:
            self.vectors(fault, number, form, images, kind)

    def images(self, form: str, content: bytes) -> tuple[list[np.ndarray], str]:
        """What is asked about, and how it is to be answered."""
        if "vectorizeImage" in form:
            return [pixels(content)], "float"
        told = json.loads(content)
        if form.endswith("infer"):
            (given,) = told["inputs"]
            found = np.asarray(given["data"], dtype=np.float32).reshape(given["shape"])
            return list(found.transpose(0, 2, 3, 1) * np.float32(255)), "float"
        if form == "v2/embed":
            texts, kind = told["images"], told["embedding_types"][0]
        elif form == "v1/multimodalembeddings":
            texts, kind = [one["content"][0]["image_base64"] for one in told["inputs"]], told["output_dtype"]
        elif form == "custom":
            texts, kind = told["pictures"], "float"
        else:
            texts, kind = [one["image"] for one in told["input"]], told["encoding_format"]
        return [pixels(base64.b64decode(one.rpartition(",")[2])) for one in texts], kind

    def fails(self, fault: str, number: int) -> bool:
        """Answer with a failure, if the fault is one."""
        if fault == "500-always" or (fault == "500-first" and number <= FAILS_FIRST):
            self.answer({"error": "no"}, 500)
        elif fault == "429-date" and number <= FAILS_FIRST:
            self.answer({}, 429, ("retry-after", email.utils.formatdate(time.time() + 1, usegmt=True)))
        elif fault in REFUSED and (number <= FAILS_FIRST or fault == "429-long"):
            self.answer({}, 429, REFUSED[fault])
        elif fault == "401":
            self.answer({"error": f"the key {self.headers.get('authorization')} is not known"}, 401)
        elif fault == "cut" and number <= FAILS_FIRST:
            self.close_connection = True
        elif fault == "elsewhere":
            self.answer({}, 307, ("location", "http://elsewhere.invalid/v1/embeddings"))
        elif fault == "moved":
            self.answer({}, 307, ("location", self.path.replace("moved", "none")))
        elif fault == "404":
            time.sleep(0.05 * number)  # so that requests side by side end one after the other
            self.answer({"error": "no such path"}, 404)
        elif fault in NO_VECTORS:
            self.answer(NO_VECTORS[fault], 200)
        else:
            return False
        return True

    def vectors(self, fault: str, number: int, form: str, images: list[np.ndarray], kind: str) -> None:
        """Answer, perhaps not as one should."""
        if fault == "slow":
            time.sleep(0.05)
        if fault == "late" and number == 1:
            time.sleep(1.5)
        found = encode(np.stack(images))
        if fault == "unit":
            found = found / np.linalg.norm(found, axis=1, keepdims=True)
        if fault == "noisy":
            found = found + np.random.default_rng(number).standard_normal(found.shape).astype(np.float32) * 0.3
        if fault == "nan":
            found[-1, 0] = np.nan
        if fault == "wider" and number > CHANGES_AFTER:
            found = np.hstack([found, found])
        answers = [packed(one, kind, fault) for one in found]
        version = "net-2" if fault == "version" and number > CHANGES_AFTER else "net-1"
        data = [{"index": place, "embedding": one} for place, one in enumerate(answers)]
        data = data[::-1] if fault == "shuffled" else data[:-1] if fault == "fewer" else data
        data = [one | {"index": 0} for one in data] if fault == "twice" else data
        replies = {
            "v2/embed": {"embeddings": {kind: answers}},
            "custom": {"found": [{"vector": one} for one in answers]},
        }
        if "vectorizeImage" in form:
            reply: Any = {"modelVersion": version, "vector": answers[0]}
        elif form.endswith("infer"):
            output = {"name": "vector", "datatype": "FP32", "shape": list(found.shape)}
            reply = {"model_version": "1", "outputs": [output | {"data": found.ravel().astype(float).tolist()}]}
        else:
            reply = replies.get(form, {"model": version, "data": data})
        self.answer(reply)

    def answer(self, reply: Any, status: int = 200, header: tuple[str, str] | None = None) -> None:
        text = (reply if isinstance(reply, str) else json.dumps(reply)).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(text)))
        if header:
            self.send_header(*header)
        self.end_headers()
        self.wfile.write(text)


if __name__ == "__main__":
    Service.journal = Path(sys.argv[1])
    server = ThreadingHTTPServer(("127.0.0.1", int(sys.argv[2]) if len(sys.argv) > 2 else 0), Service)
    server.daemon_threads = True
    print(server.server_address[1], flush=True)
    server.serve_forever()
