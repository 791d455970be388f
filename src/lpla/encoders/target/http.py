"""Ask a service at an address, which answers embeddings; each answer is kept in the store and never asked for again.

Every view is sent as a PNG file (to KServe as a tensor) of one size, whoever is a member.
"""

from __future__ import annotations

import hashlib
import json
import ssl
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, dataclass, field, fields, replace
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, Literal

from lpla.contracts.answers import KeptAnswers
from lpla.contracts.encoder import Target
from lpla.contracts.inputs import InputError
from lpla.contracts.settings import Count, Dimension, NonNegative, Positive, Whole, checked
from lpla.encoders.target._asking import Asker, Limits
from lpla.encoders.target._input import InputRule, Interpolation, as_data, normalization
from lpla.encoders.target._secrets import PLACE, check_address, headers_of
from lpla.encoders.target._service_encoder import REPEATED, ServiceEncoder, to_examine
from lpla.encoders.target._service_forms import FORMS, Answers, Form, Image, Kserve, check_told

HTTP_VERSION = 1
"""Raise it when a change here changes what is sent."""
RULE = ("side", "interpolation", "normalize", "channels")
NO_PART = ("key", "headers", "batch", "parallel", "per_second", "timeout", "max_queries", "price_per_1000")
NO_PART += ("ask_above", "confirm", "ca_file", "store")
"""Settings on which no answer depends, but for headers without a secret."""
OF_FORM = ("image", "item", "body", "vectors", "index", "reports")
"""Settings that change the form of a service; `custom` needs `body` and `vectors`."""


@checked
@dataclass(frozen=True, kw_only=True)
class Http(Target):
    """The service: `service` is the form in which it is asked, and with `custom` the settings say all of that form.

    A service is known by its address, model, width and the version that it reports. `version` is what you call the
    model where it reports none: another text is another encoder.
    """

    name: ClassVar[str] = "http"
    packages: ClassVar[tuple[str, ...]] = ("httpx", "tenacity", "jmespath")
    service: Literal["openai", "cohere", "voyage", "azure", "kserve", "custom"] = "openai"
    url: str | None = None
    model: str | None = None
    dimension: Dimension | None = None
    version: str | None = None
    key: str | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    answers: Answers = "float"
    image: Image | None = None
    item: Any = None
    body: Any = None
    vectors: str | None = None
    index: str | None = None
    reports: str | None = None
    batch: Count | None = None
    side: Dimension | None = None
    interpolation: Interpolation = "bilinear"
    normalize: str | Sequence[Any] = "none"
    channels: Count | None = None
    parallel: Count = 4
    per_second: Positive | None = None
    timeout: Positive = 60.0
    max_queries: Whole | None = None
    price_per_1000: NonNegative = 0.0
    ask_above: Whole = 1000
    confirm: bool = False
    ca_file: str | None = None
    store: str = "store"
    kept: KeptAnswers | None = field(default=None, init=False, repr=False, compare=False)

    def asks(self) -> dict[str, Any]:
        """As of every target: all settings on which an answer depends beside the image, and no secret."""
        found: dict[str, Any] = {"service": self.service, "url": self._url, "answers": self.answers}
        if public := {name: text for name, text in self.headers.items() if not PLACE.search(text)}:
            found["headers"] = public
        for one in fields(self):
            default = one.default if one.default_factory is MISSING else one.default_factory()
            if one.init and one.name not in (*NO_PART, *RULE, *found) and (value := getattr(self, one.name)) != default:
                found[one.name] = value
        return json.loads(json.dumps(found))

    def keeping(self, kept: KeptAnswers) -> Http:
        """As of every target."""
        made = replace(self)
        object.__setattr__(made, "kept", kept)
        return made

    def parts(self) -> dict[str, Any]:
        """As of every target; raises InputError where nothing was asked yet, as the service says its version itself."""
        facts = self._answers.facts()
        if "width" not in facts:
            raise InputError("target=http is known by what the service answers, and nothing has been asked of it yet")
        identity = self.asks() | {"width": facts["width"], "reported": facts.get("reported")}
        found = hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()
        parts: dict[str, Any] = {"name": self.name, "sha256": found, "input": as_data(self._rule), "with": identity}
        return parts | ({"version": HTTP_VERSION} if HTTP_VERSION != 1 else {})

    def build(self) -> ServiceEncoder:
        """As of every target; no request is sent."""
        form, said = self._form, {"model": self.model, "dimension": self.dimension, "answers": self.answers}
        limits = Limits(form.batch, self.parallel, self.per_second, self.timeout, self.max_queries)
        headers = headers_of(self.headers, self.key, form.key)
        address = check_address(self._url, bool(headers.secrets))
        asker = Asker(address, headers, self._trusted, limits, self._answers)
        return ServiceEncoder(asker, form, self._rule, said)

    @property
    def host(self) -> str:
        """The name of the machine that is asked."""
        return check_address(self._url, False).host

    def to_examine(self, images: int, resized: bool) -> int:
        """Queries beside those of the views, where there are so many images, which the views may have `resized`."""
        again = to_examine(self._answers, self.answers, images)
        # Images as they are: then none of the views has their bytes.
        return again + (min(REPEATED, images) if again and resized else 0)

    @property
    def batch_size(self) -> int:
        """Images in a request."""
        return self._form.batch

    @cached_property
    def _form(self) -> Form:
        """The service's form, with what the settings change of it."""
        told = {name: getattr(self, name) for name in OF_FORM if getattr(self, name) is not None}
        form = FORMS[self.service]
        if self.service == "custom":
            image = told.get("image", form.image)
            needed = ["vectors"] + ([] if image == "bytes" else ["body"])
            if missing := [f"target.{name}" for name in needed if name not in told]:
                raise InputError(f"target.service=custom needs {' and '.join(missing)}, got none")
        if isinstance(form, Kserve) != (told.get("image", form.image) == "tensor"):
            raise InputError(f"target.image=tensor is target.service=kserve's, got target.service={self.service}")
        batch = self.batch or form.batch
        if told.get("image", form.image) == "bytes" and batch != 1:
            raise InputError(f"target.batch must be 1 where an image's bytes are sent, got {batch}")
        check_told(told, self.answers)
        version = {"version": told.pop("reports")} if "reports" in told else {}
        return replace(form, **told, **version, batch=batch)

    @property
    def _url(self) -> str | None:
        """The address to which images are sent; KServe's goes on from that of the server."""
        if self.service == "kserve" and self.url:
            if not self.model:
                raise InputError("target.service=kserve needs target.model, the model's name, got none")
            return f"{self.url.rstrip('/')}/v2/models/{self.model}/infer"
        return self.url or FORMS[self.service].url

    @property
    def _rule(self) -> InputRule:
        mean, std = normalization(self.normalize)
        if self.service != "kserve" and self.normalize != "none":
            raise InputError(f"target.normalize must be none where images are sent as files, got {self.normalize}")
        return InputRule(mean, std, self.side, None, self.interpolation, self.channels)

    @property
    def _trusted(self) -> ssl.SSLContext:
        """The certificates that are trusted; there is no way to trust all."""
        if self.ca_file is None:
            return ssl.create_default_context()
        try:
            return ssl.create_default_context(cafile=str(Path(self.ca_file).expanduser()))
        except (OSError, ssl.SSLError) as unreadable:
            raise InputError(f"target.ca_file must be a file of certificates (PEM), got {self.ca_file}") from unreadable

    @property
    def _answers(self) -> KeptAnswers:
        if self.kept is None:
            raise InputError("target=http is built by an audit, which keeps what the service answers")
        return self.kept
