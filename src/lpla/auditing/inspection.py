"""What a file of somebody else's is, and which setting would read it: `lpla inspect FILE`, with no more settings.

Nothing of the file is executed. A file of weights is compared with the architectures that are known, or that are named.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from lpla.contracts.commands import command_parser, ending_in_one_sentence
from lpla.contracts.result import InputError

SHOWN = 5
"""Architectures for each prefix, the best first."""
LEAST = 0.2
"""Part of an architecture's tensors from which on it is worth a line."""
UNREAD = 2
"""Exit code for a file that no target reads as it stands."""
ARGUMENT = "+target.arguments."
"""How a setting begins that is an argument of the architectures."""


def parser(prog: str = "lpla inspect") -> argparse.ArgumentParser:
    """Return the parser of `lpla inspect`, with its help."""
    described = (
        "Say what a file of an encoder is, what it holds and which settings read it. Nothing of it is executed.\n"
        "The last line that is printed can be given to lpla as it stands, with your lists of images.\n"
        f"Exit codes: 0 where such a line is printed, {UNREAD}, with a sentence, where no target reads the file."
    )
    end = f"examples:\n  {prog} encoder.ckpt\n  {prog} encoder.pth timm/vit_small_patch16_224 {ARGUMENT}img_size=96"
    made = command_parser(prog, described, end)
    made.add_argument("file", metavar="FILE", help="a file or folder that holds an encoder")
    named = f"architectures in place of those that are known, and their arguments as {ARGUMENT}NAME=VALUE"
    made.add_argument("arch", metavar="LIBRARY/NAME", nargs="*", default=[], help=named)
    return made


def show(arguments: Sequence[str], prog: str = "lpla inspect") -> None:
    """Print what a file is; ends the process with `UNREAD` and one sentence if no target reads it as it stands."""
    given = parser(prog).parse_args(arguments)
    with ending_in_one_sentence(UNREAD):
        for line in describe(given.file, given.arch):
            print(line)


def describe(file: str, archs: Sequence[str] = ()) -> Iterator[str]:
    """The lines on a file: what it is, what it holds, which settings read it.

    Args:
        file: its path.
        archs: architectures to compare a file of weights with, and their arguments as settings; none: those that are
            known.

    Raises:
        InputError: it is not there, is damaged, would have code executed, or no target reads it as it stands.
    """
    from lpla.encoders.target._reading import KINDS, REMEDIES, digest, existing, kind_of, read_weights

    path = existing(file, "a file or folder that holds an encoder")
    kind = kind_of(path)
    if kind == "folder":
        yield from _folder(path)
        return
    yield f"{path}: {KINDS[kind]}, {path.stat().st_size / 1e6:.1f} MB, sha256 {digest([path])}"
    if kind in ("torch", "legacy", "safetensors"):
        yield from _weights(path, read_weights(path), archs)
    elif kind in ("torchscript", "exported", "onnx"):
        target = "onnx" if kind == "onnx" else "exported"
        more = " target.run_code=true (loading runs the file's program)" if kind == "torchscript" else ""
        yield f"read by: target={target} target.file={path} target.normalize=...{more}"
    else:
        raise InputError(f"no target reads {path}: {REMEDIES[kind]}")


def _folder(path: Path) -> Iterator[str]:
    from lpla.encoders.target._reading import read_json

    config = path / "config.json"
    if not config.is_file():
        raise InputError(f"no target reads {path}: it is a folder without config.json")
    found = read_json(config)
    if "pretrained_cfg" in found:
        yield f"{path}: a folder of timm, {found.get('architecture')}, with its input rule"
        yield f"read by: target=timm target.file={path}"
        return
    named = found.get("architectures")
    names = ", ".join(map(str, named)) if isinstance(named, list) else "of no named architecture"
    rule = "with" if (path / "preprocessor_config.json").is_file() else "without"
    yield f"{path}: a folder of transformers, {names}, {rule} its input rule"
    asked = "" if rule == "with" else " target.normalize=..."
    yield f"read by: target=huggingface target.file={path}{asked}"


