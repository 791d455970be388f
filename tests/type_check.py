"""What jaxtyping's import hook decorates every function and dataclass of lpla with in tests: beartype, but for `Self`.

The hook decorates methods one by one, and beartype knows what `Self` is only where it decorates the whole class.
`jaxtyping.jaxtyped` checks the arguments of a call twice and compiles what checks a function within a function each
time that one is made, which was most of the CPU's time of many a test: `checked` does either once, with the same
annotations.
"""

import functools
import inspect
import types
import typing
import warnings
from collections.abc import Callable
from dataclasses import is_dataclass
from typing import Any, Self

import jaxtyping
from beartype import BeartypeConf, FrozenDict, beartype
from beartype.door import die_if_unbearable
from beartype.roar import BeartypeCallHintViolation, BeartypeDecorHintPep585DeprecationWarning

CONF = BeartypeConf(hint_overrides=FrozenDict({Self: object}), is_pep484_tower=True)
LATER = inspect.CO_GENERATOR | inspect.CO_COROUTINE | inspect.CO_ASYNC_GENERATOR
SEVERAL = inspect.CO_VARARGS | inspect.CO_VARKEYWORDS
by_jaxtyping, call_of_its_own = jaxtyping.jaxtyped, jaxtyping.jaxtyped("context")
read: dict[types.CodeType, tuple[inspect.Signature, dict[str, Any]]] = {}
"""Of functions within functions."""


def install() -> None:
    """Check lpla in this process: every annotation at every call. It must not be imported yet."""
    jaxtyping.jaxtyped = checked  # The hook writes this name into what it decorates.
    jaxtyping.install_import_hook("lpla", "type_check.check")


def check(decorated: Any) -> Any:
    """The same with its annotations checked at every call, one by one."""
    with warnings.catch_warnings():
        # Of libraries' classes (omegaconf's DictConfig derives from typing.MutableMapping), not of ours.
        warnings.simplefilter("ignore", BeartypeDecorHintPep585DeprecationWarning)
        return beartype(conf=CONF)(decorated)


def checked(decorated: Any = None, *, typechecker: Any) -> Any:
    """The same with its annotations checked at every call, in which an axis of one name has one length."""
    if decorated is None:
        return functools.partial(checked, typechecker=typechecker)
    if inspect.isclass(decorated):
        if is_dataclass(decorated) and not hasattr(decorated.__init__, "__wrapped__"):
            decorated.__init__ = checked(decorated.__init__, typechecker=typechecker)
        return decorated
    hints = annotations(decorated)
    if hints is None:
        return by_jaxtyping(decorated, typechecker=typechecker)
    within = "<locals>" in decorated.__qualname__ and not decorated.__code__.co_flags & SEVERAL
    careful = one_by_one(decorated, hints) if within else typechecker(with_annotations(decorated, hints))

    @functools.wraps(decorated)
    def call(*args: Any, **kwargs: Any) -> Any:
        __tracebackhide__ = True
        if jaxtyping.config.jaxtyping_disable:
            return decorated(*args, **kwargs)
        try:
            with call_of_its_own:
                return careful(*args, **kwargs)
        except BeartypeCallHintViolation as error:
            raise jaxtyping.TypeCheckError(str(error)) from error

    return call


def annotations(function: Any) -> dict[str, Any] | None:
    """What a function's annotations mean; None where jaxtyping knows better how to check them."""
    if not isinstance(function, types.FunctionType) or function.__code__.co_flags & LATER:
        return None
    if function.__code__ in read:
        return read[function.__code__][1]
    try:
        hints = typing.get_type_hints(function, include_extras=True)
    except NameError:  # Of a name that type checkers alone import.
        return None
    # In braces there are lengths that are read from other arguments.
    return None if "{" in "".join(map(str, hints.values())) else hints


def with_annotations(function: types.FunctionType, hints: dict[str, Any]) -> types.FunctionType:
    """A function of the same code with these annotations, so that the function keeps its own."""
    code, names = function.__code__, function.__globals__
    twin = types.FunctionType(code, names, function.__name__, function.__defaults__, function.__closure__)
    twin.__kwdefaults__, twin.__annotations__ = function.__kwdefaults__, hints
    twin.__qualname__, twin.__module__ = function.__qualname__, function.__module__
    return twin


def one_by_one(function: types.FunctionType, hints: dict[str, Any]) -> Callable:
    """The same with its annotations checked at every call, for which nothing is compiled when it is made anew."""
    signature, hints = read.setdefault(function.__code__, (inspect.signature(function), hints))

    def call(*args: Any, **kwargs: Any) -> Any:
        for name, value in signature.bind(*args, **kwargs).arguments.items():
            if name in hints:
                die_if_unbearable(value, hints[name], conf=CONF, exception_prefix=f"{function.__qualname__}({name}) ")
        found = function(*args, **kwargs)
        if "return" in hints:
            die_if_unbearable(found, hints["return"], conf=CONF, exception_prefix=f"{function.__qualname__} returned ")
        return found

    return call
