"""Weights from a file that somebody else wrote: what the file is, by its content, and its tensors, nothing executed.

`torch.load(weights_only=True)` alone reads pickles. Classes that checkpoints carry beside their tensors (argparse's
Namespace, paths, numpy's scalars, OmegaConf's and Lightning's containers) are allowed by name, and stand-ins that do
nothing take their places; whatever else a pickle would call is refused and named.
"""

import hashlib
import json
import re
import struct
import zipfile
from collections.abc import Iterable, Mapping
from functools import lru_cache
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch

from lpla.contracts.inputs import InputError
from lpla.contracts.settings import listed

KINDS = {
    "torch": "weights, by torch.save",
    "legacy": "weights, by torch.save of before torch 1.6",
    "safetensors": "weights, as safetensors",
    "torchscript": "a TorchScript program (target=exported)",
    "exported": "a program of torch.export (target=exported)",
    "onnx": "an ONNX model (target=onnx)",
    "folder": "a folder",
    "lfs": "a Git-LFS pointer, not the file itself",
    "empty": "an empty file",
    "truncated": "a truncated file",
    "html": "a web page",
    "pickle": "a pickle that torch.save did not write",
    "unknown": "a file of no known kind",
}
REMEDIES = {
    "lfs": "fetch the file with `git lfs pull`",
    "empty": "download or copy it again",
    "truncated": "download or copy it again",
    "html": "download the file itself, not the page about it",
    "pickle": "save the model's state_dict() with torch.save or safetensors",
    "torchscript": "choose target=exported",
    "exported": "choose target=exported",
    "onnx": "choose target=onnx",
    "folder": "name a file within it, or choose target=huggingface or target=timm",
    "unknown": "give weights that torch.save or safetensors wrote",
}
LEGACY = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."
DICTS = re.compile(r"collections\.defaultdict|.*\.AttributeDict")
HARMLESS = re.compile(
    r"argparse\.Namespace|pathlib\.(_local\.)?\w*Path|typing\.Any|numpy\.\w+|numpy\.dtypes\.\w+"
    r"|numpy\.(_core|core)\.multiarray\.(scalar|_reconstruct)|omegaconf\.[\w.]+|types\.SimpleNamespace"
    r"|builtins\.(dict|list|tuple|set|str|int|float|bool|bytes)"
)
REFUSED = re.compile(r"GLOBAL ([\w.]+)|unsupported GLOBAL ([\w.]+)")


class _Inert:
    """Takes a harmless object's place, and does nothing with what it is given."""

    def __new__(cls, *_: object, **__: object) -> "_Inert":
        return object.__new__(cls)

    def __init__(self, *_: object, **__: object) -> None: ...

    def __setstate__(self, state: object) -> None: ...


class _PlainDict:
    """Takes the place of a dictionary's subclass, with a dictionary."""

    def __new__(cls, *_: object) -> dict:
        return {}


def kind_of(path: Path) -> str:
    """What a file is, one of KINDS, by its first bytes and its archive's table of contents, never by its name alone."""
    if path.is_dir():
        return "folder"
    with path.open("rb") as file:
        start = file.read(512)
    size = path.stat().st_size
    if not start:
        return "empty"
    if start.startswith(b"version https://git-lfs"):
        return "lfs"
    if start.startswith(b"PK\x03\x04"):
        return _kind_of_archive(path)
    if size > 8 and (length := struct.unpack("<Q", start[:8])[0]) < 2**40 and start[8:9] == b"{":
        return "safetensors" if size >= 8 + length else "truncated"
    if start.startswith(LEGACY):
        return "legacy"
    if start.lstrip()[:1] == b"<":
        return "html"
    if path.suffix == ".onnx" or re.match(rb"\x08[\x03-\x20]\x12", start):
        return "onnx"
    return "pickle" if start[0] == 0x80 else "unknown"


def _kind_of_archive(path: Path) -> str:
    try:
        with zipfile.ZipFile(path) as archive:
            names = [name.partition("/")[2] for name in archive.namelist()]
    except zipfile.BadZipFile:
        return "truncated"
    if "models/model.json" in names or "serialized_exported_program.json" in names:
        return "exported"
    if "data.pkl" in names:
        return "torchscript" if any(name.startswith("code/") for name in names) else "torch"
    return "unknown"


def existing(file: str | None, what: str = "the encoder's file") -> Path:
    """The path that target.file names; raises InputError if there is nothing."""
    if not file:
        raise InputError(f"target.file must be the path of {what}, got nothing")
    path = Path(file).expanduser()
    if not path.exists():
        raise InputError(f"target.file must be the path of {what}, but there is nothing at {path}")
    if not path.is_file() and not path.is_dir():  # To read a pipe or a device may take for ever.
        raise InputError(f"target.file must be the path of {what}, but {path} is neither a file nor a folder")
    return path


