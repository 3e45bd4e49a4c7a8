# Copyright 2026 The bgqa developers. BSD-3-Clause; see LICENSE.
"""The demo's report in a real browser, Debian's Chromium."""

from __future__ import annotations

import itertools
import os
import re
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from test_report import INSTRUMENT, RUN, Marked, page_of_visit

from lsst.bgqa.cli import main
from lsst.bgqa.dashboard.report import make_report

selenium = pytest.importorskip("selenium", reason="selenium is not installed")
from selenium import webdriver  # noqa: E402
from selenium.webdriver.common.by import By  # noqa: E402
from selenium.webdriver.common.keys import Keys  # noqa: E402
from selenium.webdriver.support.ui import Select, WebDriverWait  # noqa: E402
from urllib3.exceptions import ReadTimeoutError  # noqa: E402

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
DRIVER = shutil.which("chromedriver")

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not (CHROMIUM and DRIVER),
        reason="no browser: Debian's packages chromium and chromium-driver are not installed",
    ),
]

# Columns of a source of a figure that is on the page.
SOURCE = """
for (const made of Bokeh.documents) {
  const figure = made.roots()[0];
  if (figure.name === arguments[0]) return made.get_model_by_name(arguments[1]).data[arguments[2]];
}
return null;
"""
COLOR = """
const color = (figure) => figure.background_fill_color?.value ?? figure.background_fill_color;
return Bokeh.documents.map((made) => color(made.roots()[0]));
"""
# Tables with a column that is seen only by scrolling.
CUT = """return [...document.querySelectorAll(".scroll")].filter((box) => box.scrollWidth > box.clientWidth)
    .map((box) => box.getAttribute("aria-label"))"""
OUT_OF_SIGHT = """
const cells = [...document.querySelectorAll("table.cards tbody td")];
return cells.filter((cell) => cell.getBoundingClientRect().right > innerWidth).length;
"""
SHOWN = "return [...arguments[0].tBodies[0].rows].filter((row) => !row.hidden).length;"


class Browser:
    """Opens pages, and watches what it says of them."""

    def __init__(self, start: Callable[[], Any]) -> None:
        self._start = start
        self.driver = start()

    def open(self, path: Path, **settings: Any) -> None:
        """Open a page, in another browser if this one does not answer."""
        try:
            self._open(path, **settings)
        except ReadTimeoutError:
            self.driver.service.stop()
            self.driver = self._start()
            self._open(path, **settings)

    def _open(self, path: Path, *, width: int = 1280, dark: bool = False, fragment: str = "") -> None:
        media = {"features": [{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}]}
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", media)
        size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 600}
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
        self.driver.get("about:blank")
        self.driver.get(path.as_uri() + (f"#{fragment}" if fragment else ""))
        if self.run("return document.getElementById('page-data') !== null"):
            self.wait(lambda: self.run("return document.documentElement.dataset.ready") == "true")

    def run(self, script: str, *arguments: Any) -> Any:
        return self.driver.execute_script(script, *arguments)

    def wait(self, condition: Callable[[], Any]) -> Any:
        return WebDriverWait(self.driver, 30).until(lambda _: condition())

    def find(self, selector: str) -> Any:
        return self.driver.find_element(By.CSS_SELECTOR, selector)

    def complaints(self) -> list[str]:
        """Return what the console has that is an error or a warning."""
        return [item["message"] for item in self.driver.get_log("browser") if item["level"] != "INFO"]

    def loaded(self) -> list[str]:
        return self.run("return performance.getEntriesByType('resource').map((entry) => entry.name)")  # type: ignore[no-any-return]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    options = webdriver.ChromeOptions()
    options.binary_location = str(CHROMIUM)
    for argument in ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"):
        options.add_argument(argument)
    # A machine that does much else is no reason to put off a page.
    options.add_argument("--disable-background-timer-throttling")
    options.add_argument("--disable-renderer-backgrounding")
    # There is no network.
    options.add_argument("--host-resolver-rules=MAP * ~NOTFOUND")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})

    def start() -> Any:
        driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(str(DRIVER)))
        driver.command_executor.client_config.timeout = 60
        return driver

    opened = Browser(start)
    try:
        yield opened
    finally:
        opened.driver.quit()


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The report that the demo ends with."""
    folder = tmp_path_factory.mktemp("demo") / "demo"
    result = CliRunner().invoke(main, ["demo", str(folder)])
    assert result.exit_code == 0, result.output
    assert f"Report: {folder / 'report' / 'index.html'}" in result.output.splitlines()
    return folder / "report"


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where screenshots go: to look at them, name a folder."""
    folder = os.environ.get("BGQA_SCREENSHOTS")
    path = Path(folder) if folder else tmp_path_factory.mktemp("screenshots")
    path.mkdir(parents=True, exist_ok=True)
    return path


