"""Files of other tools: the encoder that is read of each answers with the vectors that the tool itself computed.

`make.py` beside this file says how each file was made.
"""

import importlib.util
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from lpla.encoders.target._given import GivenEncoder
from lpla.encoders.target.checkpoint import Checkpoint
from lpla.encoders.target.exported import Exported
from lpla.encoders.target.huggingface import Huggingface
from lpla.encoders.target.onnx import Onnx
from lpla.encoders.target.timm import Timm

FILES = Path(__file__).parent / "files"
RESNET = {"arch": "timm/resnet18", "arguments": {"layers": [1, 1, 1, 1], "channels": [4, 4, 8, 8]}, "normalize": "none"}
SMALL = {"img_size": 32, "patch_size": 8, "embed_dim": 16, "depth": 2, "num_heads": 2}
VIT = {"arch": "timm/vit_tiny_patch16_224", "arguments": SMALL, "normalize": "none"}
CLIP = VIT | {"arch": "timm/vit_base_patch16_clip_224"}
BARE = {"model": "resnet18", "arguments": RESNET["arguments"], "normalize": "none"}

WEIGHTS: dict[str, tuple[str, dict[str, Any]]] = {
    "moco_v1": ("moco_v1.pth.tar", RESNET),
    "moco_v2": ("moco_v2.pth.tar", RESNET),
    "moco_v3_resnet": ("moco_v3_resnet.pth.tar", RESNET),
    "moco_v3_vit": ("moco_v3_vit.pth.tar", VIT),
    "simsiam": ("simsiam.pth.tar", RESNET),
    "dino": ("dino.pth", VIT),
    "dinov2": ("dinov2.pth", VIT),
    "swav": ("swav.pth.tar", RESNET),
    "vicreg": ("vicreg.pth", RESNET),
    "mae": ("mae.pth", VIT),
    "solo": ("solo.ckpt", RESNET),
    "lightly": ("lightly.ckpt", RESNET),
    "lightly_train": ("lightly_train.pt", RESNET),
    "open_clip": ("open_clip.pt", CLIP),
}
"""Name of the vectors -> file, and settings of target=checkpoint."""


@pytest.fixture(scope="module")
def vectors() -> dict[str, np.ndarray]:
    with np.load(FILES / "vectors.npz") as found:
        return dict(found)


def agree(encoder: GivenEncoder, vectors: dict[str, np.ndarray], name: str) -> None:
    """Both layers, to 1e-5, of all images together and of one alone."""
    given = "bytes" if name.startswith("hf_") else "images"
    images = torch.from_numpy(vectors[given]).float() / (255 if given == "bytes" else 1)
    layers = {layer for layer in ("backbone", "projector") if f"{name}/{layer}" in vectors}
    assert set(encoder.layers) == layers
    with torch.inference_mode():
        together, alone = encoder.encode(images), encoder.encode(images[2:3])
    for layer in layers:
        expected = vectors[f"{name}/{layer}"]
        np.testing.assert_allclose(together[layer], expected, rtol=1e-5, atol=1e-5)
        np.testing.assert_allclose(alone[layer], expected[2:3], rtol=1e-5, atol=1e-5)
        assert np.std(expected, axis=0).max() > 1e-4  # the images differ, so that a wrong order would show


@pytest.mark.parametrize("name", WEIGHTS)
def test_a_training_codes_file_gives_its_vectors(name: str, vectors: dict[str, np.ndarray]) -> None:
    file, settings = WEIGHTS[name]
    agree(Checkpoint(file=str(FILES / file), **settings).build(), vectors, name)


@pytest.mark.parametrize(
    ("name", "file", "settings"),
    [
        ("timm", "timm.pth", BARE),
        ("timm_ema", "timm_ema.pth.tar", BARE),
        ("timm_folder", "timm_folder", {"arguments": RESNET["arguments"]}),
    ],
)
def test_timms_file_gives_its_vectors(name: str, file: str, settings: Any, vectors: dict[str, np.ndarray]) -> None:
    agree(Timm(file=str(FILES / file), **settings).build(), vectors, name)


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("hf_vit", {}),
        ("hf_vit_no_pooler", {"layer": "cls"}),
        ("hf_dinov2", {}),
        ("hf_mae", {"layer": "cls"}),
        ("hf_resnet", {}),
        ("hf_clip", {}),
    ],
)
def test_transformers_folder_gives_its_vectors(name: str, settings: Any, vectors: dict[str, np.ndarray]) -> None:
    needs("transformers", "huggingface")
    agree(Huggingface(file=str(FILES / name), **settings).build(), vectors, name)


@pytest.mark.parametrize("file", ["static.onnx", "dynamic.onnx", "beside.onnx"])
def test_an_onnx_model_gives_the_vectors_of_what_was_exported(file: str, vectors: dict[str, np.ndarray]) -> None:
    needs("onnxruntime", "onnx")
    agree(Onnx(file=str(FILES / file), normalize="none").build(), vectors, "program")


@pytest.mark.parametrize("file", ["static.pt2", "dynamic.pt2", "script.pt"])
def test_a_program_gives_the_vectors_of_what_was_exported(file: str, vectors: dict[str, np.ndarray]) -> None:
    target = Exported(file=str(FILES / file), normalize="none", run_code=file == "script.pt")
    agree(target.build(), vectors, "program")


def needs(package: str, extra: str) -> None:
    """Skip where an extra of lpla is not installed."""
    if importlib.util.find_spec(package) is None:
        pytest.skip(f"{package} is not installed; pip install 'lpla[{extra}]'")