def check_weights(path: Path) -> None:
    """Raise InputError unless a file's first bytes are those of weights; what is missing at its end is not seen."""
    if (kind := kind_of(path)) not in ("torch", "legacy", "safetensors"):
        raise _unusable(path, kind)


def read_weights(path: Path) -> Any:
    """What a file of weights holds, tensors on the CPU and plain objects around them.

    Args:
        path: a file by torch.save or safetensors, whatever its name ends in.

    Returns:
        What was saved; harmless objects that are no tensors, numbers, texts or containers have stand-ins.

    Raises:
        InputError: the file is of another kind, is damaged, or would have code executed, which is named.
    """
    kind = kind_of(path)
    if kind == "safetensors":
        from safetensors import SafetensorError
        from safetensors.torch import load_file

        try:
            return load_file(path)
        except SafetensorError as damaged:
            raise _unusable(path, "truncated") from damaged
    check_weights(path)
    allowed: dict[str, type] = {}
    while True:
        try:
            with torch.serialization.safe_globals([(stand_in, name) for name, stand_in in allowed.items()]):
                return torch.load(path, map_location="cpu", weights_only=True)
        except UnpicklingError as refused:
            names = _globals(path, kind, str(refused))
            if bad := sorted(name for name in names if not HARMLESS.fullmatch(name) and not DICTS.fullmatch(name)):
                raise _refusal(path, bad) from None
            if not names or set(names) <= set(allowed):
                raise InputError(f"target.file={path} cannot be read as weights: {_first_line(refused)}") from refused
            allowed |= {name: _PlainDict if DICTS.fullmatch(name) else _Inert for name in names}
        except (RuntimeError, EOFError, OSError) as damaged:
            raise _unusable(path, "truncated") from damaged


def read_json(file: Path) -> dict[str, Any]:
    """What a configuration beside the weights says; raises InputError unless it is an object of JSON."""
    try:
        found = json.loads(file.read_text())
    except (ValueError, OSError) as damaged:
        raise InputError(f"{file} must be an object of JSON, but cannot be read: {damaged}") from damaged
    if not isinstance(found, dict):
        raise InputError(f"{file} must be an object of JSON, got {type(found).__name__}")
    return found


def check_tensors(tensors: Mapping[str, torch.Tensor], like: Mapping[str, torch.Tensor]) -> None:
    """Raise InputError for weights that a network of the tensors `like` would take as others, or not take at all."""
    for name, tensor in tensors.items():
        if tensor.is_meta or tensor.layout != torch.strided or tensor.is_quantized:
            how = "without values (meta)" if tensor.is_meta else "quantised" if tensor.is_quantized else "sparse"
            raise InputError(f"target.file must hold dense tensors with their values, but {name} is {how}")
        if like[name].is_floating_point() and not tensor.is_floating_point():
            kind = str(tensor.dtype).removeprefix("torch.")
            why = f"target.file must hold floating-point weights, but {name} is of {kind}"
            raise InputError(f"{why}: give the file of before quantisation or conversion")
        if tensor.is_floating_point() and bool(tensor.isnan().any()):
            raise InputError(f"target.file must hold a network of numbers, but {name} has NaN: its training diverged")


def _globals(path: Path, kind: str, said: str) -> list[str]:
    """What the pickle asks for beyond tensors: all of it, or, in an old file, the first that torch refused."""
    if kind == "torch":
        return torch.serialization.get_unsafe_globals_in_checkpoint(str(path))
    found = REFUSED.search(said)
    name = next(filter(None, found.groups())) if found else ""
    return [name if "." in name else f"builtins.{name}"] if name else []


def _unusable(path: Path, kind: str) -> InputError:
    return InputError(f"target.file={path} must hold an encoder's weights, but is {KINDS[kind]}: {REMEDIES[kind]}")


def _refusal(path: Path, names: list[str]) -> InputError:
    remedy = "save the model's state_dict() alone, or give an exported file"
    if any(name.startswith("lightly_train.") for name in names):
        remedy = "give LightlyTrain's exported_models/exported_last.pt in place of this checkpoint"
    return InputError(
        f"target.file={path} must hold weights alone, but would run {listed(names, 5)}, which was refused: {remedy}"
    )


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0]


def digest(paths: Iterable[Path]) -> str:
    """SHA-256 of files by their content: of one file as `sha256sum` has it, of several of the list of theirs."""
    found = []
    for path in paths:
        state = path.stat()
        found.append(_digest(path, state.st_mtime_ns, state.st_size))
    return found[0] if len(found) == 1 else hashlib.sha256("\n".join(found).encode()).hexdigest()


@lru_cache(maxsize=64)
def _digest(path: Path, modified: int, size: int) -> str:  # a file in another state is read again
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
