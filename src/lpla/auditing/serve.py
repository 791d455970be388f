"""`lpla serve`: an encoder behind an address, to try an attack against a service and to see what a defence gives away.

lpla serve target=checkpoint target.file=encoder.ckpt target.arch=... defense=unit_norm
lpla serve --stored KEY store=store
"""

from __future__ import annotations

import argparse
import multiprocessing
import signal
import socket
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from lpla.contracts.commands import command_parser, ending_in_one_sentence
from lpla.contracts.result import InputError

if TYPE_CHECKING:
    from lpla.auditing.serving import Served
    from lpla.work.plug_in import Config

LOOPBACK = "127.0.0.1"
HOSTS = (LOOPBACK, "0.0.0.0", "::")
PORT = 8000
READ = ("target", "defense", "store")
"""Settings that a service reads, and those below them."""
BESIDE = ("target.shadows=", "target.reference=")
"""Settings of an audit alone, of encoders beside the target."""


def parser(prog: str = "lpla serve") -> argparse.ArgumentParser:
    """Return the parser of `lpla serve`, with its help."""
    described = (
        "Serve an encoder by POST /v1/embeddings, in the form that OpenAI, Jina, Infinity and vLLM have: images as\n"
        "base64 or data URIs, one vector for each. What is released is what defense=... leaves of the embeddings.\n"
        "The model's name is that of a layer: backbone or projector. There is no password: whoever reaches the\n"
        "address is answered, which is this machine alone unless --host says otherwise. Ctrl-C ends it."
    )
    end = (
        f"examples:\n  {prog} target=checkpoint target.file=encoder.ckpt target.arch=torchvision/resnet50 \\\n"
        f"      target.normalize=imagenet defense=unit_norm\n  {prog} --stored 0ccd28b814210a05e3148609374a856b"
    )
    made = command_parser(prog, described, end)
    told = "target=... and its settings, as of an audit, defense=... (none by default), store=DIR"
    made.add_argument("settings", metavar="SETTING", nargs="*", default=[], help=told)
    words = "in place of target=...: an encoder that an audit trained, by its key in the store or its folder there"
    made.add_argument("--stored", metavar="KEY", help=words)
    words = f"the address to bind to; {LOOPBACK}, this machine alone, unless you say otherwise"
    made.add_argument("--host", choices=HOSTS, default=LOOPBACK, help=words)
    made.add_argument("--port", type=int, default=PORT, help=f"the port, {PORT} unless you say otherwise")
    return made


def show(arguments: Sequence[str], prog: str = "lpla serve") -> None:
    """Serve until it is interrupted; ends the process with one sentence if the encoder cannot be served."""
    given = parser(prog).parse_args(arguments)
    with ending_in_one_sentence():
        from lpla.contracts.extras import check_installed

        check_installed("lpla serve", ["litserve"])
        served = what_is_served(given.settings, given.stored)
        layers = served.encoder().layers
        check_free(given.host, given.port)
        from lpla.auditing.serving import run_service

        signal.signal(signal.SIGTERM, _end)
        address = f"http://{LOOPBACK if given.host == LOOPBACK else socket.gethostname()}:{given.port}/v1/embeddings"
        print(f"serving {' and '.join(layers)} at {address}; Ctrl-C ends it", flush=True)
        if given.host != LOOPBACK:
            print(
                f"--host={given.host}: every machine that reaches this one is answered, without a password", flush=True
            )
        run_service(served, given.host, given.port)


def what_is_served(told: Sequence[str], stored: str | None) -> Served:
    """Return the encoder and the defence that settings name.

    Args:
        told: settings of the groups target and defense, and store, as of an audit.
        stored: the key or folder of a stored encoder; None: target=... names one.

    Raises:
        InputError: for a setting that a service does not read, none or two encoders, or an encoder that is not there.
    """
    from lpla.auditing.checks import typed
    from lpla.auditing.knowledge import separate_views
    from lpla.auditing.serving import Served
    from lpla.auditing.settings import composed
    from lpla.work.stored import stored_place

    for one in told:
        if one.partition("=")[0].lstrip("+~").partition(".")[0] not in READ:
            raise InputError(f"a service reads target=..., defense=... and store=... alone, got {one}")
    settings = separate_views(typed(composed(told).config))
    target, defense = settings["target"], settings["defense"]
    if (target is None) == (stored is None):
        got = "neither" if target is None else f"both, --stored {stored} too"
        raise InputError(f"lpla serve needs an encoder, by target=... or by --stored KEY, got {got}")
    _check_release(defense)
    if target is not None and (unread := [one for one in told if one.startswith(("store=", *BESIDE))]):
        raise InputError(f"a service of target=... reads its own settings and defense=... alone, got {unread[0]}")
    if stored is not None:
        return Served(None, str(stored_place(stored, settings["store"])), defense)
    return Served(target, None, defense)


def _check_release(defense: Config) -> None:
    """Raise InputError for a defence that is none of what is released, or that learns from images of nobody."""
    from hydra.utils import get_class

    from lpla.work.keys import changes_training
    from lpla.work.plug_in import plug_in

    kind = get_class(defense["_target_"])
    option = kind.__module__.rpartition(".")[2]
    if changes_training(kind):
        remedy = "leave it out, and serve an encoder that was trained so"
        raise InputError(f"defense={option} changes how an encoder is trained, not what is released: {remedy}")
    if plug_in(defense).outside:
        raise InputError(
            f"defense={option} learns from images that are nobody's members, which a service does not have"
        )


def check_free(host: str, port: int) -> None:
    """Raise InputError for a port that a service cannot take."""
    must = "--port must be a free port from 1024 to 65535"
    if not 1024 <= port <= 65535:
        raise InputError(f"{must}, got {port}")
    try:
        with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as tried:
            tried.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            tried.bind((host, port))
    except OSError as taken:
        raise InputError(f"{must}, but {port} cannot be taken at --host={host}: {taken.strerror}") from taken


def _end(*_: Any) -> None:
    """End at SIGTERM as at Ctrl-C, by which litserve ends its other processes; these inherit this, and end alone."""
    if multiprocessing.parent_process() is None:
        raise KeyboardInterrupt
    sys.exit()
