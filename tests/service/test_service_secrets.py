"""Secrets stand in the environment and in headers alone: every file, every log and every error text is searched."""

import json
import re
import ssl
import subprocess
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
import torch
from server_process import Server, target
from tiny_audit import TINY_GIVEN, Ran

from lpla.auditing.settings import composed
from lpla.contracts.inputs import InputError
from lpla.encoders.target._secrets import HIDDEN, Headers
from lpla.work.recipe import Unit

KEY, OTHER = "sk-4f1e9b7a2c", "tok-77aa88bb99cc"
IMAGES = torch.rand(3, 1, 8, 8, generator=torch.Generator().manual_seed(0))
DIGITS = ["dataset=digits", "split=balanced", "members=20"]
SECRET = ["target.key=LPLA_TEST_KEY", "+target.headers.X-Other=Token ${oc.env:LPLA_TEST_OTHER}"]


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LPLA_TEST_KEY", f"{KEY}\n")
    monkeypatch.setenv("LPLA_TEST_OTHER", OTHER)


def holding(folder: Path) -> list[Path]:
    """The files below a folder that hold a secret."""
    secrets = [one.encode() for one in (KEY, OTHER)]
    files = [one for one in folder.rglob("*") if one.is_file()]
    assert files
    return [one for one in files if any(secret in one.read_bytes() for secret in secrets)]