def pages_of(demo: Path) -> dict[str, Path]:
    (tract,) = demo.glob("tracts/deepCoadd_calexp_background-demo/1-i.html")
    names = {name: demo / f"{name}.html" for name in ("index", "visits", "tracts", "stacks")}
    return names | {"visit": page_of_visit(demo, 2026102600002), "tract": tract}


@pytest.mark.parametrize("width", [1280, 390])
@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_pages_open_without_complaint_and_fit(
    browser: Browser, demo: Path, pictures: Path, width: int, dark: bool
) -> None:
    for name, path in pages_of(demo).items():
        browser.open(path, width=width, dark=dark)
        assert browser.complaints() == [], name
        assert all(entry.startswith(("file:", "data:", "blob:")) for entry in browser.loaded())
        assert browser.run("return document.documentElement.scrollWidth <= innerWidth"), name
        assert browser.run(CUT) == [], name
        # Or, where there is little room, rows are cards whose parts are all in sight.
        assert browser.run(OUT_OF_SIGHT) == 0, name
        assert (browser.run("return document.querySelectorAll('table.cards').length") > 0) == (width == 390)
        figures = browser.run("return document.querySelectorAll('[data-figure]').length")
        assert browser.run("return Bokeh?.documents.length ?? 0") == figures if figures else True
        for color in browser.run(COLOR) if figures else ():
            assert color == ("#19202b" if dark else "#ffffff")
        browser.driver.save_screenshot(str(pictures / f"{name}-{width}-{'dark' if dark else 'light'}.png"))


def test_choosing_a_metric_changes_what_is_shown(browser: Browser, demo: Path) -> None:
    browser.open(demo / "index.html")
    select = Select(browser.find("select.metric"))
    plot = browser.find("[data-kind=map]")
    heading = browser.find("#tiles-0 th.metric-value button")
    seen = []
    for metric in ("significance_edgeSigma", "significance_spotSigma"):
        select.select_by_value(metric)
        seen.append(
            [
                browser.run(SOURCE, "map", "tiles", "value"),
                browser.run(SOURCE, "series", "cells", "median"),
                browser.run(SOURCE, "histogram", "bins", "left"),
                browser.run(SOURCE, "map", "tiles", "hatch"),
                browser.find(".note").text,
                browser.find("#tiles-0 tbody tr td:nth-of-type(4)").text,
                heading.text,
                plot.screenshot_as_png,
            ]
        )
    for before, after in zip(*seen, strict=True):
        assert before is not None
        assert before != after
    assert "at least -6, at most 6" in seen[1][4]
    assert seen[1][6] == "significance_spotSigma"
    # The detector with a halo fails for it, and is hatched.
    assert 4 in [i for i, hatch in enumerate(seen[1][3]) if hatch != "blank"]


def test_tables_filter_and_sort(browser: Browser, demo: Path) -> None:
    browser.open(demo / "index.html")
    table = browser.find("#tiles-0")
    search = browser.find("#tiles-0-tools input")
    verdict = Select(browser.find("#tiles-0-tools select"))
    status = browser.find("#tiles-0-tools .count")
    assert browser.run(SHOWN, table) == 9
    search.send_keys("R00_S1")
    assert browser.run(SHOWN, table) == 3
    assert status.text == "3 of 9 rows"
    search.clear()
    search.send_keys(" ", Keys.BACKSPACE)
    verdict.select_by_visible_text("pass")
    assert browser.run(SHOWN, table) == 3
    verdict.select_by_visible_text("all")
    assert status.text == "9 of 9 rows"

    names = "return [...arguments[0].tBodies[0].rows].map((row) => Number(row.cells[0].textContent));"
    (head,) = [
        cell for cell in table.find_elements(By.CSS_SELECTOR, "thead th") if cell.text.startswith("name")
    ]
    for expected in ("ascending", "descending"):
        # By keyboard.
        head.find_element(By.TAG_NAME, "button").send_keys(Keys.ENTER)
        assert head.get_attribute("aria-sort") == expected
        assert browser.run(names, table) == sorted(range(9), reverse=expected == "descending")


