"""`lpla report DIR --pdf`: a PDF of few pages where a browser is, one sentence where none is or where it fails."""

import re
import shutil
from pathlib import Path

import pytest
from left_behind import leave

from lpla.report import pdf
from lpla.report.__main__ import main


@pytest.mark.browser
def test_the_page_is_printed(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    if not any(map(shutil.which, pdf.BROWSERS)):
        pytest.skip("no Chromium here; install the package chromium")
    job = leave(tmp_path / "job", 0)
    main([str(job), "--pdf"])
    assert capsys.readouterr().out.splitlines()[-1] == str(job / "report.pdf")
    content = (job / "report.pdf").read_bytes()
    assert content.startswith(b"%PDF") and 1 <= len(re.findall(rb"/Type\s*/Page\b", content)) <= 5


def test_without_a_browser_it_says_so_and_the_page_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.setattr(shutil, "which", lambda _: None)
    job = leave(tmp_path / "job", 0)
    with pytest.raises(SystemExit, match="1"):
        main([str(job), "--pdf"])
    said = capsys.readouterr()
    assert said.err.count("\n") == 1 and "--pdf needs a browser such as chromium" in said.err
    assert (job / "report.html").exists() and str(job / "report.html") in said.out


def test_a_browser_that_prints_nothing_is_named_with_what_it_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    browser = tmp_path / "chromium"
    browser.write_text("#!/bin/sh\necho first >&2\necho no display >&2\nexit 3\n")
    browser.chmod(0o700)
    monkeypatch.setattr(pdf, "BROWSERS", (str(browser),))
    (tmp_path / "report.html").write_text("page")
    (tmp_path / "report.pdf").write_text("of an earlier page")
    with pytest.raises(pdf.InputError, match=r"did not print .* \(exit code 3\): no display$"):
        pdf.print_page(tmp_path / "report.html")
    assert not (tmp_path / "report.pdf").exists()


def test_a_list_of_folders_is_not_printed(capsys: pytest.CaptureFixture) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(["-", "--pdf"])
    assert "--pdf needs the folder of one job or sweep" in capsys.readouterr().err
