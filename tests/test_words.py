"""The words that a user reads: settings that are explained, whole sentences, and no phrase that only we understand."""

import re

import yaml
from tiny_audit import CONF, ROOT

from lpla.auditing.catalogue import groups, options

YAMLS = sorted(CONF.rglob("*.yaml"))
DOCS = sorted((ROOT / "docs").glob("*.md"))
READ = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *DOCS, *YAMLS]
COINED = re.compile(
    r"\b(asks? nothing|asked nothing|(its|their|your) likes?\b|knows? nobody|looked at\b|looks at\b|notices\b"
    r"|(is|are|be) dear(er)?\b|undercuts?|brought along|brings? .{1,40} along|comes? along"
    r"|pays? for (the|its) (choice|having))",
    re.IGNORECASE,
)
"""Phrases that stood here, and that a reader had to guess at."""
IN_SOURCES = re.compile(
    r"\b(our sections? \d|pays? for (the|its|having)|looks? at\b|looked at\b|(is|be|are) spoken of"
    r"|brings? .{1,40} along|asks? nothing|asked nothing|notices\b|(its|their) likes\b)",
    re.IGNORECASE,
)
"""The same in docstrings, comments and messages, and references to sections of a document that nobody else has."""
SETTING = re.compile(r"^( *)([a-z]\w*): *([^#\n]*?)(?:  # (.*))?$")


def test_a_file_that_a_user_reads_has_no_coined_phrase() -> None:
    found = [
        f"{file.relative_to(ROOT)}:{number}: {line.strip()[:120]}"
        for file in READ
        for number, line in enumerate(file.read_text().splitlines(), 1)
        if COINED.search(line)
    ]
    assert not found, "\n".join(found)


def test_a_docstring_a_comment_or_a_message_has_no_coined_phrase() -> None:
    sources = sorted(one for ext in ("py", "j2", "yaml") for one in (ROOT / "src").rglob(f"*.{ext}"))
    found = [
        f"{file.relative_to(ROOT)}:{number}: {line.strip()[:120]}"
        for file in sources
        for number, line in enumerate(file.read_text().splitlines(), 1)
        # Names in code are no words.
        if IN_SOURCES.search(re.sub(r"\b\w*_\w*\b", "", line))
    ]
    assert len(sources) > 200 and not found, "\n".join(found)


def test_a_docstring_begins_with_a_noun_or_a_verb() -> None:
    """Many began with "Of" or "By" or "Those", and the reader had to find out what the subject was."""
    fragment = re.compile(r'^ *"""(Of (?!more images)|By|Those|Beside|In no|(At|After|From|For|On|To|Over) which)\b')
    found = [
        f"{file.relative_to(ROOT)}:{number}: {line.strip()[:120]}"
        for file in sorted((ROOT / "src").rglob("*.py"))
        for number, line in enumerate(file.read_text().splitlines(), 1)
        if fragment.match(line)
    ]
    assert not found, "\n".join(found)


def test_every_setting_of_an_audit_says_what_it_does() -> None:
    lines = (CONF / "config.yaml").read_text().partition("\nhydra:")[0].splitlines()
    above = ["", *lines]
    settings = [(before, found) for before, line in zip(above, lines, strict=False) if (found := SETTING.match(line))]
    silent = [
        found[2] for before, found in settings if found[3] and not found[4] and not before.lstrip().startswith("#")
    ]
    assert len(settings) > 40 and not silent


def test_a_comment_says_what_a_setting_is_before_what_else_it_may_be() -> None:
    lines = [(file, line) for file in YAMLS for line in file.read_text().splitlines()]
    assert not [at for at in lines if re.search(r": \S.*  # (or|of|as|also|beside) ", at[1])]


def test_the_help_explains_every_setting_that_stands_in_no_group() -> None:
    config = yaml.safe_load((CONF / "config.yaml").read_text())
    explained = yaml.safe_load((CONF / "hydra" / "help" / "axes.yaml").read_text())["settings"]
    named = [line.split()[0].partition(".")[0] for line in explained.splitlines()]
    assert sorted(named) == sorted(set(config) - {"defaults", "hydra"})


def test_a_line_of_the_list_begins_with_what_the_option_is_or_does() -> None:
    lines = {f"{group}={option}": line for group in groups() for option, line in options(group).items()}
    assert not [line for line in lines.values() if re.match(r"(Source|Ours|After|The same|From|arXiv)\b", line)]
    assert not [line for line in lines.values() if re.search(r"\(science\b|\bnull \d", line)]
