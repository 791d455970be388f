"""An encoder behind POST /v1/embeddings, in the form that OpenAI, Jina, Infinity and vLLM have, by litserve.

A request is {"model": LAYER, "input": [IMAGE, ...], "encoding_format": "float" | "base64"}; an image is base64, a data
URI or {"image": either}. The answer has an embedding for each image, by its index, as the defence releases it.
"""

import base64
import json
import os
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any, Literal

import psutil
import torch
from fastapi import HTTPException
from jaxtyping import Float
from litserve import LitAPI, LitServer
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor

from lpla.auditing.served_images import image_of
from lpla.contracts.defense import Asked, Defense
from lpla.contracts.encoder import Encoder
from lpla.contracts.inputs import InputError
from lpla.store.artifacts import RECIPE, key_of
from lpla.work.plug_in import Config, plug_in
from lpla.work.stored import stored_encoder

MOST_IMAGES = 1_000
"""In one request, as of the services that lpla knows."""
SECONDS = 600
"""For which a request may wait for those before it."""
WATCHED = 1.0
"""Seconds from one look at whether the server lives to the next."""


class EmbeddingRequest(BaseModel):
    """The body of a request; what else a client of such services sends is refused by name, not dropped."""

    model_config = ConfigDict(extra="forbid")
    model: str
    input: str | list[str | dict[str, str]] = Field(min_length=1, max_length=2**28)
    encoding_format: Literal["float", "base64"] = "float"
    modality: Literal["image"] = "image"
    """Infinity's clients say it."""
    user: str = ""


@dataclass(frozen=True)
class Served:
    """Which encoder is served, and through which defence."""

    target: Config | None
    """The plug-in of a given encoder; None: a stored one."""
    stored: str | None
    """The folder of a stored encoder; None: a given one."""
    defense: Config

    def encoder(self) -> Encoder:
        """Build the encoder, on the CPU; raises InputError with the remedy."""
        if self.target is not None:
            return plug_in(self.target).build().eval()
        return stored_encoder(Path(str(self.stored)))

    @property
    def secret(self) -> int:
        """The owner's, of the defences that draw noise: that of an audit of the same encoder, from its key."""
        if self.target is not None:
            parts = {"target": plug_in(self.target).parts()}
        else:
            parts = json.loads((Path(str(self.stored)) / RECIPE).read_text())
        return int(key_of(parts)[:15], 16)


class EmbeddingService(LitAPI):
    """Answers requests for embeddings in a worker process of its own."""

    def __init__(self, served: Served) -> None:
        super().__init__(api_path="/v1/embeddings")
        self.served = served

    def setup(self, device: str) -> None:
        """Begin in a process that ends with the server."""
        threading.Thread(target=_end_with_the_server, daemon=True).start()
        self.begin(device)

    def begin(self, device: str) -> None:
        """Build the encoder on its device."""
        self.encoder = self.served.encoder().to(device)
        self.release: Defense = plug_in(self.served.defense)
        self.secret = self.served.secret

    def decode_request(self, request: EmbeddingRequest, **_: Any) -> Mapping[str, Any]:
        """Return the images and the form of the answer; HTTP status 400 for what is no image or no layer."""
        if request.model not in self.encoder.layers:
            layers = " or ".join(self.encoder.layers)
            raise HTTPException(404, f"model must be {layers}, a layer of the encoder, got {request.model}")
        sent = [request.input] if isinstance(request.input, str) else request.input
        if len(sent) > MOST_IMAGES:
            raise HTTPException(400, f"input must have at most {MOST_IMAGES} images, got {len(sent)}")
        try:
            images = [image_of(one, f"input[{place}]") for place, one in enumerate(sent)]
        except InputError as unreadable:
            raise HTTPException(400, str(unreadable)) from unreadable
        return {"layer": request.model, "images": images, "base64": request.encoding_format == "base64"}

    def predict(self, x: Mapping[str, Any], **_: Any) -> Mapping[str, Any]:
        """Return what the defence releases of each image; HTTP status 400 for images that the encoder cannot take."""
        try:
            device, secret = torch.device(str(self.device)), self.secret
            found = released(self.encoder, self.release, x["images"], x["layer"], device, secret)
        except (InputError, RuntimeError) as unfit:
            size = " x ".join(map(str, x["images"][0].shape))
            raise HTTPException(400, f"the encoder cannot answer to images of {size} values: {unfit}") from unfit
        return {"embeddings": found, "layer": x["layer"], "base64": x["base64"]}

    def encode_response(self, output: Mapping[str, Any], **_: Any) -> dict[str, Any]:
        """Return the answer's body; HTTP status 500 for an embedding that is not finite, which JSON cannot say."""
        found: Float[Tensor, "B D"] = output["embeddings"]
        if not output["base64"] and not found.isfinite().all():
            place = int((~found.isfinite().all(dim=1)).nonzero()[0])
            raise HTTPException(500, f"the embedding of image {place} is not finite")
        data = [
            {"object": "embedding", "index": place, "embedding": _written(one, output["base64"])}
            for place, one in enumerate(found)
        ]
        usage = {"prompt_tokens": len(found), "total_tokens": len(found)}
        return {"object": "list", "data": data, "model": output["layer"], "usage": usage}


