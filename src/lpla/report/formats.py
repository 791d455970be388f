"""A table of strings as text for elsewhere: Markdown (GitHub's and pandoc's), LaTeX (booktabs), HTML and plain.

Every function takes the headings, the rows and a caption, and escapes whatever its language would take for its own, so
that a reader sees exactly the given strings; a line break stays one where the language has it within a cell. All raise
ValueError for a row that is not as long as the header.
"""

from __future__ import annotations

import html as entities
import re
from collections.abc import Callable, Iterator, Sequence

_LATEX = {
    "\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "`": r"\textasciigrave{}",
    "<": r"\textless{}", ">": r"\textgreater{}", "|": r"\textbar{}", '"': r"\textquotedbl{}",
    **{one: "\\" + one for one in "&%$#_{}"},
    # After the end of a line a bracket or a star would be its argument; two hyphens would become a dash.
    "[": "{[}", "]": "{]}", "*": "{*}", "-": "{-}",
}  # fmt: skip


def markdown(header: Sequence[str], rows: Sequence[Sequence[str]], caption: str = "") -> str:
    """GitHub's pipe table, after its caption in pandoc's syntax (a paragraph that begins with `Table:`)."""
    head, *body = (f"| {' | '.join(row)} |" for row in _cells(header, rows, markdown_text))
    above = [f"Table: {markdown_text(caption)}", ""] if caption else []
    return "\n".join([*above, head, "|" + " --- |" * len(header), *body, ""])


def latex(
    header: Sequence[str], rows: Sequence[Sequence[str]], caption: str = "", *, left: int | None = None, label: str = ""
) -> str:
    """Write a `table` with booktabs' rules, shrunk to the width of the text if it is wider.

    Args:
        header: The headings.
        rows: The cells.
        caption: Above the table.
        left: How many of the first columns are words; the others are figures, on the right; None: all are words.
        label: By which `\\ref` finds it; letters, digits and `:._-` of it are kept. Empty: none.

    Returns:
        The text, whose first line names the packages that it needs.
    """
    words = len(header) if left is None else left
    kept = re.sub(r"[^\w:.-]+", "-", label, flags=re.ASCII)
    head, *body = (" & ".join(row) + r" \\" for row in _cells(header, rows, _latex))
    lines = [
        r"% \usepackage[T1]{fontenc} \usepackage{booktabs} \usepackage{adjustbox}",
        r"\begin{table}",
        r"\centering",
        *([rf"\caption{{{_latex(caption)}}}"] if caption else []),
        *([rf"\label{{{kept}}}"] if kept else []),
        r"\begin{adjustbox}{max width=\textwidth}",
        rf"\begin{{tabular}}{{{'l' * words + 'r' * (len(header) - words)}}}",
        r"\toprule",
        head,
        r"\midrule",
        *body,
        r"\bottomrule",
        r"\end{tabular}",
        r"\end{adjustbox}",
        r"\end{table}",
        "",
    ]
    return "\n".join(lines)


def html(
    header: Sequence[str],
    rows: Sequence[Sequence[str]],
    caption: str = "",
    *,
    left: int | None = None,
    trailing: int = 0,
) -> str:
    """Write a `<table>` to be set into a page, whose figures have the class `figure`.

    Args:
        header: The headings.
        rows: The cells.
        caption: Of the table.
        left: How many of the first columns are words; None: all are.
        trailing: How many of the last columns are words too.
    """
    words = len(header) if left is None else left
    figures = range(words, len(header) - trailing)
    classes = [' class="figure"' if place in figures else "" for place in range(len(header))]
    head, *body = _cells(header, rows, html_text)
    lines = ["<table>"]
    if caption:
        lines.append(f"<caption>{html_text(caption)}</caption>")
    headings = (f'<th scope="col"{kind}>{one}</th>' for one, kind in zip(head, classes, strict=True))
    lines.append(f"<thead><tr>{''.join(headings)}</tr></thead>")
    lines.append("<tbody>")
    lines += [
        "<tr>" + "".join(f"<td{kind}>{one}</td>" for one, kind in zip(row, classes, strict=True)) + "</tr>"
        for row in body
    ]
    return "\n".join([*lines, "</tbody>", "</table>", ""])


def aligned(header: Sequence[str], rows: Sequence[Sequence[str]], left: int, trailing: int = 0) -> str:
    """Set columns side by side, two spaces between them.

    Args:
        header: The headings.
        rows: The cells, as many in each row as there are headings.
        left: How many of the first columns begin at one place; the others end at one.
        trailing: How many of the last columns begin at one place too.

    Returns:
        The lines as one text.
    """
    lines = list(_cells(header, rows, str))
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    sides = ["<" if place < left or place >= len(header) - trailing else ">" for place in range(len(header))]
    return "\n".join(
        "  ".join(f"{one:{side}{width}}" for one, side, width in zip(line, sides, widths, strict=True)).rstrip()
        for line in lines
    )


def _cells(
    header: Sequence[str], rows: Sequence[Sequence[str]], escape: Callable[[str], str]
) -> Iterator[tuple[str, ...]]:
    for number, row in enumerate([header, *rows]):
        if len(row) != len(header):
            raise ValueError(f"every row must have {len(header)} cells, as the header has, got {len(row)} in {number}")
        yield tuple(map(escape, row))


def markdown_text(text: str) -> str:
    """A text as Markdown shows it; a line break stays one."""
    return "<br>".join(re.sub(r"([\\`*_\[\]<>&|~$])", r"\\\1", line) for line in text.splitlines())


def _latex(text: str) -> str:
    return "".join(_LATEX.get(one, one) for one in " ".join(text.split()))


def html_text(text: str) -> str:
    """A text as HTML shows it; a line break stays one."""
    return "<br>".join(map(entities.escape, text.splitlines()))
