"""How services are asked and how they answer: a request's body as a template, and JMESPaths into the reply.

The forms are those of the services' own documentation; `custom` has none, and is told all of it.
"""

from __future__ import annotations

import base64
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, Literal

import jmespath
import numpy as np
from jmespath.exceptions import JMESPathError

from lpla.contracts.inputs import InputError
from lpla.contracts.settings import shown

Image = Literal["base64", "data_uri", "bytes", "tensor"]
Answers = Literal["float", "base64", "int8", "uint8", "binary", "ubinary"]
PATHS = frozenset(("vectors", "index", "reports"))
"""Settings that are JMESPaths into a reply."""
BEARER = ("Authorization", "Bearer $key")
PNG_TYPE = "image/png"


@dataclass(frozen=True)
class Form:
    """How one kind of service is asked.

    In `body` and `item`, $images stands for the list of items, $image for an image, $model, $dimension and $answers
    for the settings of these names; a field whose setting is null is left out.
    """

    body: Any = None
    item: Any = "$image"
    image: Image = "base64"
    vectors: str = ""
    """JMESPath to the list of vectors; here $answers stands for the setting."""
    index: str | None = None
    """JMESPath to the list of places to which they belong; None: they come in order."""
    version: str | None = None
    """JMESPath to what the reply says of the model."""
    key: tuple[str, str] = BEARER
    """The header with the key."""
    batch: int = 1
    url: str | None = None

    def content(self, images: Sequence[Any], said: Mapping[str, Any]) -> dict[str, Any]:
        """What a request of these images holds, as keyword arguments of httpx.

        Args:
            images: PNG files.
            said: The settings for which names of the template stand.
        """
        if self.image == "bytes":
            return {"content": images[0], "headers": {"Content-Type": PNG_TYPE}}
        texts = [base64.b64encode(one).decode() for one in images]
        texts = [f"data:{PNG_TYPE};base64,{one}" for one in texts] if self.image == "data_uri" else texts
        items = [filled(self.item, {"$image": one}) for one in texts]
        names = {f"${name}": value for name, value in said.items()}
        return {"json": filled(self.body, names | {"$images": items, "$image": texts[0]})}

    def found(self, reply: Any, said: Mapping[str, Any]) -> tuple[list[Any], list[Any] | None, str | None]:
        """The vectors of a reply, the places to which they belong and the version that it names."""
        vectors = sought(self.vectors.replace("$answers", str(said["answers"])), reply, "target.vectors")
        index = sought(self.index, reply, "target.index") if self.index else None
        version = sought(self.version, reply, "target.reports") if self.version else None
        vectors = vectors if isinstance(vectors, list) else []
        if index is not None and not isinstance(index, list):
            raise InputError(f"target.index must lead to a list of places, got {type(index).__name__}")
        return vectors, index, None if version is None else str(version)


@dataclass(frozen=True)
class Kserve(Form):
    """KServe's and Triton's inference protocol v2: tensors in, tensors out, as the model's own description has them."""

    image: Image = "tensor"
    input: str = ""
    datatype: str = "FP32"
    last: bool = False
    """Whether the channels stand last."""
    output: str = ""

    def described(self, model: Mapping[str, Any]) -> Kserve:
        """The form as the model describes itself (GET v2/models/NAME); raises InputError for one of another kind."""
        inputs, outputs = model.get("inputs") or [], model.get("outputs") or []
        if len(inputs) != 1 or not outputs or inputs[0].get("datatype") not in ("FP32", "UINT8"):
            kinds = ", ".join(f"{one.get('name')} ({one.get('datatype')})" for one in inputs) or "none"
            raise InputError(f"target.service=kserve needs a model with one input of FP32 or UINT8, got {kinds}")
        shape = [int(one) for one in inputs[0].get("shape") or []]
        last = len(shape) == 4 and shape[3] in (1, 3) and shape[1] not in (1, 3)
        first = {"input": inputs[0]["name"], "datatype": inputs[0]["datatype"], "output": outputs[0]["name"]}
        return replace(
            self, **first, last=last, batch=min(self.batch, shape[0]) if shape and shape[0] > 0 else self.batch
        )

    def content(self, images: Sequence[Any], said: Mapping[str, Any]) -> dict[str, Any]:
        """As of every form; the images are arrays [C, H, W]."""
        found = np.stack(images)
        found = found.transpose(0, 2, 3, 1) if self.last else found
        given = {"name": self.input, "shape": list(found.shape), "datatype": self.datatype}
        return {"json": {"inputs": [given | {"data": found.ravel().tolist()}], "outputs": [{"name": self.output}]}}

    def found(self, reply: Any, said: Mapping[str, Any]) -> tuple[list[Any], list[Any] | None, str | None]:
        """As of every form; a map is flattened, image by image."""
        outputs = (reply.get("outputs") if isinstance(reply, dict) else None) or []
        wanted = [one for one in outputs if one.get("name") == self.output]
        if not wanted or not {"shape", "data"} <= set(wanted[0]):  # which also lack where the output is sent as bytes
            return [], None, None
        shape, data = wanted[0]["shape"], wanted[0]["data"]
        flat = np.asarray(data, dtype=object).ravel()
        version = reply.get("model_version")
        if math.prod(shape) != len(flat) or not shape:
            raise InputError(f"the service answered {len(flat)} values of the shape {shape}")
        return [list(one) for one in flat.reshape(shape[0], -1)], None, None if version is None else str(version)


