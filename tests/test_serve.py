"""`lpla serve`: a real server process answers as the file itself, through a defence or without, and ends as a whole."""

import base64
import io
import signal
import socket
import urllib.error
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
import torch
from fastapi import HTTPException
from PIL import Image
from safetensors.torch import save_file
from serve_process import Server
from tiny_audit import source_of, tiny_settings
from torch import nn

from lpla.auditing.plan import plan
from lpla.auditing.serve import check_free, show, what_is_served
from lpla.auditing.served_images import image_of
from lpla.auditing.serving import EmbeddingRequest, EmbeddingService, Served
from lpla.contracts.inputs import InputError
from lpla.encoders.target._png import eight_bits, png
from lpla.store.artifacts import Store
from lpla.work.stored import stored_encoder, stored_place

FILE = ["target=exported", f"target.file={Path(__file__).parent / 'foreign' / 'files' / 'script.pt'}"]
FILE += ["target.run_code=true", "target.normalize=half"]
OTHER = Path(__file__).parent / "foreign" / "files" / "dynamic.pt2"
IMAGES = torch.rand(5, 3, 16, 16, generator=torch.Generator().manual_seed(0)).mul(255).round() / 255


def sent(images: torch.Tensor) -> list[str]:
    return [base64.b64encode(png(one)).decode() for one in eight_bits(images)]


def own_answer(*settings: str) -> torch.Tensor:
    with torch.inference_mode():
        return what_is_served([*FILE, *settings], None).encoder().encode(IMAGES)["backbone"]


@pytest.fixture
def server() -> Iterator[Server]:
    made = Server(*FILE, "defense=unit_norm")
    yield made
    if made.process.poll() is None:
        made.end(signal.SIGKILL)


@pytest.mark.slow  # two processes import torch
def test_a_served_file_answers_as_the_file_and_nothing_of_it_outlives_its_end(server: Server) -> None:
    expected = torch.nn.functional.normalize(own_answer(), dim=1)
    plain = server.ask(input=sent(IMAGES))
    assert plain["usage"] == {"prompt_tokens": 5, "total_tokens": 5} and plain["model"] == "backbone"
    assert [one["index"] for one in plain["data"]] == [0, 1, 2, 3, 4]
    found = torch.tensor([one["embedding"] for one in plain["data"]])
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-6)
    packed = server.ask(input=[f"data:image/png;base64,{one}" for one in sent(IMAGES)], encoding_format="base64")
    bits = np.stack([np.frombuffer(base64.b64decode(one["embedding"]), "<f4") for one in packed["data"]])
    np.testing.assert_array_equal(bits, found.numpy())
    with pytest.raises(urllib.error.HTTPError) as refused:
        server.ask(input=["!"])
    assert refused.value.code == 400 and "input[0] must be an image file" in refused.value.read().decode()
    listening = {one.laddr.ip for one in psutil.Process(server.process.pid).net_connections() if one.status == "LISTEN"}
    assert listening == {"127.0.0.1"}
    said = server.end(signal.SIGTERM)
    assert server.process.returncode == 0 and "Traceback" not in said
    assert said.startswith(f"serving backbone at http://127.0.0.1:{server.port}/v1/embeddings")


@pytest.mark.slow  # the same
def test_nothing_of_a_server_that_is_killed_stays(server: Server) -> None:
    assert len(server.others) >= 3
    server.end(signal.SIGKILL)


@cache
def service(*settings: str) -> EmbeddingService:
    """The service as its worker has it, in this process; one for each settings."""
    served = what_is_served([*FILE, *settings], None)
    made = EmbeddingService(served)
    made.device = "cpu"
    made.begin("cpu")
    return made


def answer(made: EmbeddingService, **body: Any) -> dict[str, Any]:
    asked = made.decode_request(EmbeddingRequest(**{"model": "backbone"} | body))
    return made.encode_response(made.predict(asked))


def test_without_a_defence_the_embeddings_are_released_as_they_are_and_with_one_as_it_releases_them() -> None:
    found = [one["embedding"] for one in answer(service(), input=sent(IMAGES))["data"]]
    torch.testing.assert_close(torch.tensor(found), own_answer(), rtol=1e-5, atol=1e-6)
    norms = [one["embedding"] for one in answer(service("defense=norms_only"), input=sent(IMAGES))["data"]]
    torch.testing.assert_close(torch.tensor(norms), own_answer().norm(dim=1, keepdim=True), rtol=1e-5, atol=1e-6)


