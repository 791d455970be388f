"""The answers of a service in the store: one SQLite file for each service, so that no kill loses or repeats one.

ROOT/answers/<key>/ holds `answers.sqlite` beside `recipe.json`, which says whose they are. An artifact that grows has
no checksums; SQLite's own transactions keep it whole, and several processes of a machine may use it at once. A power
cut may take the last moments along (a write-ahead log that is not synchronised every time), and damages nothing.
"""

from __future__ import annotations

import json
import sqlite3
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, closing, contextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np

from lpla.contracts.answers import Counts, Vector
from lpla.contracts.result import InputError
from lpla.store.artifacts import ANSWERS, RECIPE, Store, key_of

FILE = "answers.sqlite"
TABLES = """
CREATE TABLE answers (digest TEXT, purpose TEXT, vector BLOB, PRIMARY KEY (digest, purpose)) WITHOUT ROWID;
CREATE TABLE counts (name TEXT PRIMARY KEY, number INTEGER);
CREATE TABLE facts (name TEXT PRIMARY KEY, value TEXT);
INSERT INTO counts VALUES ('queries', 0), ('requests', 0), ('answers', 0);
"""
AT_ONCE = 500
"""Digests in one question to SQLite."""
IN_MEMORY = ":memory:"
PATIENCE = 60
"""Seconds for which one process waits until another has written."""


class Answers:
    """Keeps the answers of one service; `lpla.contracts.answers.KeptAnswers` says what each method does."""

    def __init__(self, root: str | Path, service: Mapping[str, Any]) -> None:
        """Name the place; nothing is written before something is to be kept.

        Args:
            root: The store's folder.
            service: What identifies the service: everything but the image that an answer depends on.
        """
        self.root, self.service = root, dict(service)
        self._lock = threading.RLock()
        self._held: sqlite3.Connection | None = None

    @contextmanager
    def session(self) -> Iterator[None]:
        """Keep the file open for as long as this lasts, for all threads."""
        file = self._file(make=True)
        assert file is not None
        with _opened(file) as database:
            self._held = database
            try:
                yield
            finally:
                with self._lock:
                    self._held = None

    def find(self, digests: Sequence[str], purpose: str = "") -> dict[str, Vector]:
        """Return those of the answers that are kept; arguments and result are as of `KeptAnswers.find`."""
        found: dict[str, Vector] = {}
        with self._reading() as database:
            for start in range(0, len(digests), AT_ONCE):
                part = [*digests[start : start + AT_ONCE]]
                marks = ",".join("?" * len(part))
                rows = database.execute(
                    f"SELECT digest, vector FROM answers WHERE purpose = ? AND digest IN ({marks})", [purpose, *part]
                )
                found |= {digest: np.frombuffer(vector, dtype="<f4").astype(np.float32) for digest, vector in rows}
        return found

    def digests(self) -> list[str]:
        """Return the digests of all ordinary answers."""
        with self._reading() as database:
            return [digest for (digest,) in database.execute("SELECT digest FROM answers WHERE purpose = ''")]

    def reserve(self, queries: int, budget: int | None) -> bool:
        """Count a request before it is sent, unless it is over the budget."""
        with self._writing() as database:
            (sent,) = database.execute("SELECT number FROM counts WHERE name = 'queries'").fetchone()
            if budget is not None and sent + queries > budget:
                return False
            _add(database, "queries", queries)
            _add(database, "requests", 1)
        return True

    def refused(self, queries: int) -> None:
        """Take the images of a refused request back."""
        with self._writing() as database:
            _add(database, "queries", -queries)

    def keep(self, answers: Mapping[str, Vector], purpose: str = "") -> None:
        """Keep answers; an answer that is kept already stays as it is."""
        rows = [(digest, purpose, np.asarray(one, dtype="<f4").tobytes()) for digest, one in answers.items()]
        with self._writing() as database:
            new = database.executemany("INSERT OR IGNORE INTO answers VALUES (?, ?, ?)", rows).rowcount
            _add(database, "answers", max(0, new))  # -1 of no rows

    def facts(self) -> dict[str, Any]:
        """Return what is known of the service."""
        with self._reading() as database:
            return {name: json.loads(value) for name, value in database.execute("SELECT name, value FROM facts")}

    def learn(self, **facts: Any) -> dict[str, Any]:
        """Keep what is not known yet, and return all that is known."""
        with self._writing() as database:
            new = [(name, json.dumps(value)) for name, value in facts.items()]
            database.executemany("INSERT OR IGNORE INTO facts VALUES (?, ?)", new)
        return self.facts()

    def counts(self) -> Counts:
        """Return what was asked so far."""
        with self._reading() as database:
            return Counts(**dict(database.execute("SELECT name, number FROM counts")))

    @contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        """One transaction, which outlives a kill afterwards; a full disk raises InputError."""
        try:
            with self._open(self._file(make=True)) as database:
                database.execute("BEGIN IMMEDIATE")
                try:
                    yield database
                except BaseException:
                    database.rollback()
                    raise
                database.commit()
        except sqlite3.OperationalError as refused:
            raise InputError(f"store={self.root} refused an answer: {refused}; those before it are kept") from refused

    def _reading(self) -> AbstractContextManager[sqlite3.Connection]:
        """What is kept; where that is nothing, tables without a row."""
        return self._open(self._file(make=False))

    @contextmanager
    def _open(self, file: Path | None) -> Iterator[sqlite3.Connection]:
        """The session's connection, which threads take in turn, or one of its own; without a file one in memory."""
        with self._lock:
            if self._held is not None:
                yield self._held
                return
        with _opened(file or IN_MEMORY) as database:
            if file is None:
                database.executescript(TABLES)
            yield database

    def _file(self, make: bool) -> Path | None:
        """The file, made if so wished; None where there is none."""
        key = key_of(self.service)
        file = Path(self.root).expanduser().absolute() / ANSWERS / key / FILE
        if file.is_file() or not make:
            return file if file.is_file() else None
        store = Store(self.root)
        place = store.path(ANSWERS, key)
        with store.lock(ANSWERS, self.service):
            if file.is_file():
                return file
            place.mkdir(mode=0o700, parents=True, exist_ok=True)
            (place / RECIPE).write_text(json.dumps(self.service, indent=1, sort_keys=True))
            # Under its name once it is whole: a kill leaves a draft.
            draft = place / f"{uuid4().hex}.draft"
            with _opened(draft) as database:
                database.execute("PRAGMA journal_mode = WAL")
                database.executescript(TABLES)
            draft.rename(file)
        return file


@contextmanager
def _opened(file: Path | str) -> Iterator[sqlite3.Connection]:
    """A connection that is closed at the end; threads may share it in turn."""
    with closing(sqlite3.connect(file, timeout=PATIENCE, isolation_level=None, check_same_thread=False)) as database:
        database.execute("PRAGMA synchronous = NORMAL")
        yield database


def _add(database: sqlite3.Connection, name: str, number: int) -> None:
    database.execute("UPDATE counts SET number = number + ? WHERE name = ?", (number, name))
