"""What a setting may be: types with bounds, which pydantic checks, and one sentence for whatever is none of them.

A constructor says by its annotations what its keywords may be, and `checked` holds it to them. A model of settings
(`auditing.schema`) is held to its own by `read`. Numbers are taken strictly: `true` and `'1'` are none.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Mapping, Sequence
from functools import cache, wraps
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from annotated_types import Ge, Gt, Le, Lt
from pydantic import AfterValidator, AllowInfNan, BaseModel, ConfigDict, Strict, ValidationError, create_model
from pydantic_core import PydanticCustomError

from lpla.contracts.result import InputError, nearest

Kind = TypeVar("Kind", bound=type)
Model = TypeVar("Model", bound=BaseModel)


class SettingError(InputError):
    """Error of a setting that has no allowed value; `path` are the keys that lead to it.

    Of one that does not exist `known` are those that stand in its place: the most similar is named as it is typed, with
    all keys that lead to it.
    """

    def __init__(self, path: tuple[str, ...], problem: str, known: Sequence[str] = ()) -> None:
        # All are `args`, by which an error travels from one process to another.
        super().__init__(path, problem, known)
        self.path, self.problem, self.known = path, problem, known

    def __str__(self) -> str:
        *above, name = self.path
        hint = nearest(name, self.known, above)
        return f"{'.'.join(self.path)} {f'is no setting{hint}' if hint else self.problem}"

    def below(self, *path: str) -> SettingError:
        """Make the same error for a setting that stands below the keys `path`."""
        return SettingError((*path, *self.path), self.problem, self.known)


def _ascending(ends: tuple[float, float]) -> tuple[float, float]:
    if ends[0] > ends[1]:
        raise ValueError
    return ends


def _countable(value: int) -> int:
    return _sized(value, value <= MOST, f"up to {MOST}")


def _computable(value: float) -> float:
    fits = not value or SMALLEST <= abs(value) <= LARGEST or math.isinf(value)
    return _sized(value, fits, f"of a size from {SMALLEST:g} to {LARGEST:g}")


def _sized(value: Any, fits: bool, size: str) -> Any:
    if not fits:
        raise PydanticCustomError("size", "{size}", {"size": size})
    return value


def _filled(values: Sequence[Any]) -> Sequence[Any]:
    return _sized(values, len(values) > 0, "and which is not empty")


MOST = 2**31 - 1
"""Largest count of anything."""
SMALLEST, LARGEST = 1e-30, 1e6
"""Sizes of a number other than 0: single precision has it, and can still multiply or divide by it."""
Count = Annotated[int, Ge(1), AfterValidator(_countable)]
Whole = Annotated[int, Ge(0), AfterValidator(_countable)]
Dimension = Annotated[int, Ge(1), Le(1_000_000)]
"""Neurons of a layer, and what else a network has many of: bounded, as some libraries allocate before they count."""
Seed = Annotated[int, Ge(0), Lt(2**63)]
Positive = Annotated[float, Gt(0), AfterValidator(_computable)]
NonNegative = Annotated[float, Ge(0), AfterValidator(_computable)]
Share = Annotated[float, Ge(0), Le(1)]
"""Both ends are allowed."""
Part = Annotated[float, Gt(0), Lt(1)]
"""Neither end is allowed."""
Decay = Annotated[float, Ge(0), Lt(1)]
"""What an average or a momentum keeps at every step; at 1 nothing would ever move."""
Order = Annotated[float, Gt(0), AllowInfNan(True), AfterValidator(_computable)]
"""The order p of a norm."""
Orders = Annotated[Sequence[Order], AfterValidator(_filled)]
# A yaml's pair is a list.
Ends = Annotated[tuple[Positive, Positive], Strict(False), AfterValidator(_ascending)]
ShareEnds = Annotated[
    tuple[Annotated[float, Gt(0), Le(1)], Annotated[float, Gt(0), Le(1)]], Strict(False), AfterValidator(_ascending)
]


class Settings(BaseModel):
    """Settings by name, and no others."""

    model_config = ConfigDict(
        strict=True, extra="forbid", allow_inf_nan=False, arbitrary_types_allowed=True, protected_namespaces=()
    )


def checked(kind: Kind) -> Kind:
    """Decorate a class so that its constructor checks what it is given against its annotations.

    What the code supplies (positional-only) is not checked. A mistake raises SettingError; of a plug-in, its path
    begins with the plug-in's group, as on the command line.
    """
    init: Any = vars(kind)["__init__"]
    parameters = list(inspect.signature(init).parameters.values())[1:]
    supplied = sum(one.kind is one.POSITIONAL_ONLY for one in parameters)
    names = [one.name for one in parameters if one.kind is one.POSITIONAL_OR_KEYWORD]

    @wraps(init)
    def checking(self: Any, /, *given: Any, **settings: Any) -> None:
        named = dict(zip(names, given[supplied:], strict=False)) | settings
        init(self, *given[:supplied], **_check(kind, named, type(self).__module__))

    kind.__init__ = checking
    return kind


def check_arguments(kind: type, settings: Mapping[str, Any]) -> None:
    """Raise SettingError unless the constructor of a `checked` class may be given these settings; builds nothing."""
    owner = next((one for one in kind.__mro__ if hasattr(vars(one).get("__init__"), "__wrapped__")), None)
    if owner is not None:
        _check(owner, settings, kind.__module__)


def read(model: type[Model], settings: Mapping[str, Any]) -> Model:
    """The settings as the model has them; raises SettingError for the first that is none of it."""
    try:
        return model.model_validate(dict(settings))
    except ValidationError as wrong:
        raise _first(wrong, model, settings) from None


def shown(value: object) -> str:
    """A value as it would be written in a setting."""
    constant = {None: "null", True: "true", False: "false"}
    text = constant[value] if value is None or isinstance(value, bool) else repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."


def listed(names: Sequence[str], most: int = 10) -> str:
    """Names in a sentence, the first of them where there are many."""
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")


def plug_in_group(module: str) -> str | None:
    """The configuration group of a plug-in's module, lpla.ROOM.GROUP.OPTION; None for other modules."""
    parts = module.split(".")
    return parts[2] if parts[0] == "lpla" and len(parts) == 4 and not parts[3].startswith("_") else None