def test_noise_is_that_of_the_image_and_of_the_served_encoder_alone() -> None:
    made = service("defense=noise")
    found, again = (torch.tensor([one["embedding"] for one in answer(made, input=sent(x))["data"]])
                    for x in (IMAGES, IMAGES.flip(0)))  # fmt: skip
    torch.testing.assert_close(found, again.flip(0), rtol=1e-5, atol=1e-6)
    lengths = (found - own_answer()).norm(dim=1) / own_answer().norm(dim=1)
    assert (lengths > 0.05).all() and (lengths < 0.2).all()
    assert made.secret == what_is_served(FILE, None).secret
    assert made.secret != what_is_served([*FILE[:1], f"target.file={OTHER}", "target.normalize=half"], None).secret


def test_images_of_several_sizes_and_forms_keep_their_order() -> None:
    small = torch.nn.functional.avg_pool2d(IMAGES, 2)
    mixed: list[Any] = [sent(IMAGES)[1], {"image": sent(small)[0]}, sent(IMAGES)[0]]
    one, _, other = (item["embedding"] for item in answer(service("target.side=16"), input=mixed)["data"])
    torch.testing.assert_close(torch.tensor([other, one]), own_answer("target.side=16")[:2], rtol=1e-5, atol=1e-6)
    assert len(answer(service(), input=sent(IMAGES)[0])["data"]) == 1


@pytest.mark.parametrize(("body", "code", "said"), [
    ({"model": "head"}, 404, "model must be backbone, a layer of the encoder, got head"),
    ({"input": ["http://elsewhere/a.png"]}, 400, "input[0] must be an image file in base64, or a data URI of one "
     "(data:image/png;base64,...), got a text that is not base64; an address is not fetched"),
    ({"input": ["data:image/png,abc"]}, 400, "got a text with a comma in it"),
    ({"input": [{"url": "x"}]}, 400, "input[0] must be an image, or an object with image alone, got url"),
    ({"input": ["YWJj"]}, 400, "input[0] must be an image file of 8 bits a channel without transparency, got 3 bytes"),
    ({"input": ["a"] * 1001}, 400, "input must have at most 1000 images, got 1001"),
])  # fmt: skip
def test_a_request_that_cannot_be_answered_is_refused_in_a_sentence(body: dict[str, Any], code: int, said: str) -> None:
    with pytest.raises(HTTPException) as refused:
        answer(service(), **{"input": sent(IMAGES)} | body)
    assert refused.value.status_code == code and said in refused.value.detail


def test_an_encoder_that_cannot_answer_and_an_embedding_that_is_not_finite_are_said() -> None:
    made = service("target.side=12")  # of its own, as it is spoilt

    def fails(x: torch.Tensor) -> dict[str, torch.Tensor]:
        raise RuntimeError("kernel is larger than the image")

    made.encoder.encode = fails
    with pytest.raises(HTTPException, match="cannot answer to images of 3 x 16 x 16 values: kernel is larger"):
        answer(made, input=sent(IMAGES))
    made.encoder.encode = lambda x: {"backbone": torch.full((len(x), 2), torch.nan)}
    with pytest.raises(HTTPException, match="the embedding of image 0 is not finite"):
        answer(made, input=sent(IMAGES))
    assert "data" in answer(made, input=sent(IMAGES), encoding_format="base64")


def as_text(image: Image.Image, **how: Any) -> str:
    held = io.BytesIO()
    image.save(held, "png", **how)
    return base64.b64encode(held.getvalue()).decode()


def test_images_are_grey_or_rgb_and_what_would_be_guessed_is_refused() -> None:
    assert image_of(as_text(Image.new("L", (3, 2), 51)), "it").mul(255).tolist() == [[[51] * 3] * 2]
    assert image_of(as_text(Image.new("P", (3, 2))), "it").shape == (3, 2, 3)
    for mode in ("RGBA", "LA", "I;16"):
        with pytest.raises(InputError, match=f"without transparency, got PNG of mode {mode}"):
            image_of(as_text(Image.new(mode, (3, 2))), "it")
    with pytest.raises(InputError, match="at most 67108864 pixels, got 8193 x 8192"):
        image_of(as_text(Image.new("1", (8193, 8192))), "it")


