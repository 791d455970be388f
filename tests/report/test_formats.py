"""Tables as text: whoever reads a table back, by a parser of its language, finds the strings that were given."""

import re
from html.parser import HTMLParser

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from lpla.report.formats import aligned, html, latex, markdown

HEADER = ("attack", "AUC [95 %]", "a|b")
ROWS = [
    ("lpla_x", ".785 [.724 .846]", "<b>&amp;</b>"),
    ("[first]", "50 % of $5 & #1 ~ ^ {x} \\ \\| *y* **z** `c`", ""),
    ("*", 'say "no" -- or --- yes', "two\nlines"),
    ("[a](b)", "![a](b) https://example.org <https://example.org>", "- 1. # x"),
]
CAPTION = "# 100 % of <members> & [others](x) | $p$ = 2_1\nsecond line"
# Without what no table can hold: control characters, and whatever but a line feed ends a line.
TEXT = st.text(st.characters(blacklist_categories=("Cc", "Cs", "Zl", "Zp")) | st.sampled_from("\\|&_*`[]<>~$#%{}^\"'-"))
TABLES = st.integers(1, 3).flatmap(
    lambda width: st.tuples(*[st.lists(TEXT, min_size=width, max_size=width)] * 3, TEXT),
)


def plain(text: str) -> str:
    """Space at the ends of a cell and runs of space are not what escaping is about."""
    return "\n".join(" ".join(line.split()) for line in text.strip().split("\n"))


class Reader(HTMLParser):
    """Cells and caption of an HTML table."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.rows: list[list[str]] = []
        self.caption = ""
        self._open = ""
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list) -> None:
        assert tag in ("table", "caption", "thead", "tbody", "tr", "th", "td", "br", "p"), tag
        if tag == "tr":
            self.rows.append([])
        elif tag in ("th", "td"):
            self.rows[-1].append("")
        if tag == "br":
            self.handle_data("\n")
        else:
            self._open = tag

    def handle_data(self, data: str) -> None:
        if self._open in ("th", "td"):
            self.rows[-1][-1] += data
        elif self._open in ("caption", "p"):
            self.caption += data

    def handle_endtag(self, tag: str) -> None:
        self._open = ""


def read_markdown(text: str) -> Reader:
    return Reader(MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"]).render(text))


def read_latex(text: str) -> tuple[list[list[str]], str]:
    """By the rules of LaTeX for what `latex` writes: a row ends in two backslashes, a cell in an ampersand."""
    inside = text.partition("\\toprule\n")[2].partition("\n\\bottomrule")[0].replace("\n\\midrule", "")
    rows = [[unescaped(one) for one in re.split(r"(?<!\\)&", row)] for row in re.split(r" \\\\(?:\n|$)", inside)[:-1]]
    caption = re.search(r"\\caption\{(.*)\}\n", text)
    return rows, unescaped(caption[1]) if caption else ""


NAMES = {
    "backslash": "\\", "asciitilde": "~", "asciicircum": "^", "asciigrave": "`", "less": "<", "greater": ">",
    "bar": "|", "quotedbl": '"',
}  # fmt: skip


def unescaped(cell: str) -> str:
    tokens = re.findall(r"\\text([a-z]+)\{\}|\\([&%$#_{}])|\{([\[\]*-])\}|([^\\{}&%$#_~^`<>|\"\[\]*-])", cell)
    found = "".join(NAMES.get(token[0], "") + "".join(token[1:]) for token in tokens)
    # Nothing that LaTeX would take for its own is left over.
    assert sum(len(f"\\text{t[0]}{{}}" if t[0] else f"\\{t[1]}" if t[1] else f"{{{t[2]}}}" if t[2] else t[3])
               for t in tokens) == len(cell), cell  # fmt: skip
    return found


def check(header: list[str], rows: list[list[str]], caption: str) -> None:
    expected = [[plain(cell) for cell in row] for row in [header, *rows]]
    for read in (Reader(html(header, rows, caption)), read_markdown(markdown(header, rows, caption))):
        assert [[plain(cell) for cell in row] for row in read.rows] == expected
        assert plain(read.caption.strip().removeprefix("Table:")) == plain(caption)
    body, above = read_latex(latex(header, rows, caption))
    one_line = [[" ".join(cell.split()) for cell in row] for row in expected]
    assert [[" ".join(cell.split()) for cell in row] for row in body] == one_line
    assert above == " ".join(caption.split())


def test_every_format_gives_back_what_it_was_given() -> None:
    check(list(HEADER), [list(row) for row in ROWS], CAPTION)


@given(TABLES)
def test_whatever_the_strings_are(table: tuple) -> None:
    header, one, other, caption = table
    check(header, [one, other], caption)


def test_a_table_without_rows_or_caption() -> None:
    assert markdown(("a", "b"), []) == "| a | b |\n| --- | --- |\n"
    assert "caption" not in latex(("a",), []) + html(("a",), [])
    assert aligned(("a", "b"), [], 1) == "a  b"


def test_aligned_columns_begin_or_end_at_one_place() -> None:
    lines = aligned(("layer", "AUC"), [("backbone", ".71"), ("x", ".710 [.6 .8]")], 1).splitlines()
    assert lines == ["layer              AUC", "backbone           .71", "x         .710 [.6 .8]"]


def test_latex_is_booktabs() -> None:
    lines = latex(("a", "b"), [("1", "2")], "c").splitlines()
    assert lines[1:] == [
        r"\begin{table}", r"\centering", r"\caption{c}", r"\begin{adjustbox}{max width=\textwidth}",
        r"\begin{tabular}{ll}", r"\toprule", r"a & b \\", r"\midrule", r"1 & 2 \\", r"\bottomrule", r"\end{tabular}",
        r"\end{adjustbox}", r"\end{table}",
    ]  # fmt: skip


@pytest.mark.parametrize("write", [markdown, latex, html, lambda header, rows: aligned(header, rows, 1)])
def test_a_row_of_another_length_is_refused(write) -> None:
    with pytest.raises(ValueError, match="must have 2 cells, as the header has, got 1 in 2"):
        write(("a", "b"), [("1", "2"), ("3",)])


def test_figures_of_latex_are_on_the_right_and_a_label_finds_the_table() -> None:
    text = latex(("attack", "layer", "AUC"), [("lpla", "backbone", ".700")], "c", left=2, label="tab:2026_a b")
    assert r"\begin{tabular}{llr}" in text and "\\caption{c}\n\\label{tab:2026_a-b}\n" in text
    assert r"\label" not in latex(("a",), [])


def test_figures_of_html_have_a_class() -> None:
    text = html(("attack", "AUC", "verdict"), [("lpla", ".700", "leaks")], left=1, trailing=1)
    assert '<td>lpla</td><td class="figure">.700</td><td>leaks</td>' in text
    assert aligned(("a", "n", "v"), [("x", "10", "no")], 1, trailing=1) == "a   n  v\nx  10  no"
