"""Which of a file's tensors are the encoder: state dicts within it, prefixes within those, and the released network.

A prefix is taken if every tensor of the architecture's backbone stands below it, in its shape. Of the two networks of a
pair (query and key, student and teacher, online and momentum) the one is taken that the method's authors release.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from lpla.contracts.inputs import InputError

Tensors = Mapping[str, Tensor]
Shapes = Mapping[str, tuple[int, ...]]

RELEASED = (
    ("encoder_q", "encoder_k", "MoCo's authors release and evaluate the query encoder, not its slow copy"),
    ("base_encoder", "momentum_encoder", "MoCo v3's authors release and evaluate the base encoder, not its slow copy"),
    ("teacher", "student", "DINO's and iBOT's authors evaluate the teacher by default"),
    ("state_dict_ema", "state_dict", "timm takes the averaged weights where a file holds both"),
    ("model_ema", "model", "timm takes the averaged weights where a file holds both"),
    ("backbone", "momentum_backbone", "solo-learn evaluates the network that was trained, not its slow copy"),
    ("encoder", "momentum_encoder", "solo-learn evaluates the network that was trained, not its slow copy"),
    ("backbone", "backbone_momentum", "lightly's examples evaluate the network that was trained, not its slow copy"),
    ("backbone", "slow_backbone", "lpla queries the network that was trained, not its slow copy"),
    ("online", "target", "BYOL's authors evaluate the online network"),
)
"""Word of the released network, word of the other one, and why."""


@dataclass(frozen=True)
class Match:
    """How much of an architecture's backbone stands below one prefix of one state dict of a file."""

    container: str
    """Keys that lead to the state dict, with dots; empty for the file itself."""
    prefix: str
    numbered: bool
    """Whether the network is an nn.Sequential of the architecture's children, whose names are numbers."""
    found: int
    """Tensors of the architecture's name and shape."""
    total: int
    missing: tuple[str, ...]
    misshapen: tuple[str, ...]
    """Each with both shapes, in words."""

    @property
    def complete(self) -> bool:
        """Whether the whole backbone is there."""
        return self.found == self.total

    @property
    def named(self) -> int:
        """How many tensors of the architecture's names there are, of whatever shape."""
        return self.total - len(self.missing)

    @property
    def path(self) -> str:
        """Where it stands in the file, as target.prefix names it."""
        return ".".join(filter(None, (self.container, self.prefix.rstrip("."))))


def state_dicts(saved: Any, at: str = "", depth: int = 3) -> Iterator[tuple[str, Tensors]]:
    """Every state dict of what a file holds, with the keys that lead to it."""
    if not isinstance(saved, Mapping):
        return
    tensors = {str(name): value for name, value in saved.items() if isinstance(value, Tensor)}
    if any(name.endswith("weight") for name in tensors):
        yield at, tensors
    for name, value in saved.items():
        if depth and str(name) not in ("optimizer", "optimizer_states"):
            yield from state_dicts(value, f"{at}.{name}" if at else str(name), depth - 1)


def backbone_shapes(state: Tensors) -> dict[str, tuple[int, ...]]:
    """What a file must hold of an architecture: all but the counters of batch norms, which change no answer."""
    return {name: tuple(t.shape) for name, t in state.items() if not name.endswith("num_batches_tracked")}


def matches(saved: Any, shapes: Shapes, numbered: Shapes | None = None) -> list[Match]:
    """Every prefix below which a file holds a part of an architecture, the best first.

    Args:
        saved: what the file holds.
        shapes: of the tensors of the architecture's backbone, by name.
        numbered: the same by the names that they have in an nn.Sequential of its children; None if it cannot be one.
    """
    found = []
    for container, tensors in state_dicts(saved):
        for names, is_numbered in ((shapes, False), (numbered or {}, True)):
            found += [_match(container, prefix, is_numbered, tensors, names) for prefix in _prefixes(tensors, names)]
    by_part = sorted(found, key=lambda one: (-one.found / one.total, -one.named / one.total, len(one.path)))
    return [one for one in by_part if one.named]


def _prefixes(tensors: Tensors, names: Shapes) -> list[str]:
    """What stands before the architecture's first or last tensor, wherever such a name ends a tensor's name."""
    ends = [*names][:1] + [*names][-1:]
    hits = {name[: -len(end)] for name in tensors for end in ends if name.endswith(end)}
    return sorted(prefix for prefix in hits if not prefix or prefix.endswith("."))


def _match(container: str, prefix: str, numbered: bool, tensors: Tensors, names: Shapes) -> Match:
    missing, misshapen = [], []
    for name, shape in names.items():
        there = tensors.get(prefix + name)
        if there is None:
            missing.append(name)
        elif tuple(there.shape) != shape:
            misshapen.append(f"{name} is {list(there.shape)}, not {list(shape)}")
    found = len(names) - len(missing) - len(misshapen)
    return Match(container, prefix, numbered, found, len(names), tuple(missing), tuple(misshapen))