def test_theme_is_chosen_and_kept(browser: Browser, demo: Path) -> None:
    try:
        browser.open(demo / "index.html")
        browser.find("#theme").send_keys(Keys.ENTER)
        assert set(browser.run(COLOR)) == {"#19202b"}
        assert browser.run("return getComputedStyle(document.body).backgroundColor") == "rgb(16, 21, 29)"
        browser.open(page_of_visit(demo, 2026102600002))
        assert set(browser.run(COLOR)) == {"#19202b"}
        # Choosing otherwise than the system in the dark, too.
        browser.find("#theme").send_keys(Keys.SPACE)
        browser.open(demo / "index.html", dark=True)
        assert set(browser.run(COLOR)) == {"#ffffff"}
    finally:
        browser.run("localStorage.clear()")


def test_worst_places_lead_to_their_rows_and_pictures(browser: Browser, demo: Path) -> None:
    browser.open(demo / "index.html")
    link = browser.find("#tiles-0 tr[data-tile='4'] a")
    target = link.get_attribute("href")
    link.send_keys(Keys.ENTER)
    browser.wait(lambda: browser.driver.current_url == target)
    browser.wait(lambda: browser.run("return document.documentElement.dataset.ready") == "true")
    assert re.search(r"/calexpBackground-DemoCam/\d+\.html#detector-4$", target)
    # Pictures were drawn of a detector of this visit.
    browser.open(page_of_visit(demo, 2026100900001), fragment="detector-4")
    assert browser.find("tr.chosen th").text == "4"
    card = browser.find(".card")
    assert card.find_element(By.TAG_NAME, "h3").text == "Detector 4 (R00_S11)"
    images = card.find_elements(By.TAG_NAME, "img")
    assert len(images) == 3
    browser.run("arguments[0].scrollIntoView()", images[0])
    for image in images:
        browser.run("arguments[0].loading = 'eager'", image)
        browser.wait(lambda image=image: browser.run("return arguments[0].naturalWidth", image) >= 800)
    browser.find("tr[data-tile='6'] button.choose").send_keys(Keys.ENTER)
    assert browser.find(".card h3").text == "Detector 6 (R00_S20)"
    data_id = "instrument='DemoCam' AND visit=2026100900001 AND detector=6"
    assert data_id in browser.find(".card").text
    button = browser.find("tr[data-tile='6'] button.copy:last-of-type")
    assert button.get_attribute("data-copy") == data_id
    button.send_keys(Keys.ENTER)
    browser.wait(lambda: button.text == "copied")


def test_names_stay_text_when_scripts_show_them(browser: Browser, tmp_path: Path) -> None:
    made = Marked(tmp_path / "repo")
    index = make_report(made.path, RUN, tmp_path / "report", detail="all")
    for path in (index, page_of_visit(index.parent, 2)):
        browser.open(path)
        assert browser.complaints() == []
        assert browser.run("return document.querySelectorAll('main b b, td b, h3 b, i, u').length") == 0
        assert INSTRUMENT in browser.find("main").text
        browser.find("tr[data-tile='1'] button.choose").send_keys(Keys.ENTER)
        assert browser.find(".card h3").text == "Detector 1 (<b>R1</b>)"
    # What shows when the pointer is on a place of the map.
    plot = browser.find("[data-kind=map]")
    browser.run("arguments[0].scrollIntoView({block: 'center'})", plot)
    # Somewhere there is no gap between two.
    steps = itertools.cycle([(-60, 40), (-30, 0), (0, 20), (-75, -40)])
    browser.wait(lambda: "<b>R" in hovered(browser, plot, *next(steps)))


def hovered(browser: Browser, plot: Any, x: int, y: int) -> str:
    """Move the pointer over a plot, and return the text of its tooltip."""
    from selenium.webdriver import ActionChains

    ActionChains(browser.driver).move_to_element_with_offset(plot, 1, 1).perform()
    ActionChains(browser.driver).move_to_element_with_offset(plot, x, y).perform()
    time.sleep(0.2)
    script = """
    const texts = [];
    const walk = (node) => {
      if (node.shadowRoot) walk(node.shadowRoot);
      for (const child of node.children ?? []) {
        if (child.classList.contains("bk-Tooltip")) {
          texts.push(child.shadowRoot?.textContent ?? child.textContent);
          if ((child.shadowRoot ?? child).querySelector("b")) texts.push("MARKUP");
        }
        walk(child);
      }
    };
    walk(document.body);
    return texts.join(" ");
    """
    text = str(browser.run(script))
    assert "MARKUP" not in text
    return text