def released(
    encoder: Encoder,
    defense: Defense,
    images: Sequence[Float[Tensor, "C _H _W"]],
    layer: str,
    device: torch.device,
    secret: int,
) -> Float[Tensor, "B D"]:
    """Compute what a defence releases of each image, on the CPU, in single precision.

    Args:
        encoder: the encoder, on the device.
        defense: the defence; a service knows no image behind its views, so that each view is an image of its own.
        images: values in [0, 1]; images of one size go through the encoder together.
        layer: which embedding is asked for.
        device: the encoder's.
        secret: the owner's, of the defences that draw noise.

    Returns:
        A row for each image, in their order.
    """
    sizes: dict[torch.Size, list[int]] = {}
    for place, image in enumerate(images):
        sizes.setdefault(image.shape, []).append(place)
    found: dict[int, Tensor] = {}
    with torch.inference_mode():
        for places in sizes.values():
            batch = torch.stack([images[place] for place in places]).to(device)
            embeddings = encoder.encode(batch.contiguous(memory_format=torch.channels_last))[layer]
            image = torch.tensor([_identity(images[place]) for place in places])
            asked = Asked(layer, image, torch.zeros_like(image), secret, {})
            found |= dict(zip(places, defense.release(embeddings.float(), asked).float().cpu(), strict=True))
    return torch.stack([found[place] for place in range(len(images))])


def run_service(served: Served, host: str, port: int) -> None:
    """Serve until the process is interrupted.

    Args:
        served: the encoder and its defence.
        host: the address to bind to.
        port: the port.
    """
    server = LitServer(EmbeddingService(served), devices=1, timeout=SECONDS, disable_openapi_url=True)
    server.run(host=host, port=port, generate_client_file=False, num_api_servers=1, log_level="warning")


def _identity(image: Float[Tensor, "C H W"]) -> int:
    """A number by which an image is known, of 60 bits of the SHA-256 of its values."""
    return int(sha256(image.numpy().tobytes()).hexdigest()[:15], 16)


def _written(embedding: Float[Tensor, " D"], as_base64: bool) -> list[float] | str:
    """An embedding as JSON has it: numbers, or base64 of float32, the least significant byte first."""
    if as_base64:
        return base64.b64encode(embedding.numpy().astype("<f4").tobytes()).decode()
    return embedding.tolist()


def _end_with_the_server() -> None:
    """End the processes of a server that was killed, which would otherwise wait for its requests for ever."""
    server, beside = psutil.Process(os.getppid()), []
    # Its end is seen by whose child this is: others of its children hold what multiprocessing watches.
    while os.getppid() == server.pid:
        with suppress(psutil.NoSuchProcess):
            beside = server.children(recursive=True)
        time.sleep(WATCHED)
    for one in beside:
        if one.pid != os.getpid() and one.is_running():
            one.kill()
    os._exit(0)
