"""Each form in which services are asked, against a server: the images' vectors, in their order, asked for once."""

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy_encoder import encode
from PIL import Image
from server_process import Server, target

from lpla.contracts.inputs import InputError
from lpla.encoders.target import _service_encoder
from lpla.encoders.target._png import eight_bits, png
from lpla.encoders.target._service_answers import as_vector, convention_of, unpacked
from lpla.encoders.target.http import Http

IMAGES = torch.rand(11, 1, 8, 8, generator=torch.Generator().manual_seed(0))
PIXELS = eight_bits(IMAGES)
CUSTOM = {"body": {"pictures": "$images", "size": "$dimension"}, "vectors": "found[].vector", "image": "data_uri"}
FORMS: dict[str, tuple[str, dict[str, Any]]] = {
    "openai": ("v1/embeddings", {"model": "net"}),
    "cohere": ("v2/embed", {"model": "net"}),
    "voyage": ("v1/multimodalembeddings", {"model": "net"}),
    "azure": ("computervision/retrieval:vectorizeImage?api-version=1&model-version=1", {}),
    "custom": ("custom", CUSTOM | {"batch": 4}),
}


def asked(server: Server, store: Path, service: str, fault: str = "none", **settings: Any) -> Http:
    path, own = FORMS[service]
    return target(store, service=service, url=server.url(f"{fault}/{path}"), **own | settings)


def vectors(made: Http, images: torch.Tensor = IMAGES) -> np.ndarray:
    return made.build().encode(images)["backbone"].numpy()


@pytest.mark.parametrize("service", FORMS)
def test_every_form_gives_the_vectors_of_the_images_and_asks_for_each_once(
    server: Server, tmp_path: Path, service: str
) -> None:
    made, path = asked(server, tmp_path, service, "once"), f"once/{FORMS[service][0]}"
    np.testing.assert_array_equal(vectors(made), encode(PIXELS))
    np.testing.assert_array_equal(vectors(made, IMAGES.flip(0)), encode(PIXELS[::-1]))
    np.testing.assert_array_equal(vectors(asked(server, tmp_path, service, "once")), encode(PIXELS))
    assert made.kept is not None and made.kept.counts().queries == made.kept.counts().answers == len(IMAGES)
    assert len(server.queries(path)) == len(IMAGES)
    assert made.kept.counts().requests == len(server.requests(path))


