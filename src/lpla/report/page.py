"""`report.html`: one self-contained page of what a job or a sweep left, and the same table as Markdown and LaTeX."""

from __future__ import annotations

import base64
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bokeh.document import Document
from bokeh.embed import components
from bokeh.resources import Resources
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from lpla.contracts.result import columns
from lpla.report import axes, figures, formats, people, seeds
from lpla.report import thumbnails as exposed
from lpla.report.family import tally
from lpla.report.outputs import Left, command, config, jobs_below, read, versions
from lpla.report.rows import Row, chosen_columns, csv_text, short_label, write_csv
from lpla.report.table import as_strings, verdicts

log = logging.getLogger(__name__)

SCORES = 20_000
"""Images and layers up to which the page of a job brings the score of every one along, and its counts."""
NOTHING = "no job was measured"


def write(folder: Path) -> list[Path]:
    """Write `report.html`, and `table.md`, `table.tex`, `table.csv` where a job was measured; returns the files.

    Raises FileNotFoundError if the folder is neither a job's nor a sweep's.
    """
    left = read(folder)
    (folder / "report.html").write_text(render(left), encoding="utf-8")
    written = [folder / "report.html"]
    if left.measured:
        strings = as_strings(left.measured)
        caption = f"{strings.title}. {strings.caption}"
        for name, form in {"table.md": formats.markdown, "table.tex": formats.latex}.items():
            (folder / name).write_text(form(strings.header, strings.rows, caption), encoding="utf-8")
            written.append(folder / name)
        write_csv(left.rows, folder / "table.csv")
        written.append(folder / "table.csv")
    return written


def write_or_warn(folder: Path) -> Path | None:
    """The page at the end of a job: what cannot be drawn is one warning, as the results are safe already."""
    try:
        return write(folder)[0]
    except Exception as failure:  # noqa: BLE001  # whatever it is, the audit must not be lost to its page
        again = f"python -m lpla.report {folder}"
        log.warning("no report.html (%s: %s); later: %s", type(failure).__name__, failure, again)
        return None


def write_all(folder: Path) -> None:
    """The pages of a sweep's jobs and its own."""
    for place in (*jobs_below(folder), folder):
        write_or_warn(place)


def render(left: Left) -> str:
    """The page."""
    drawn = [figures.roc(left), *figures.norms(left), *axes.every(left)]
    drawn = [one for one in drawn if one is not None]
    script, places = _embedded(drawn)
    here = Path(__file__).parent
    environment = Environment(
        loader=FileSystemLoader(here), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters["percent"] = lambda share: "unknown" if share != share else f"{share:.1%}"
    return environment.get_template("page.html.j2").render(
        title=_title(left),
        style=Markup((here / "page.css").read_text()),
        library=Markup("\n".join(Resources(mode="inline", components=["bokeh"]).js_raw)) if drawn else "",
        behaviour=Markup((here / "page.js").read_text()),
        script=Markup(script),
        figures=[(one, Markup(places[one.name])) for one in drawn],
        thumbnails=exposed.found(left),
        downloads=_downloads(left),
        missing=left.missing,
        failed=left.failed,
        command=command(left),
        config=config(left),
        versions=versions(left),
        **_said(left),
    )


def _embedded(drawn: Sequence[figures.Figure]) -> tuple[str, dict[str, str]]:
    """The script that draws the plots and, by name, the element that each is drawn into."""
    if not drawn:
        return "", {}
    document = Document()
    # Otherwise every plot that is added has the models of all of them collected anew.
    with document.models.freeze():
        for one in drawn:
            document.add_root(one.plot)
    return components({one.name: one.plot for one in drawn})


def _title(left: Left) -> str:
    jobs = {row["job"] for row in left.rows}
    return f"Audit {left.folder.resolve().name}" + ("" if left.single else f": {len(jobs)} jobs")


def _said(left: Left) -> dict[str, Any]:
    """Verdicts, tables and what must be known of them."""
    rows = left.measured
    if not rows:
        absent = {"title": "", "html": "", "caption": ""}
        said = {
            "headline": NOTHING,
            "people": "",
            "further": [],
            "recipe": "",
            "tally": "",
            "seeds": {},
            "verdicts": {},
            "table": absent,
        }
        return said | {"cost": "", "costs": [], "notes": [], "revisions": []}
    strings, chosen = as_strings(rows), chosen_columns(rows)
    together, spoken = seeds.aggregate(rows), people.spoken_of(left)
    return {
        "people": people.first_sentence(spoken, left) if spoken else "",
        "further": people.further_sentences(left),
        "headline": _headline(left, chosen),
        "recipe": people.recipe_sentence(spoken, left) if spoken else "",
        "tally": ". ".join(tally(rows)),
        "seeds": {"html": Markup(formats.html(*seeds.as_cells(together))), "caption": seeds.CAPTION}
        if together
        else {},
        "verdicts": verdicts(rows),
        "table": {
            "title": strings.title,
            "html": Markup(formats.html(strings.header, strings.rows)),
            "caption": strings.caption,
        },
        "cost": _cost(rows, chosen),
        "costs": [f"{one.heading}: {one.sentence}" for one in columns("cost", headed=True).values()],
        "notes": list(dict.fromkeys([*_given(rows), *(note for row in rows for note in row["notes"])])),
        "revisions": list(dict.fromkeys(row["git_revision"] for row in rows if row.get("git_revision"))),
    }


def _given(rows: Sequence[Row]) -> list[str]:
    """Sentences on encoders that were trained elsewhere."""
    return [f"the encoder was trained elsewhere: {row['given']}" for row in rows if row.get("given")]


def _headline(left: Left, chosen: Sequence[str]) -> str:
    """The verdict of the highest AUC; of one job of several attacks, what the strongest of them says."""
    strongest = left.strongest()
    if not strongest:
        return "no attack was defined"
    if left.single and (said := [row["strongest"] for row in left.measured if row.get("strongest")]):
        return said[0]
    whose = f"highest AUC, {short_label(strongest[0], chosen)}" if len(left.measured) > 1 else strongest[0]["layer"]
    return f"{whose}: {strongest[0]['verdict']}"


def _cost(rows: Sequence[Row], chosen: Sequence[str]) -> Markup:
    costs = columns("cost", headed=True)
    header = ("row", *(one.heading for one in costs.values()))
    cells = [(short_label(row, chosen), *(str(row.get(name, "-")) for name in costs)) for row in rows]
    return Markup(formats.html(header, cells))


def _downloads(left: Left) -> dict[str, str]:
    """File names with their contents as links."""
    parts: dict[str, Sequence[Row]] = {"table.csv": left.rows, "curve.csv": left.curve}
    if left.single and len(left.exposed) <= SCORES:
        parts["exposed.csv"] = left.exposed
    if left.single and sum(len(one.index) for one in left.judged.values()) <= SCORES:
        parts["scores.csv"] = [
            {"attack": attack, "layer": layer, "index": i, "member": int(m), "score": s, "posterior": q, "log_norm": n}
            for (_, attack, layer), one in left.judged.items()
            for i, m, s, q, n in zip(one.index, one.member, one.score, one.posterior, one.log_norm, strict=True)
        ]
    return {name: _link(rows) for name, rows in parts.items() if rows}


def _link(rows: Sequence[Row]) -> str:
    return f"data:text/csv;charset=utf-8;base64,{base64.b64encode(csv_text(rows).encode()).decode()}"