def all_known(known: Sequence[str]) -> str:
    """The clause that names every setting there is."""
    return f"; there are {', '.join(sorted(known))}" if known else "; there are none here"


def expected(annotation: Any) -> str:
    """What a type with bounds allows, in words."""
    origin, inner = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return _bounded(inner[0], inner[1:])
    if origin in (Union, UnionType):
        return " or ".join(map(expected, inner))
    if origin is Literal:
        words = [shown(one) if isinstance(one, bool) else str(one) for one in inner]
        return " or ".join(words) if len(words) <= 2 else f"one of {', '.join(words)}"
    if isinstance(origin, type) and issubclass(origin, Mapping):
        each = [expected(one) for one in inner[1:] if one is not Any]
        return "settings by name" + "".join(f", of which each is {one}" for one in each)
    if isinstance(origin, type) and issubclass(origin, Sequence):
        return f"a list of which each is {expected(inner[0])}"
    plain = {int: "an integer", float: "a finite number", str: "a text", bool: "true or false", NoneType: "null"}
    plain |= {Any: "a value"}
    return plain.get(annotation) or f"settings with a _target_ ({getattr(annotation, '__name__', annotation)})"


def _bounded(annotation: Any, metadata: Sequence[Any]) -> str:
    if get_origin(annotation) is tuple:
        each = expected(get_args(annotation)[0])
        order = " in ascending order" if AfterValidator(_ascending) in metadata else ""
        return f"two numbers{order}, each {each}"
    ends = {type(one): getattr(one, type(one).__name__.lower()) for one in metadata if type(one) in (Ge, Gt, Le, Lt)}
    noun = "an integer" if annotation is int else "a number"
    if not ends:
        return expected(annotation)
    if Ge in ends and Le in ends:
        return f"{noun} from {ends[Ge]} to {ends[Le]}"
    if Gt in ends and Lt in ends:
        return f"{noun} between {ends[Gt]} and {ends[Lt]}"
    if Gt in ends and Le in ends:
        return f"{noun} > {ends[Gt]} and at most {ends[Le]}"
    signs = {Ge: ">=", Gt: ">", Le: "<=", Lt: "<"}
    limits = " and ".join(f"{signs[end]} {limit}" for end, limit in ends.items())
    return f"{noun} {limits}" + (" or inf" if AllowInfNan(True) in metadata else "")


@cache
def _model(kind: type) -> type[Settings]:
    """The keywords of a constructor, all optional: Python itself says which are missing."""
    init: Any = vars(kind)["__init__"].__wrapped__
    hints = get_type_hints(init, include_extras=True)
    settings = [one for one in inspect.signature(init).parameters.values() if one.kind is not one.POSITIONAL_ONLY]
    fields: dict[str, Any] = {one.name: (hints.get(one.name, Any), None) for one in settings if one.name != "self"}
    return create_model(kind.__name__, __base__=Settings, **fields)


def _check(kind: type, settings: Mapping[str, Any], module: str) -> dict[str, Any]:
    """The settings, converted; `module` is that of the class which is built, perhaps one derived from `kind`."""
    try:
        found = read(_model(kind), settings)
    except SettingError as wrong:
        group = plug_in_group(module)
        raise (wrong.below(group) if group else wrong) from None
    return {name: getattr(found, name) for name in settings}


def _first(wrong: ValidationError, model: type[BaseModel], settings: Any) -> SettingError:
    """The first mistake that pydantic found, as a sentence."""
    error = wrong.errors(include_url=False)[0]
    path, annotation = [], Any
    for part in error["loc"]:
        if part not in model.model_fields:
            break
        path.append(str(part))
        field, settings = model.model_fields[str(part)], settings.get(part) if isinstance(settings, Mapping) else None
        annotation = field.rebuild_annotation()
        if not (isinstance(annotation, type) and issubclass(annotation, BaseModel)):
            break
        model = annotation
    if error["type"] == "extra_forbidden":
        name, known = str(error["loc"][-1]), list(model.model_fields)
        return SettingError((*path, name), f"is no setting{all_known(known)}", known)
    if error["type"] == "missing":
        return SettingError(tuple(map(str, error["loc"])), "must be given, got nothing")
    what = f"settings by name ({', '.join(model.model_fields)})" if annotation is model else expected(annotation)
    if error["type"] == "size":
        what = f"{what} {error['msg']}"
    return SettingError(tuple(path), f"must be {what}, got {shown(settings)}")