def _weights(path: Path, saved: Any, archs: Sequence[str]) -> Iterator[str]:
    from lpla.encoders.target._networks import KNOWN, shapes_of
    from lpla.encoders.target._state_dicts import matches, state_dicts

    yield f"holds: {_contents(saved)}"
    settings = _arguments(archs)
    if not any(state_dicts(saved)):
        raise InputError(f"no target reads {path}: it holds no tensors by the names of a network's weights")
    known = [(arch, settings) for arch in archs if not arch.startswith("+")] or list(KNOWN)
    found = [(arch, settings, one) for arch, settings in known for one in matches(saved, *shapes_of(arch, settings))]
    places: dict[str, list[tuple[str, Mapping[str, Any], Any]]] = {}
    for arch, settings, one in found:
        if one.named >= LEAST * one.total:
            places.setdefault(one.path, []).append((arch, settings, one))
    for place, there in places.items():
        best = sorted(there, key=lambda entry: _rank(entry[2]), reverse=True)[:SHOWN]
        parts = ", ".join(f"{_named(arch, settings)} {_part(one)}" for arch, settings, one in best)
        yield f"below {place or '(no prefix)'}: {parts}"
    if not places:
        raise InputError(
            "no known architecture has a fifth of its tensors here: name it, as in `lpla inspect FILE timm/NAME`"
        )
    else:
        yield from _choice(path, saved, [entry for there in places.values() for entry in there])


def _arguments(archs: Sequence[str]) -> dict[str, Any]:
    """The settings among what was given; raises InputError for any other than an argument of an architecture."""
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException
    from yaml import YAMLError

    from lpla.contracts.settings import listed

    given = [one for one in archs if one.startswith("+")]
    if wrong := [one for one in given if not one.startswith(ARGUMENT) or "=" not in one]:
        raise InputError(f"a setting here must be {ARGUMENT}NAME=VALUE, got {wrong[0]}")
    if given and len(given) == len(archs):
        raise InputError(f"{ARGUMENT}NAME=VALUE needs an architecture as LIBRARY/NAME before it, got {given[0]} alone")
    try:
        told: Any = OmegaConf.to_container(OmegaConf.from_dotlist([one.removeprefix(ARGUMENT) for one in given]))
    except (YAMLError, OmegaConfBaseException) as unreadable:
        said = " ".join(str(unreadable).split())
        raise InputError(f"a setting here must be {ARGUMENT}NAME=VALUE, got {listed(given)}: {said}") from unreadable
    return told


def _choice(path: Path, saved: Any, found: Sequence[tuple[str, Mapping[str, Any], Any]]) -> Iterator[str]:
    """Which match would be taken and why, what is ignored or missing, and the settings."""
    from lpla.encoders.target._networks import shapes_of
    from lpla.encoders.target._projectors import heads, own_head
    from lpla.encoders.target._state_dicts import choose, ignored, state_dicts

    arch, settings, _ = max(found, key=lambda entry: _rank(entry[2]))
    same = [one for name, given, one in found if (name, given) == (arch, settings)]
    try:
        match, why = choose(same, None, arch, path.name)
    except InputError as mistake:
        raise InputError(f"nothing is taken: {mistake}") from mistake
    tensors = dict(state_dicts(saved))[match.container]
    yield f"would take: {why}; missing: nothing"
    names = shapes_of(arch, settings)[match.numbered]
    head = own_head(heads(tensors, {match.prefix + name for name in names}), match)
    yield f"projector: {head.described() if head else 'none that is known to be it'}"
    yield f"ignored: {', '.join(ignored(tensors, match, names)) or 'nothing'}"
    more = "".join(f" +target.arguments.{name}={value}" for name, value in settings.items())
    yield f"read by: target=checkpoint target.file={path} target.arch={arch}{more} target.normalize=..."


def _rank(match: Any) -> tuple[float, ...]:
    """The best match is complete, has most of its architecture's tensors, by shape and else by name, and is large."""
    return match.found / match.total, match.named / match.total, match.total


def _part(match: Any) -> str:
    """How many of an architecture's tensors are there, and how many of those in another shape."""
    shapes = f" ({len(match.misshapen)} of another shape)" if match.misshapen else ""
    return f"{match.named}/{match.total}{shapes}"


def _contents(saved: Any) -> str:
    """What stands at the top of a file, tensors counted."""
    if not isinstance(saved, Mapping):
        return type(saved).__name__
    plain = {str(name): value for name, value in saved.items() if not hasattr(value, "shape")}
    others = [f"{name} ({len(one)})" if isinstance(one, Mapping) else name for name, one in plain.items()]
    tensors = len(saved) - len(plain)
    return ", ".join([*([f"{tensors} tensors"] if tensors else []), *others])


def _named(arch: str, settings: Mapping[str, Any]) -> str:
    return f"{arch}({', '.join(f'{name}={value}' for name, value in settings.items())})" if settings else arch