def test_what_is_sent_is_made_once_of_images_that_were_expected(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written: list[np.ndarray] = []
    monkeypatch.setattr(_service_encoder, "png", lambda pixels: png(written.append(pixels) or pixels))
    encoder = asked(server, tmp_path, "openai", "expected").build()
    encoder.expect(IMAGES)
    for part in IMAGES.split(4):
        assert encoder.digests(part).shape == (len(part),)
        encoder.encode(part)
    assert len(written) == len(IMAGES)


def test_kserve_is_asked_by_the_model_s_own_description_and_with_floats(server: Server, tmp_path: Path) -> None:
    made = target(tmp_path, service="kserve", url=server.url("none"), model="net", batch=4)
    expected = encode(IMAGES.permute(0, 2, 3, 1).numpy() * np.float32(255))
    np.testing.assert_array_equal(vectors(made), expected)
    with pytest.raises(InputError, match=r"target\.service=kserve needs target\.model, the model's name, got none"):
        target(tmp_path, service="kserve", url=server.url("none"))


def test_a_header_is_part_of_what_a_service_is_known_by_and_a_secret_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def known_by(**settings: Any) -> str:
        made = target(tmp_path, url="http://localhost:1", **settings)
        made.build()
        return json.dumps(made.asks())

    monkeypatch.setenv("LPLA_TEST_KEY", "a secret")
    plain = known_by()
    assert known_by(key="LPLA_TEST_KEY") == known_by(headers={"A": "Token $LPLA_TEST_KEY"}) == plain
    assert plain != known_by(headers={"X-Model": "1"}) != known_by(headers={"X-Model": "2"})


def test_vectors_come_in_the_order_of_their_index(server: Server, tmp_path: Path) -> None:
    np.testing.assert_array_equal(vectors(asked(server, tmp_path, "openai", "shuffled")), encode(PIXELS))


def test_base64_is_the_same_vector_and_whole_numbers_are_taken_as_they_are(server: Server, tmp_path: Path) -> None:
    np.testing.assert_array_equal(vectors(asked(server, tmp_path, "openai", answers="base64")), encode(PIXELS))
    whole = np.clip(np.round(encode(PIXELS) * 3), -128, 127)
    np.testing.assert_array_equal(vectors(asked(server, tmp_path, "cohere", answers="int8")), whole)
    np.testing.assert_array_equal(vectors(asked(server, tmp_path, "voyage", answers="uint8")), whole + 128)


@pytest.mark.parametrize(
    ("kind", "fault"), [("ubinary", "none"), ("ubinary", "little"), ("binary", "none"), ("binary", "little-less")]
)
def test_the_order_of_bits_is_found_once_by_a_float_answer(
    server: Server, tmp_path: Path, kind: str, fault: str
) -> None:
    made = asked(server, tmp_path, "cohere", fault, answers=kind)
    encoder = made.build()
    with pytest.raises(InputError, match="is read once the order of its bits is known"):
        encoder.encode(IMAGES)
    encoder.examine(IMAGES)
    np.testing.assert_array_equal(encoder.encode(IMAGES)["backbone"].numpy(), np.sign(encode(PIXELS)))
    assert made.kept is not None and made.kept.counts().queries == 2 * len(IMAGES) + 4
    encoder.examine(IMAGES)
    assert made.kept.counts().queries == 2 * len(IMAGES) + 4


def test_packed_answers_without_the_signs_of_floats_are_refused() -> None:
    floats = np.random.default_rng(0).standard_normal((4, 64)).astype(np.float32)
    packed = np.packbits(floats > 0, axis=1).astype(np.float32)
    assert convention_of(packed, floats, "ubinary") == "big"
    assert (unpacked(packed, "ubinary", "big") == np.sign(floats)).all()
    with pytest.raises(InputError, match="its signs agree with those of floats so often: big: 0"):
        convention_of(packed[::-1], floats, "ubinary")
    with pytest.raises(InputError, match="must be eight signs in a number, got 7 numbers for 64 floats"):
        convention_of(packed[:, :7], floats, "ubinary")


def test_a_vector_of_one_number_or_none_is_refused_before_it_is_kept() -> None:
    assert as_vector([1], "ubinary").tolist() == [1], "eight signs"
    for answer, kind in (([1.0], "float"), ("AAAAAA==", "base64"), ("", "base64"), ("", "binary")):
        with pytest.raises(InputError, match=r"must answer vectors of two or more numbers, got one of [01]$"):
            as_vector(answer, kind)


@pytest.mark.parametrize("channels", [1, 3])
def test_a_png_of_ours_is_what_others_read(channels: int) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (200, 150, channels), dtype=np.uint8)
    image = Image.open(io.BytesIO(png(pixels)))
    image.verify()
    found = np.asarray(Image.open(io.BytesIO(png(pixels))))
    np.testing.assert_array_equal(found.reshape(pixels.shape), pixels)
    assert image.mode == ("L" if channels == 1 else "RGB")


def test_settings_that_do_not_go_together_are_refused_before_anything_is_sent(tmp_path: Path) -> None:
    refused = {
        r"target\.service=custom needs target\.vectors and target\.body, got none": {"service": "custom"},
        r"target\.batch must be 1 where an image's bytes are sent, got 4": {"service": "azure", "batch": 4},
        r"target\.image=tensor is target\.service=kserve's, got target\.service=openai": {"image": "tensor"},
        r"target\.normalize must be none where images are sent as files, got clip": {"normalize": "clip"},
        r"target\.ca_file must be a file of certificates \(PEM\), got nowhere\.pem": {"ca_file": "nowhere.pem"},
        r"target\.url must be the address of the service, as https": {"url": "localhost:8000"},
        r"headers must be settings by name, of which each is a text, got \{'X': 5\}": {"headers": {"X": 5}},
        r"target\.index must be a JMESPath \(jmespath\.org\), got data\[: ": {"index": "data["},
        r"target\.vectors must be a JMESPath \(jmespath\.org\), got a\.float\.: ": {"vectors": "a.$answers."},
        r"target\.body must hold \$images, the list of images, or \$image, .* got \{'pictures': 'images'\}": {
            "body": {"pictures": "images"}
        },
    }
    for sentence, settings in refused.items():
        with pytest.raises(InputError, match=sentence):
            target(tmp_path, **{"url": "http://localhost:1", **settings}).build()
    assert not any(tmp_path.iterdir())
