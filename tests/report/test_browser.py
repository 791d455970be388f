"""The page in a real browser: no errors, every figure drawn in the page's colours, tables sorted by click and key."""

import io
import re
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from left_behind import leave_sweep
from PIL import Image
from selenium.webdriver import Chrome
from selenium.webdriver.chrome.options import Options
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.actions.action_builder import ActionBuilder
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.ui import WebDriverWait

from lpla.report import page

pytestmark = pytest.mark.browser

FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync", "--window-size=1280,900",
)  # fmt: skip
DRAWN = "return window.Bokeh && Bokeh.documents.length > 0 && Bokeh.documents.every((one) => one.is_idle)"


@pytest.fixture(scope="module")
def browser() -> Iterator[Chrome]:
    """A headless Chromium with a profile of its own."""
    binary, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if not binary or not driver:
        pytest.skip("no Chromium here; install the packages chromium and chromium-driver")
    options = Options()
    options.binary_location = binary
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        for flag in (*FLAGS, f"--user-data-dir={profile}"):
            options.add_argument(flag)
        started = Chrome(options=options, service=Service(driver))
        yield started
        started.quit()


@pytest.fixture(scope="module")
def sweep(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A sweep over the query budget, with its page."""
    folder = leave_sweep(tmp_path_factory.mktemp("sweep"), "queries", [1, 2, 16])
    page.write(folder)
    return folder


def visit(browser: Chrome, folder: Path, scheme: str = "light") -> None:
    browser.execute_cdp_cmd(
        "Emulation.setEmulatedMedia", {"features": [{"name": "prefers-color-scheme", "value": scheme}]}
    )
    browser.get((folder / "report.html").as_uri())
    WebDriverWait(browser, 60).until(lambda one: one.execute_script(DRAWN))


def pixels(element: WebElement) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(element.screenshot_as_png)).convert("RGB")).astype(int)


def has(picture: np.ndarray, colour: str, least: int) -> bool:
    wanted = [int(colour[i : i + 2], 16) for i in (1, 3, 5)]
    return int((np.abs(picture - wanted).max(axis=-1) < 24).sum()) >= least


@pytest.mark.parametrize(("scheme", "paper", "ink"), [("light", "#ffffff", "#1b1b1b"), ("dark", "#15171a", "#e8e8e8")])
def test_every_figure_is_drawn_in_the_colours_of_the_page_without_an_error(
    browser: Chrome, sweep: Path, scheme: str, paper: str, ink: str
) -> None:
    visit(browser, sweep, scheme)
    figures = browser.find_elements(By.TAG_NAME, "figure")
    assert {one.get_attribute("id") for one in figures} == {"roc", "norms-0", "norms-1", "norms-2", "norms-3", "nulls",
                                                            "along-queries", "utility"}  # fmt: skip
    for figure in figures:
        picture = pixels(figure.find_element(By.CSS_SELECTOR, "[role=img]"))
        assert has(picture, paper, 20_000) and has(picture, "#0072b2", 10), figure.get_attribute("id")
        assert has(picture, ink, 100), f"{figure.get_attribute('id')} has no text that can be read"
    errors = [entry for entry in browser.get_log("browser") if entry["level"] in ("SEVERE", "WARNING")]
    assert not errors


def test_a_page_that_is_open_follows_a_change_of_the_colours(browser: Chrome, sweep: Path) -> None:
    visit(browser, sweep, "light")
    dark = {"features": [{"name": "prefers-color-scheme", "value": "dark"}]}
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", dark)
    roc = browser.find_element(By.CSS_SELECTOR, "#roc [role=img]")
    WebDriverWait(browser, 30).until(lambda _: has(pixels(roc), "#e8e8e8", 100))


def column(browser: Chrome, place: int) -> list[str]:
    return [one.text for one in browser.find_elements(By.CSS_SELECTOR, f"#table tbody td:nth-child({place + 1})")]


def test_a_click_and_a_key_sort_the_table_and_say_so(browser: Chrome, sweep: Path) -> None:
    visit(browser, sweep)
    headings = browser.find_elements(By.CSS_SELECTOR, "#table th")
    place = next(i for i, one in enumerate(headings) if one.text.startswith("AUC"))
    before = column(browser, place)
    button = headings[place].find_element(By.TAG_NAME, "button")
    button.click()
    assert headings[place].get_attribute("aria-sort") == "descending"
    assert column(browser, place) == sorted(before, reverse=True) != before
    button.send_keys(Keys.ENTER)
    assert headings[place].get_attribute("aria-sort") == "ascending"
    assert column(browser, place) == sorted(before)
    queries = next(i for i, one in enumerate(headings) if one.text.startswith("queries"))
    headings[queries].find_element(By.TAG_NAME, "button").send_keys(Keys.SPACE)
    assert headings[place].get_attribute("aria-sort") == "none"
    assert column(browser, queries) == ["16", "16", "2", "2", "1", "1"]


PLACE_OF_A_POINT = """
    document.querySelector("#along-queries").scrollIntoView({block: "center"});
    const root = Bokeh.documents[0].roots().find((one) => one.x_range.factors?.includes("16"));
    const {frame, canvas_view} = Bokeh.index.get_one(root);
    const points = root.renderers.find((one) => one.glyph.type === "Scatter" && one.data_source.data.name);
    const {x, y} = points.data_source.data;
    const corner = canvas_view.el.getBoundingClientRect();
    return [corner.left + frame.x_scale.compute(x[0]), corner.top + frame.y_scale.compute(y[0])].map(Math.round);
"""
TIPS = """
    const within = (node) => [...node.querySelectorAll("*")].map((one) => one.shadowRoot).filter((one) => one);
    const text = (node) => within(node).map((one) => one.textContent + text(one)).join(" ");
    return text(document);
"""


def test_the_pointer_shows_the_values(browser: Chrome, sweep: Path) -> None:
    visit(browser, sweep)
    tip = re.compile(r"(backbone|projector)\s+AUC:\s+\d\.\d{3} \[\d\.\d{3} \d\.\d{3}\]\s+queries:\s+1\s")
    assert not tip.search(browser.execute_script(TIPS))
    x, y = browser.execute_script(PLACE_OF_A_POINT)
    actions = ActionBuilder(browser)
    for x_now, y_now in ((x - 40, y - 30), (x, y)):
        actions.pointer_action.move_to_location(x_now, y_now)
    actions.perform()
    WebDriverWait(browser, 30).until(lambda one: tip.search(one.execute_script(TIPS)))


def test_the_page_prints_with_its_details(browser: Chrome, sweep: Path) -> None:
    visit(browser, sweep, "dark")
    browser.print_page()
    assert all(one.get_attribute("open") for one in browser.find_elements(By.TAG_NAME, "details"))
    assert not browser.execute_script(
        "return [...document.querySelectorAll('img, [role=img]')]"
        ".filter((one) => !(one.alt || one.ariaLabel)).map((one) => one.outerHTML)"
    )
