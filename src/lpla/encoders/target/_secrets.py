"""Secrets of a service: they stand in the environment alone, go into headers alone, and are hidden in every text."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field

import httpx

from lpla.contracts.inputs import InputError

NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
PLACE = re.compile(r"\$([A-Za-z_][A-Za-z0-9_]*)")
"""Where a header has the value of a variable."""
TELLING = re.compile(r"auth|key|token|secret|cookie|password|signature|^sig$", re.IGNORECASE)
"""Names of headers, and of parameters of an address, that hold secrets."""
HIDDEN = "[hidden]"
LOCAL = ("localhost", "127.0.0.1", "::1")
SHORTEST = 4
"""Characters of a secret that is hidden: to hide a shorter one would hide ordinary text."""


@dataclass(frozen=True)
class Headers:
    """Headers of a request; neither they nor the secrets in them are shown."""

    values: Mapping[str, str] = field(repr=False)
    secrets: tuple[str, ...] = field(repr=False)

    def hide(self, text: str) -> str:
        """The text without any of the secrets, which a service may repeat in what it says, also as JSON escapes it."""
        # The longest first, as one may be the beginning of another.
        for secret in sorted(self.secrets, key=len, reverse=True):
            if len(secret) >= SHORTEST:
                text = re.sub("".join(map(_escaped, secret)), HIDDEN, text)
        return text


def _escaped(character: str) -> str:
    """A pattern of a character as it is, and as JSON may write it: behind backslashes, or by its number."""
    return rf"(?:\\{{0,9}}{re.escape(character)}|\\{{1,9}}u(?i:{ord(character):04x}))"


def headers_of(own: Mapping[str, str], key: str | None, of_key: tuple[str, str]) -> Headers:
    """The headers with the secrets of this process's environment in them.

    Args:
        own: target.headers, in which $NAME stands for a variable.
        key: name of the variable with the service's key; None: it asks for none.
        of_key: the header that has the key, and its text, in which $key stands for it.

    Raises:
        InputError: a variable is not set, or a secret stands in the settings themselves.
    """
    values, secrets = {}, []
    if key is not None:
        if not NAME.fullmatch(key) or key not in os.environ:
            raise InputError(
                "target.key must be the name of a variable of the environment that holds the key of the service; there "
                "is no variable of the name that was given"
            )
        secrets.append(_value(key, "target.key"))
        values[of_key[0]] = of_key[1].replace("$key", secrets[0])
    for name, text in own.items():
        if TELLING.search(name) and not PLACE.search(text):
            raise InputError(f"target.headers.{name} must take its secret from the environment: ${{oc.env:NAME}}")
        found = {one: _value(one, f"target.headers.{name}") for one in PLACE.findall(text)}
        secrets += found.values()
        values[name] = PLACE.sub(lambda place, found=found: found[place[1]], text)
    return Headers(values, tuple(secrets))


def check_address(url: str | None, secrets: bool) -> httpx.URL:
    """The address of a service; InputError for one with a secret in it, or on whose way a secret could be read.

    Args:
        url: target.url.
        secrets: whether its requests have any.
    """
    try:
        found = httpx.URL(url or "")
    except (httpx.InvalidURL, TypeError):
        found = httpx.URL("")
    if found.scheme not in ("http", "https") or not found.host:
        raise InputError("target.url must be the address of the service, as https://host/v1/embeddings")
    if found.userinfo or any(TELLING.search(name) for name in found.params):
        raise InputError(
            "target.url must hold no secret: give it by target.key or target.headers, from the environment"
        )
    if secrets and found.scheme == "http" and found.host not in LOCAL:
        raise InputError(f"target.url must begin with https://, as a secret is sent along, got http://{found.host}")
    return found


def _value(name: str, setting: str) -> str:
    value = os.environ.get(name, "").strip()
    if not value:
        raise InputError(f"{setting} takes a secret from the variable {name} of the environment, which is not set")
    if not (value.isascii() and value.isprintable()):
        raise InputError(f"{setting}: the variable {name} of the environment holds characters that no header can have")
    return value