@pytest.mark.slow
def test_no_file_of_an_audit_and_no_line_of_its_log_holds_a_secret(
    server: Server, cli: Callable[..., Ran], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WANDB_MODE", "offline")
    for folder in ("CONFIG", "DATA", "CACHE"):
        monkeypatch.setenv(f"WANDB_{folder}_DIR", str(tmp_path / "wandb" / folder))
    told = [*TINY_GIVEN, *DIGITS, "target=http", "target.model=net", *SECRET, "hydra.verbose=true", "logger=wandb"]
    ran = cli(*told, f"target.url={server.url('secret/v1/embeddings')}")
    assert ran.code == 0, ran.err
    assert not holding(tmp_path) and KEY not in ran.out + ran.err and OTHER not in ran.out + ran.err
    assert list(tmp_path.rglob("*.wandb")) and list(tmp_path.rglob("answers.sqlite"))
    refused = cli(*told, f"target.url={server.url('401/v1/embeddings')}")
    assert refused.code == 1 and f"the key {HIDDEN} is not known" not in refused.out  # "Bearer" stands before it.
    assert f"Bearer {HIDDEN} is not known" in refused.out + refused.err
    assert not holding(tmp_path) and KEY not in refused.out + refused.err


def test_a_key_and_headers_reach_the_service(server: Server, tmp_path: Path) -> None:
    made = target(tmp_path, url=server.url("401/v1/embeddings"), key="LPLA_TEST_KEY")
    sent = made.build().asker.headers
    assert dict(sent.values) == {"Authorization": f"Bearer {KEY}"} and KEY not in repr(sent)
    azure = target(
        tmp_path, service="azure", url="https://host/x", key="LPLA_TEST_KEY", headers={"A": "b $LPLA_TEST_OTHER"}
    )
    assert dict(azure.build().asker.headers.values) == {"Ocp-Apim-Subscription-Key": KEY, "A": f"b {OTHER}"}


def test_headers_are_read_when_they_are_sent_and_stand_in_no_settings() -> None:
    settings = composed([*TINY_GIVEN, *DIGITS, "target=http", "target.url=http://localhost:1", *SECRET])
    assert settings.config.target.headers["X-Other"] == "Token $LPLA_TEST_OTHER"


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"key": KEY}, r"target\.key must be the name of a variable of the environment .* that was given"),
        (
            {"headers": {"X-Api-Key": KEY}},
            r"target\.headers\.X-Api-Key must take its secret from the environment: ",
        ),
        ({"headers": {"A": "$LPLA_TEST_NONE"}}, r"takes a secret from the variable LPLA_TEST_NONE .* which is not set"),
        ({"url": f"https://user:{KEY}@host/v1"}, r"target\.url must hold no secret: give it by target\.key"),
        ({"url": f"https://host/v1?api_key={KEY}"}, r"target\.url must hold no secret: give it by target\.key"),
        (
            {"url": "http://host/v1", "key": "LPLA_TEST_KEY"},
            r"target\.url must begin with https://, as a secret",
        ),
    ],
)
def test_a_secret_in_the_settings_is_refused_and_not_repeated(
    tmp_path: Path, settings: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(InputError, match=sentence) as refused:
        target(tmp_path, **{"url": "https://host/v1", **settings}).build()
    assert KEY not in str(refused.value)


def test_a_secret_that_a_service_repeats_is_hidden_however_it_writes_it() -> None:
    secret, longer = 'a"b\\c/d==', 'a"b\\c/d==and more'
    headers = Headers({}, (secret, longer))
    for said in (secret, json.dumps(secret), json.dumps(json.dumps(secret)), secret.replace("/", "\\/"), longer):
        assert not re.search(r"[abcd=]|and more", headers.hide(said.replace("=", "\\u003D")).replace(HIDDEN, ""))
        assert not re.search(r"[abcd=]|and more", headers.hide(said).replace(HIDDEN, ""))
    assert Headers({}, ("abc",)).hide("an abc") == "an abc"


def test_a_short_secret_is_not_sent_unencrypted_either(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LPLA_TEST_KEY", "abc")
    with pytest.raises(InputError, match=r"target\.url must begin with https://, as a secret is sent along"):
        target(tmp_path, url="http://host/v1", key="LPLA_TEST_KEY").build()


@pytest.mark.parametrize("setting", ["target.key", "+target.body.token", "target.version"])
def test_settings_that_would_be_written_take_nothing_from_the_environment(setting: str) -> None:
    name = setting.strip("+").rpartition(".token")[0] or setting
    with pytest.raises(InputError, match=rf"{name} must not refer to a value of the environment") as refused:
        composed([*TINY_GIVEN, *DIGITS, "target=http", f"{setting}=${{oc.env:LPLA_TEST_KEY}}"])
    assert KEY not in str(refused.value)
    with pytest.raises(
        InputError, match=r"target\.headers\.A must refer to the environment as \$\{oc\.env:NAME\}, got"
    ):
        composed([*TINY_GIVEN, *DIGITS, "target=http", f"+target.headers.A='${{oc.env:NOWHERE,{KEY}}}'"])
    assert KEY not in str(refused.value)


def test_a_recipe_on_disk_sends_no_key_anywhere(tmp_path: Path) -> None:
    recipe = {"source": {"target": {"_target_": "lpla.encoders.target.http.Http", "headers": {}, "key": "PATH"}}}
    (tmp_path / "recipe.json").write_text(json.dumps(recipe))
    with pytest.raises(InputError, match="it names a service that would be sent a key"):
        Unit.load(tmp_path / "recipe.json")


class _Silent(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["content-length"]))
        reply = json.dumps({"data": [{"index": place, "embedding": [1.0, place]} for place in range(3)]}).encode()
        self.send_response(200)
        self.send_header("content-length", str(len(reply)))
        self.end_headers()
        self.wfile.write(reply)

    def log_message(self, format: str, *args: Any) -> None:
        pass


@pytest.fixture
def encrypted(tmp_path: Path) -> Iterator[tuple[str, Path]]:
    """A service whose certificate nobody signed: its address and the certificate."""
    made = [
        "openssl",
        "req",
        "-x509",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:prime256v1",
        "-nodes",
        "-days",
        "1",
    ]
    place, key = tmp_path / "certificate.pem", tmp_path / "key.pem"
    made += [
        "-subj",
        "/CN=localhost",
        "-addext",
        "subjectAltName=DNS:localhost",
        "-keyout",
        str(key),
        "-out",
        str(place),
    ]
    try:
        subprocess.run(made, check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("openssl, which makes a certificate, is not there")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(place, key)
    serving = HTTPServer(("127.0.0.1", 0), _Silent)
    serving.socket = context.wrap_socket(serving.socket, server_side=True)
    thread = threading.Thread(target=serving.serve_forever, daemon=True)
    thread.start()
    yield f"https://localhost:{serving.server_address[1]}/v1/embeddings", place
    serving.shutdown()
    serving.server_close()
    thread.join()


def test_a_certificate_that_is_not_trusted_ends_the_run_and_one_that_the_user_names_is_trusted(
    encrypted: tuple[str, Path], tmp_path: Path
) -> None:
    url, certificate = encrypted
    with pytest.raises(InputError, match=r"the certificate of localhost is not trusted .*set target\.ca_file to"):
        target(tmp_path, url=url).build().encode(IMAGES)
    found = target(tmp_path, url=url, ca_file=str(certificate)).build().encode(IMAGES)["backbone"]
    assert found.tolist() == [[1.0, 0.0], [1.0, 1.0], [1.0, 2.0]]
    assert not [name for name in vars(target(tmp_path, url=url)) if "verify" in name or "insecure" in name]