def choose(
    found: Sequence[Match], prefix: str | None, arch: str, file: str, setting: str = "target.arch"
) -> tuple[Match, str]:
    """The one complete match, or of several the released one.

    Args:
        found: all matches, the best first.
        prefix: which one a user has named, as target.prefix.
        arch: the architecture's name, for messages.
        file: the file's name, for messages.
        setting: which names the architecture, for messages.

    Returns:
        The match, and a sentence that says why it was taken.

    Raises:
        InputError: none is complete (with the counts and the first names), or several are and none is known to be the
            released one.
    """
    asked = [one for one in found if prefix is None or prefix.rstrip(".") in (one.path, one.prefix.rstrip("."))]
    complete = [one for one in asked if one.complete]
    if not complete:
        raise _no_match(asked, found, prefix, arch, file, setting)
    if len(complete) == 1:
        why = "target.prefix names it" if prefix is not None else f"it alone holds all of {arch}'s backbone"
        return complete[0], f"{_shown(complete[0])} as {arch}: {why}"
    reasons = {(a, b): why for a in complete for b in complete if (why := _released(a, b))}
    best = [one for one in complete if not any(b == one for _, b in reasons)]
    if len(best) != 1:
        names = ", ".join(_shown(one) for one in complete)
        raise InputError(f"target.prefix must name one of {names}: {file} holds all of {arch} below each of them")
    others = [(b, why) for (a, b), why in reasons.items() if a == best[0]]
    over = ", ".join(_shown(b) for b, _ in others)
    return best[0], f"{_shown(best[0])} as {arch}, not {over}: {others[0][1]}"


def _released(match: Match, other: Match) -> str | None:
    """Why the first match's network is released and the second's is not; None if they are no known pair."""
    one, two = (re.sub(r"(?<![a-z])module\.", "", path) for path in (match.path, other.path))
    for word, passed, why in RELEASED:
        if one != two and re.sub(rf"(?<![a-z]){word}(?![a-z])", passed, one) == two:
            return why
    return None


def _shown(match: Match) -> str:
    return match.path or "(no prefix)"


def _no_match(
    asked: Sequence[Match], found: Sequence[Match], prefix: str | None, arch: str, file: str, setting: str
) -> InputError:
    if not found:
        return InputError(f"{setting} must be the architecture in {file}, which holds no tensor of {arch}")
    if not asked:
        there = ", ".join(_shown(one) for one in found if 2 * one.named >= found[0].named)
        return InputError(f"target.prefix must be one of {file}'s prefixes ({there}), got {prefix}")
    best = asked[0]
    part = f"of {arch}'s {best.total} tensors {best.found} are below {_shown(best)}"
    if best.misshapen:
        wrong = f"{part}; of another shape: {'; '.join(best.misshapen[:3])}{_hint(best)}"
        return InputError(f"{setting} must be the architecture in {file}, but {wrong}")
    lacking = ", ".join(best.missing[:3])
    return InputError(f"{setting} must be the architecture in {file}, but {part}; missing: {lacking}")


def _hint(match: Match) -> str:
    """What usually explains tensors of another shape."""
    wrong = match.misshapen[0]
    if "[64, 3, 3, 3], not [64, 3, 7, 7]" in wrong:
        return "; a stem for small images: target.stem=cifar (padding 1), or target.stem=solo (solo-learn's, padding 2)"
    if "pos_embed" in wrong:
        return "; positions of another image size: set target.arguments.img_size"
    if not match.missing and (channels := re.search(r"is \[(\d+).*, not \[(\d+)", wrong)):
        there, wanted = map(int, channels.groups())
        width = f"where it has a width, {there} channels for {wanted} are +target.arguments.width={there / wanted:g}"
        return f"; all its names are there, so that an argument of the architecture differs: {width}"
    if re.search(r"\[\d+, 1, .*not \[\d+, 3, ", wrong):
        return "; a stem for grey images: target.channels=1"
    return ""


def ignored(tensors: Tensors, match: Match, names: Shapes) -> list[str]:
    """Tensors of the state dict that are no part of the backbone, by group, with counts."""
    used = {match.prefix + name for name in names}
    groups: dict[str, int] = {}
    for name in tensors:
        if name not in used and not name.endswith("num_batches_tracked"):
            group = _group(name, match.prefix)
            groups[group] = groups.get(group, 0) + 1
    return [f"{group} ({count})" for group, count in groups.items()]


def _group(name: str, prefix: str) -> str:
    """The first name after what it shares with the prefix."""
    parts, shared = name.split("."), 0
    for one, other in zip(parts, prefix.rstrip(".").split("."), strict=False):
        if one != other:
            break
        shared += 1
    return ".".join(parts[: shared + 1])
