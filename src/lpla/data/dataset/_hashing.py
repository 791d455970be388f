"""SHA-256 of image files, read once for each state of the files: who an image is, whatever it is called."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.progress import track

from lpla.data.dataset._listing import Stamp, fingerprint
from lpla.store.artifacts import Store

log = logging.getLogger(__name__)

KIND, HASHES = "file_hashes", "hashes.json"


def file_hashes(cache: str, root: Path, files: Sequence[Stamp]) -> dict[str, str]:
    """Hash files, or find their hashes from an earlier job if no file has changed since.

    Args:
        cache: the folder of the store in which hashes are kept (`data.cache`).
        root: the folder from which the files' names go.
        files: their stamps.

    Returns:
        Name -> 64 hexadecimal digits; a file that cannot be read has none, which whoever decodes it will say.

    Raises:
        InputError: `cache` cannot be written.
    """
    store = Store(cache, setting="data.cache")
    source = {"root": str(root.resolve()), "files": fingerprint(sorted(files))}
    with store.lock(KIND, source):
        if place := store.find(KIND, source):
            return json.loads((place / HASHES).read_text())
        found = _hash(root, [name for name, _, _ in files])
        if len(found) == len(files):  # What cannot be read now may be readable in the next job.
            store.put(KIND, source, lambda folder: (folder / HASHES).write_text(json.dumps(found)))
    return found


def _hash(root: Path, names: Sequence[str]) -> dict[str, str]:
    found, console = {}, Console(stderr=True)
    label = f"hashing {len(names)} images"
    for name in track(names, label, console=console, transient=True, disable=not console.is_terminal):
        try:
            with (root / name).open("rb") as file:
                found[name] = hashlib.file_digest(file, "sha256").hexdigest()
        except OSError as refused:
            log.debug("%s: %s", root / name, refused)
    return found