OPENAI = {"model": "$model", "input": "$images", "encoding_format": "$answers", "dimensions": "$dimension"}
COHERE = {"model": "$model", "input_type": "image", "images": "$images", "embedding_types": ["$answers"]}
VOYAGE = {"model": "$model", "inputs": "$images", "output_dtype": "$answers", "output_dimension": "$dimension"}
FORMS: Mapping[str, Form] = {
    "openai": Form(
        OPENAI, {"image": "$image"}, vectors="data[].embedding", index="data[].index", version="model", batch=16
    ),
    "cohere": Form(
        COHERE | {"output_dimension": "$dimension"},
        image="data_uri",
        vectors="embeddings.$answers",
        url="https://api.cohere.com/v2/embed",
    ),
    "voyage": Form(
        VOYAGE,
        {"content": [{"type": "image_base64", "image_base64": "$image"}]},
        "data_uri",
        "data[].embedding",
        "data[].index",
        "model",
        batch=16,
        url="https://api.voyageai.com/v1/multimodalembeddings",
    ),
    "azure": Form(image="bytes", vectors="[vector]", version="modelVersion", key=("Ocp-Apim-Subscription-Key", "$key")),
    "kserve": Kserve(batch=16),
    "custom": Form(),
}
"""Forms by the option of target.service. A service without an address of its own is told one by target.url."""


def filled(template: Any, names: Mapping[str, Any]) -> Any:
    """A template with values in place of the names; fields without a value are left out."""
    if isinstance(template, Mapping):
        made = {name: filled(value, names) for name, value in template.items()}
        return {name: value for name, value in made.items() if value is not None}
    if isinstance(template, (list, tuple)):
        return [filled(one, names) for one in template]
    return names.get(template, template) if isinstance(template, str) else template


def sought(path: str, reply: Any, setting: str) -> Any:
    """What a JMESPath leads to; raises InputError for a path that is none."""
    with _naming(path, setting):
        return jmespath.search(path, reply)


def check_told(told: Mapping[str, Any], answers: str) -> None:
    """Raise InputError for a body without images, or a path that is none, before anything is sent.

    Args:
        told: The parts that settings name: body, vectors, index, reports.
        answers: The kind of answers, for which $answers stands in a path.
    """
    if "body" in told and "$image" not in json.dumps(told["body"]):
        got = shown(told["body"])
        raise InputError(f"target.body must hold $images, the list of images, or $image, the only one, got {got}")
    for name in PATHS & told.keys():
        path = str(told[name]).replace("$answers", answers)
        with _naming(path, f"target.{name}"):
            jmespath.compile(path)


@contextmanager
def _naming(path: str, setting: str) -> Iterator[None]:
    """Name the setting where a JMESPath is none."""
    try:
        yield
    except JMESPathError as wrong:
        said = " ".join(str(wrong).split())
        raise InputError(f"{setting} must be a JMESPath (jmespath.org), got {path}: {said}") from None
