"""`lpla shadows plan` and `lpla shadows run`: shadows that a user's own command trains, by the target's recipe.

    lpla shadows plan DIR k=8 data.members=photos/in data.nonmembers=photos/out
    lpla shadows run DIR --command "python train.py --list {members} --seed {seed} --out {out}"
    lpla target=checkpoint target.shadows=DIR ...

An audit then compares each image with itself under encoders that held it and encoders that did not.
"""

from __future__ import annotations

import argparse
import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lpla.contracts.commands import command_parser, ending_in_one_sentence
from lpla.contracts.result import InputError

DEFAULT = 4
DESCRIBED = """Train shadows of your encoder, on halves of the same images by the same recipe, with your own command.
An audit then compares each image with itself under encoders that held it and encoders that did not.

    lpla shadows plan DIR k=8 data.members=photos/in data.nonmembers=photos/out
    lpla shadows run DIR --command "python train.py --list {members} --seed {seed} --out {out}"
    lpla target=checkpoint target.shadows=DIR ..."""


def show(arguments: Sequence[str], prog: str = "lpla shadows") -> None:
    """Plan or train; ends the process with one sentence for a mistake, and for a training that fails."""
    given = parser(prog).parse_args(arguments)
    with ending_in_one_sentence():
        if given.step == "plan":
            for line in plan(Path(given.folder), given.settings):
                print(line)
        else:
            from lpla.auditing.shadow_training import train

            train(Path(given.folder), given.command)


def parser(prog: str = "lpla shadows") -> argparse.ArgumentParser:
    """Return the parser of `lpla shadows`, with its help."""
    made = command_parser(prog, DESCRIBED)
    form = made.formatter_class
    steps = made.add_subparsers(dest="step", metavar="STEP", required=True)
    words = "write who is trained on what: a list of files for each shadow, and memberships.csv"
    end = f"example: {prog} plan shadows k=8 data.members=photos/in data.nonmembers=photos/out"
    planned = steps.add_parser(
        "plan", help=words, description=f"{words[0].upper()}{words[1:]}.", epilog=end, formatter_class=form
    )
    planned.add_argument("folder", metavar="DIR", help="the folder where shadows are planned and trained")
    told = f"k=K, how many (an even number, {DEFAULT} unless said), and settings of the audit: data.members, data."
    told += "nonmembers, data.root, seed, ..."
    planned.add_argument("settings", metavar="SETTING", nargs="*", default=[], help=told)
    words = "train the shadows that are not trained yet, one after the other"
    end = f'example: {prog} run shadows --command "python train.py --list {{members}} --seed {{seed}} --out {{out}}"'
    trained = steps.add_parser(
        "run", help=words, description=f"{words[0].upper()}{words[1:]}.", epilog=end, formatter_class=form
    )
    trained.add_argument("folder", metavar="DIR", help="the folder that was planned")
    words = "with {members} for the list of files, {out} for the file to write and {seed}; no shell reads it"
    trained.add_argument("--command", required=True, help=f"the command that trains one encoder, {words}")
    return made


def plan(folder: Path, told: Sequence[str]) -> list[str]:
    """Write a list of members for each shadow, and `memberships.csv`.

    Shadows come in pairs: each pair halves the candidates of the lists, near-duplicates together.

    Args:
        folder: where; it must not hold another plan.
        told: k=K and settings of the audit, as on its command line.

    Returns:
        Lines on what was written.

    Raises:
        InputError: for settings that cannot be used, or a folder with another plan.
    """
    from lpla.auditing.own_shadows import MEMBERS, PLAN, TABLE
    from lpla.data.memberships import write_memberships
    from lpla.data.split.given import over_all

    shadows, images, membership, seed = _drawn(told)
    names = [f"shadow_{row}" for row in range(1, shadows + 1)]
    inside = dict(zip(names, over_all(images, membership)[1:], strict=True))
    assert images.root is not None and images.names is not None
    files = [str(images.root / name) for name in images.names]
    facts = json.dumps({"root": str(images.root), "seeds": {name: seed_of(seed, name) for name in names}}, indent=1)
    lists = {name: "".join(f"{files[i]}\n" for i in row.nonzero()[0]) for name, row in inside.items()}
    texts = {f"{name}/{MEMBERS}": text for name, text in lists.items()} | {PLAN: facts}
    before = {name: (folder / name).read_text() for name in texts if (folder / name).is_file()}
    if (folder / PLAN).exists() and before != texts:
        raise InputError(f"DIR must be a folder without another plan, got {folder}, which has one of other settings")
    for name, text in texts.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch(mode=0o600)  # Who was a member may be nobody else's to read.
        (folder / name).write_text(text)
    write_memberships(folder / TABLE, images, inside)
    sizes = sorted({int(row.sum()) for row in inside.values()})
    counts = " to ".join(map(str, dict.fromkeys((sizes[0], sizes[-1]))))
    return [
        f"{folder}: {shadows} shadows of {counts} images each; candidates: {len(membership.index)}; {images.summary}",
        f'next: lpla shadows run {folder} --command "python train.py --list {{members}} --seed {{seed}} --out {{out}}"',
    ]


def _drawn(told: Sequence[str]) -> tuple[int, Any, Any, int]:
    """How many shadows there are, the images, who is in which, and the audit's seed."""
    from lpla.auditing.checks import typed
    from lpla.auditing.dearest import check_decoding
    from lpla.auditing.knowledge import separate_views
    from lpla.auditing.settings import composed
    from lpla.work.plug_in import load_images, plug_in

    counts = [one.removeprefix("k=") for one in told if one.startswith("k=")]
    k = counts[-1] if counts else str(DEFAULT)
    if not k.isdecimal() or not 2 <= int(k) <= 1000 or int(k) % 2:
        raise InputError(f"k must be an even number from 2 to 1000, as shadows come in pairs, got {k}")
    others = [one for one in told if not one.startswith("k=")]
    usual = [] if any(one.startswith(("target=", "dataset=")) for one in others) else ["dataset=given"]
    usual += [] if any(one.startswith("members=") for one in others) else ["members=null"]
    given = composed([*usual, *others])
    settings = separate_views(typed(given.config))
    check_decoding(given)
    images = load_images(settings["dataset"])
    if images.lists is None:
        raise InputError(f"shadows are planned on lists of members and non-members, got dataset={images.name}")
    membership = plug_in(settings["split"]).draw(images, settings["members"], int(k), settings["seed"])
    return int(k), images, membership, int(settings["seed"])


def seed_of(seed: int, name: str) -> int:
    """A training's own seed: 31 bits, which every tool takes, of the audit's seed and the shadow's name."""
    return int.from_bytes(hashlib.sha256(f"{name} {seed}".encode()).digest()[:4]) >> 1