@pytest.mark.parametrize(("told", "stored", "said"), [
    ([], None, "lpla serve needs an encoder, by target=... or by --stored KEY, got neither"),
    (FILE, "abc", "got both, --stored abc too"),
    ([*FILE, "p=1"], None, "a service reads target=..., defense=... and store=... alone, got p=1"),
    ([*FILE, "store=store"], None, "reads its own settings and defense=... alone, got store=store"),
    ([*FILE, "target.reference=other.pt"], None, "and defense=... alone, got target.reference=other.pt"),
    (["target=exported", "defense=unit_nrom"], None, "defense must be one of"),
    ([*FILE, "defense=early_stop"], None, "defense=early_stop changes how an encoder is trained, not what is released"),
    ([*FILE, "defense=pca"], None, "defense=pca learns from images that are nobody's members, which a service does"),
])  # fmt: skip
def test_what_cannot_be_served_is_one_sentence(told: list[str], stored: str | None, said: str) -> None:
    with pytest.raises(InputError) as refused:
        what_is_served(told, stored)
    assert said in str(refused.value) and "\n" not in str(refused.value)


def test_a_missing_file_ends_the_command_before_anything_is_bound(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="1"):
        show(["target=exported", "target.file=gone.pt"])
    assert capsys.readouterr().err.startswith("error: target.file must be")


def test_a_port_that_is_taken_or_none_is_refused() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(InputError, match=r"cannot be taken at --host=127\.0\.0\.1: Address already in use"):
            check_free("127.0.0.1", taken.getsockname()[1])
    with pytest.raises(InputError, match="--port must be a free port from 1024 to 65535, got 80"):
        check_free("127.0.0.1", 80)


def test_an_address_of_a_protocol_that_the_machine_lacks_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    def lacks(*_: object) -> None:
        raise OSError(97, "Address family not supported by protocol")

    monkeypatch.setattr("lpla.auditing.serve.socket.socket", lacks)
    with pytest.raises(InputError, match="8000 cannot be taken at --host=::: Address family not supported"):
        check_free("::", 8000)


@pytest.mark.parametrize("told", [["arch.batch_norm=per_view"], ["defense=dp", "defense.group_size=2"]])
def test_a_stored_encoder_is_built_from_its_folder_or_key_alone(told: list[str], tmp_path: Path) -> None:
    source = source_of(plan(tiny_settings(f"store={tmp_path}", *told)).units[0])
    arch, store = source.build(), Store(tmp_path)
    with torch.no_grad():
        for one in arch.parameters():
            one.mul_(1.5)
    place = store.put(
        "encoders", source.parts(), lambda folder: save_file(arch.state_dict(), folder / "weights.safetensors")
    )
    images = torch.rand(4, 1, 8, 8)
    for named in (str(place), place.name):
        found = stored_encoder(stored_place(named, str(tmp_path)))
        torch.testing.assert_close(found.encode(images), arch.eval().encode(images))
    assert Served(None, str(place), {}).encoder().layers == ("backbone", "projector")
    assert Served(None, str(place), {}).secret == int(place.name[:15], 16)
    with pytest.raises(InputError, match="--stored must be the folder of an encoder in a store, or its key"):
        stored_place("0" * 32, str(tmp_path))
    (place / "weights.safetensors").write_bytes(b"")
    with pytest.raises(InputError, match=r"must hold a whole encoder, but .* does not match its checksum"):
        stored_encoder(place)


def test_plug_ins_of_a_users_own_are_not_looked_for(tmp_path: Path) -> None:
    def write(folder: Path) -> None:
        save_file(nn.Linear(1, 1).state_dict(), folder / "weights.safetensors")

    parts = {"arch": {"name": "simclr"}, "backbone": {"name": "mine"}}
    with pytest.raises(InputError, match="the encoder's backbone, mine, is a plug-in of your own"):
        stored_encoder(Store(tmp_path).put("encoders", parts, write))
    parts["backbone"]["name"] = "cifar_resnet"
    with pytest.raises(InputError, match=r"must hold weights of simclr, as its recipe\.json says, and does not"):
        stored_encoder(Store(tmp_path).put("encoders", parts, write))
