"""The page in a real browser: no errors, every figure drawn in the page's colours, tables sorted by click and key."""

import base64
import io
import re
import shutil
import tempfile
from collections.abc import Iterator
from importlib.resources import files
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
        picture = pixels(figure.find_element(By.CSS_SELECTOR, ".plot"))
        assert has(picture, paper, 20_000) and has(picture, "#0072b2", 10), figure.get_attribute("id")
        assert has(picture, ink, 100), f"{figure.get_attribute('id')} has no text that can be read"
    errors = [entry for entry in browser.get_log("browser") if entry["level"] in ("SEVERE", "WARNING")]
    assert not errors


def test_a_page_that_is_open_follows_a_change_of_the_colours(browser: Chrome, sweep: Path) -> None:
    visit(browser, sweep, "light")
    dark = {"features": [{"name": "prefers-color-scheme", "value": "dark"}]}
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", dark)
    roc = browser.find_element(By.CSS_SELECTOR, "#roc .plot")
    WebDriverWait(browser, 30).until(lambda _: has(pixels(roc), "#e8e8e8", 100))


def opened(browser: Chrome) -> list[WebElement]:
    """The headings of all columns, which a reader has opened."""
    browser.execute_script("document.querySelector('#table').open = true")
    return browser.find_elements(By.CSS_SELECTOR, "#table th")


def column(browser: Chrome, place: int) -> list[str]:
    return [one.text for one in browser.find_elements(By.CSS_SELECTOR, f"#table tbody td:nth-child({place + 1})")]


def test_a_click_and_a_key_sort_the_table_and_say_so(browser: Chrome, sweep: Path) -> None:
    visit(browser, sweep)
    headings = opened(browser)
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


AXE = """
    const done = arguments[0];
    axe.run(document).then(({violations}) => done(violations.map(
      ({id, impact, nodes}) => `${id} (${impact}): ${nodes[0].html.slice(0, 200)}`)));
"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_that_keeps_anybody_out(browser: Chrome, sweep: Path, scheme: str) -> None:
    visit(browser, sweep, scheme)
    opened(browser)
    browser.execute_script((files("axe_core_python") / "axe.min.js").read_text(encoding="utf-8"))
    assert browser.execute_async_script(AXE) == []


def test_the_keyboard_reaches_the_results_first(browser: Chrome, sweep: Path) -> None:
    visit(browser, sweep)
    browser.find_element(By.TAG_NAME, "body").send_keys(Keys.TAB)
    first = browser.switch_to.active_element
    assert first.text == "Skip to the results" and str(first.get_attribute("href")).endswith("#results")
    first.send_keys(Keys.ENTER)
    assert browser.execute_script("return location.hash") == "#results"


@pytest.mark.parametrize("width", [390, 1280])
def test_nothing_is_wider_than_the_screen(browser: Chrome, sweep: Path, width: int) -> None:
    device = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 500}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", device)
    try:
        visit(browser, sweep)
        assert browser.execute_script("return document.documentElement.scrollWidth") <= width
        table = browser.find_element(By.CSS_SELECTOR, "#results > .scroll")
        inner, outer = (int(str(table.get_property(one))) for one in ("scrollWidth", "clientWidth"))
        assert inner <= outer, "the six columns must be scrolled"
    finally:
        browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


def test_a_job_moved_out_of_its_sweep_shows_pictures(browser: Chrome, sweep: Path, tmp_path: Path) -> None:
    page.write(sweep / "0")
    shutil.copy(sweep / "0" / "report.html", tmp_path)
    browser.get((tmp_path / "report.html").as_uri())
    assert browser.find_element(By.TAG_NAME, "html").get_attribute("class") == "static"
    picture, plot = (browser.find_element(By.CSS_SELECTOR, f"#roc .{one}") for one in ("picture", "plot"))
    assert picture.is_displayed() and not plot.is_displayed() and has(pixels(picture), "#0072b2", 10)
    browser.get_log("browser")  # That the script is absent is no error of another test.
    visit(browser, sweep / "0")
    assert browser.find_element(By.CSS_SELECTOR, "#roc .plot").is_displayed()


def test_the_page_prints_on_few_pages_without_what_is_folded(browser: Chrome, sweep: Path) -> None:
    """It printed two pages of settings, and plots that lay over each other or were cut."""
    visit(browser, sweep, "dark")
    printed = base64.b64decode(browser.print_page())
    assert len(re.findall(rb"/Type\s*/Page\b", printed)) <= 6
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print"})
    shown = {one: browser.find_element(By.CSS_SELECTOR, one).is_displayed() for one in ("#roc .plot", "#roc .picture")}
    assert shown == {"#roc .plot": False, "#roc .picture": True}
    assert not any(one.is_displayed() for one in browser.find_elements(By.TAG_NAME, "details"))
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": ""})
    assert not browser.execute_script(
        "return [...document.querySelectorAll('img, .plot')]"
        ".filter((one) => !(one.alt || one.ariaLabel)).map((one) => one.outerHTML)"
    )
