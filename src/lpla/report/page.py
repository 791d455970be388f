"""`report.html`: one page of what a job or a sweep left, the same table as Markdown and LaTeX, its figures as SVG."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

import bokeh
from bokeh.document import Document
from bokeh.embed import components
from bokeh.resources import Resources
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from lpla.report import advice, axes, figures, formats, seeds
from lpla.report import thumbnails as exposed
from lpla.report.figure_data import rows_of
from lpla.report.outputs import Left, command, config, dates, jobs_below, read, versions
from lpla.report.rows import write_csv
from lpla.report.sections import downloads, link, said
from lpla.report.svg import FILE, svg
from lpla.report.table import Strings, as_strings

log = logging.getLogger(__name__)

LIBRARY = f"bokeh-{bokeh.__version__}.min.js"
"""The script that draws the figures, once in the folder of a sweep for the pages of all its jobs."""


def write(folder: Path) -> list[Path]:
    """Write `report.html`; where a job was measured `table.md`, `table.tex`, `table.csv` and the figures as SVG.

    Where several seeds of a setting were measured, `seeds.md` and `seeds.tex` are the small table of a paper.

    A job of a sweep has its page draw by the one script in the sweep's folder; every other page holds it.

    Args:
        folder: A job's or a sweep's.

    Returns:
        The files, the page first.

    Raises:
        FileNotFoundError: If the folder is neither a job's nor a sweep's.
    """
    left = read(folder)
    drawn = figures_of(left)
    (folder / "report.html").write_text(render(left, drawn, _shared_library(left)), encoding="utf-8")
    written = [folder / "report.html"]
    if left.measured:
        strings = as_strings(left.measured)
        written += _write_table(strings, f"{strings.title}. {strings.caption}", folder, "table")
        if together := seeds.aggregate(left.measured):
            small = seeds.for_paper(together)
            written += _write_table(small, small.caption, folder, "seeds")
        write_csv(left.rows, folder / "table.csv")
        written.append(folder / "table.csv")
    return [*written, *write_figures(drawn, folder)]


def _write_table(strings: Strings, caption: str, folder: Path, name: str) -> list[Path]:
    """Write a table as Markdown and as LaTeX; the label of the latter has the folder's name."""
    label = f"tab:{folder.resolve().name}" + ("" if name == "table" else f"-{name}")
    texts = {
        "md": formats.markdown(strings.header, strings.rows, caption),
        "tex": formats.latex(strings.header, strings.rows, caption, left=strings.choices, label=label),
    }
    for suffix, text in texts.items():
        (folder / f"{name}.{suffix}").write_text(text, encoding="utf-8")
    return [folder / f"{name}.{suffix}" for suffix in texts]


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


def figures_of(left: Left) -> list[figures.Figure]:
    """All figures that there is something to show of."""
    drawn = [figures.roc(left), *figures.norms(left), *axes.every(left)]
    return [one for one in drawn if one is not None]


def render(left: Left, drawn: Sequence[figures.Figure], library: str = "", images: bool = True) -> str:
    """Make the page's text.

    Args:
        left: What the jobs left.
        drawn: Its figures.
        library: Address of the script that draws them; empty: the page holds it.
        images: Whether it shows the thumbnails that a job left, which may be private.

    Returns:
        HTML.
    """
    script, places = _embedded(drawn)
    here = Path(__file__).parent
    environment = Environment(
        loader=FileSystemLoader(here), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters["percent"] = lambda share: "unknown" if share != share else f"{share:.1%}"
    shown = [
        {"name": one.name, "title": one.title, "sentence": one.sentence, "place": Markup(places[one.name]),
         "svg": Markup(svg(one.plot, one.sentence)), "link": link(rows) if (rows := rows_of(one)) else ""}
        for one in drawn
    ]  # fmt: skip
    return environment.get_template("page.html.j2").render(
        title=advice.title(left),
        days=dates(left),
        style=Markup((here / "page.css").read_text()),
        library=_script(library) if drawn else "",
        behaviour=Markup((here / "page.js").read_text()),
        script=Markup(script),
        figures=shown,
        thumbnails=exposed.found(left) if images else {},
        downloads=downloads(left),
        missing=left.missing,
        failed=left.failed,
        command=command(left),
        config=config(left),
        versions=versions(left),
        **said(left),
    )


def _script(address: str) -> Markup:
    """The element that brings the script: by its address, or as a whole."""
    if address:
        return Markup('<script src="{}"></script>').format(address)
    return Markup("<script>{}</script>").format(
        Markup("\n".join(Resources(mode="inline", components=["bokeh"]).js_raw))
    )


def _shared_library(left: Left) -> str:
    """The address of the script for the page of a sweep's job, which is written if it is not there; else empty."""
    sweep = left.folder.resolve().parent
    if not left.single or not (sweep / "multirun.yaml").exists():
        return ""
    if not (sweep / LIBRARY).exists():
        text = "\n".join(Resources(mode="inline", components=["bokeh"]).js_raw)
        (sweep / LIBRARY).write_text(text, encoding="utf-8")
    return f"../{LIBRARY}"


def write_figures(drawn: Sequence[figures.Figure], folder: Path) -> list[Path]:
    """Each figure as `figures/NAME.svg`, which LaTeX takes by the package svg and browsers as they are."""
    if drawn:
        (folder / "figures").mkdir(exist_ok=True)
    written = []
    for one in drawn:
        written.append(folder / "figures" / f"{one.name}.svg")
        written[-1].write_text(FILE + svg(one.plot, one.sentence), encoding="utf-8")
    return written


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
