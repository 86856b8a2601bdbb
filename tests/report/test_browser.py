"""The page as people see it: in a headless Chromium that may not reach any network. Skipped where there is none."""

import json
import re
import shutil
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path
from typing import Any

import factories
import pytest
from contending import comparison

from scalemark.report.html import write_html
from scalemark.report.sections import FIGURE_NAMES
from scalemark.report.series import loss_rows, step_time_rows
from scalemark.report.versus.documents import write_comparison_html
from scalemark.report.versus.sections import FIGURE_NAMES as COMPARED_NAMES
from scalemark.schema import Analysis, MeasurementWarning, TaskRef

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
DRIVER = shutil.which("chromedriver")
if not CHROMIUM or not DRIVER:
    pytest.skip("no browser: apt-get install chromium chromium-driver", allow_module_level=True)
selenium = pytest.importorskip("selenium", reason="no selenium: pip install 'scalemark[test]'")
pytest.importorskip("axe_core_python", reason="no axe-core: pip install 'scalemark[test]'")

from selenium.webdriver import Chrome, ChromeOptions, ChromeService  # noqa: E402
from selenium.webdriver.common.action_chains import ActionChains, ScrollOrigin  # noqa: E402
from selenium.webdriver.common.by import By  # noqa: E402
from selenium.webdriver.common.keys import Keys  # noqa: E402
from selenium.webdriver.remote.webelement import WebElement  # noqa: E402
from selenium.webdriver.support.ui import Select, WebDriverWait  # noqa: E402

pytestmark = pytest.mark.timeout(120)
SWITCHES = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
)
NETWORK = ["http://*", "https://*", "ws://*", "wss://*"]
# In CSS pixels; paper is A4 without a centimetre on each side.
WIDE, NARROW, PAPER = (1280, 900), (360, 740), (718, 1047)
POINTS = ".mark-symbol.role-mark path"
LABELS = ".role-axis-label text"


class Page:
    """One page in the browser, and what a person does with it."""

    def __init__(self, driver: Chrome) -> None:
        self.driver = driver

    def open(self, path: Path, size: tuple[int, int] = WIDE, scheme: str = "light", media: str = "") -> None:
        """Load a page on a screen of this size; wait until its charts are drawn."""
        width, height = size
        metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600}
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
        self.emulate(scheme, media)
        self.driver.get(path.as_uri())
        self.wait(lambda: self.script("return document.documentElement.dataset.charts === 'drawn'"))

    def emulate(self, scheme: str = "light", media: str = "") -> None:
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": media, "features": features})

    def script(self, text: str, *arguments: Any) -> Any:
        return self.driver.execute_script(text, *arguments)

    def wait(self, claim: Any) -> None:
        WebDriverWait(self.driver, 20, poll_frequency=0.05).until(lambda _: claim())

    def all(self, selector: str) -> list[WebElement]:
        return self.driver.find_elements(By.CSS_SELECTOR, selector)

    def texts(self, selector: str) -> list[str]:
        return self.script("return [...document.querySelectorAll(arguments[0])].map(e => e.textContent)", selector)

    def ticks(self, figure: str) -> list[str]:
        """The words at both axes of a figure, in no order."""
        return sorted(self.texts(f"#figure-{figure} {LABELS}"))

    def press(self, figure: str, action: str) -> None:
        """A button of a figure."""
        button = self.all(f"#figure-{figure} [data-do={action}]")[0]
        self.script("arguments[0].scrollIntoView({block: 'center'})", button)
        button.click()

    def hover(self, element: WebElement) -> dict[str, str]:
        """What the tooltip says of an element, by its key."""
        self.script("arguments[0].scrollIntoView({block: 'center'})", element)
        ActionChains(self.driver).move_to_element(element).perform()
        self.wait(lambda: self.all("#vg-tooltip-element.visible"))
        cells = self.texts("#vg-tooltip-element td")
        return {key.rstrip(":"): value for key, value in zip(cells[::2], cells[1::2], strict=True)}

    def problems(self) -> list[str]:
        """What the console holds since last asked."""
        return [entry["message"] for entry in self.driver.get_log("browser")]


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    options = ChromeOptions()
    options.binary_location = str(CHROMIUM)
    for switch in (*SWITCHES, f"--user-data-dir={tmp_path_factory.mktemp('profile')}"):
        options.add_argument(switch)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = Chrome(options, ChromeService(str(DRIVER)))
    offline = {"offline": True, "latency": 0, "downloadThroughput": 0, "uploadThroughput": 0}
    driver.execute_cdp_cmd("Network.enable", {})
    driver.execute_cdp_cmd("Network.emulateNetworkConditions", offline)
    driver.execute_cdp_cmd("Network.setBlockedURLs", {"urls": NETWORK})
    yield Page(driver)
    driver.quit()


@pytest.fixture(scope="module")
def whole(full_analysis: Analysis, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A report with everything in it, on disk."""
    return write_html(full_analysis, tmp_path_factory.mktemp("whole") / "report.html")


# Loading


def test_the_page_loads_without_a_word_in_the_console_and_asks_for_nothing(page: Page, whole: Path) -> None:
    page.driver.get_log("performance")
    page.open(whole)
    events = [json.loads(entry["message"])["message"] for entry in page.driver.get_log("performance")]
    asked = [one["params"]["request"]["url"] for one in events if one["method"] == "Network.requestWillBeSent"]
    assert asked == [whole.as_uri()]
    assert page.problems() == []


def test_every_chart_has_marks_and_words(page: Page, whole: Path) -> None:
    page.open(whole)
    for name in FIGURE_NAMES:
        assert page.all(f"#figure-{name} svg .role-mark path"), name
        assert len(page.texts(f"#figure-{name} {LABELS}")) >= 4, name


def test_a_page_without_charts_says_why_there_are_none(page: Page, bare_analysis: Analysis, tmp_path: Path) -> None:
    page.open(write_html(bare_analysis, tmp_path / "bare.html"))
    assert page.all("figure") == []
    assert "Nothing was measured" in page.texts("h1")[0]
    assert page.problems() == []


def test_a_browser_that_cannot_unpack_the_charts_says_so(page: Page, whole: Path, tmp_path: Path) -> None:
    old = whole.read_text(encoding="utf-8").replace(
        "<script id=", "<script>delete window.DecompressionStream</script><script id="
    )
    (tmp_path / "old.html").write_text(old, encoding="utf-8")
    page.driver.get((tmp_path / "old.html").as_uri())
    page.wait(lambda: "newer browser" in page.texts(".chart")[0])
    assert page.problems() != []


# Charts


def test_hovering_a_point_shows_what_was_measured(page: Page, whole: Path, full_analysis: Analysis) -> None:
    page.open(whole)
    told = page.hover(page.all(f"#figure-step-time {POINTS}[stroke='#0072B2']")[0])
    measured = {row["model"]: row["step time"] for row in step_time_rows(full_analysis.suite)}
    assert told["step time"] == measured[told["model"]]


def test_hovering_a_line_shows_the_values_at_that_place(page: Page, whole: Path) -> None:
    page.open(whole)
    unseen = page.all(f"#figure-loss {POINTS}[opacity='0']")
    near, far = page.hover(unseen[1]), page.hover(unseen[-2])
    assert near["law"] != far["law"]
    assert "beyond" in far["distance"]


def test_the_legend_filters_what_is_drawn(page: Page, whole: Path, full_analysis: Analysis) -> None:
    rows = loss_rows(full_analysis.suite)
    series = list(dict.fromkeys(str(row["series"]) for row in rows))
    count = {name: sum(row["series"] == name for row in rows) for name in series}
    drawn = f"#figure-loss {POINTS}[opacity='1']"
    page.open(whole)
    entries = page.all("#figure-loss .role-legend-symbol path")
    assert len(page.all(drawn)) == len(rows)
    page.script("arguments[0].scrollIntoView({block: 'center'})", entries[1])
    ActionChains(page.driver).click(entries[1]).perform()
    page.wait(lambda: len(page.all(drawn)) == count[series[1]])
    ActionChains(page.driver).key_down(Keys.SHIFT).click(entries[0]).key_up(Keys.SHIFT).perform()
    page.wait(lambda: len(page.all(drawn)) == count[series[0]] + count[series[1]])
    page.press("loss", "reset")
    page.wait(lambda: len(page.all(drawn)) == len(rows))


def test_the_buttons_zoom_and_reset(page: Page, whole: Path) -> None:
    page.open(whole)
    before = page.ticks("step-time")
    page.press("step-time", "in")
    page.wait(lambda: page.ticks("step-time") != before)
    assert "undefined" not in " ".join(page.ticks("step-time"))
    page.press("step-time", "reset")
    page.wait(lambda: page.ticks("step-time") == before)
    page.press("step-time", "out")
    page.wait(lambda: page.ticks("step-time") != before)


def test_the_wheel_zooms_with_control_and_scrolls_without(page: Page, whole: Path) -> None:
    page.open(whole)
    before = page.ticks("memory")
    origin = ScrollOrigin.from_element(page.all("#figure-memory svg")[0])
    ActionChains(page.driver).scroll_from_origin(origin, 0, 200).perform()
    page.wait(lambda: page.script("return scrollY > 100"))
    assert page.ticks("memory") == before
    page.script("scrollTo(0, 0)")
    ActionChains(page.driver).key_down(Keys.CONTROL).scroll_from_origin(origin, 0, -300).key_up(Keys.CONTROL).perform()
    page.wait(lambda: page.ticks("memory") != before)
    ActionChains(page.driver).double_click(page.all("#figure-memory svg")[0]).perform()
    page.wait(lambda: page.ticks("memory") == before)


def test_dragging_moves_what_is_shown(page: Page, whole: Path) -> None:
    first = f"#figure-memory {POINTS}[stroke='#0072B2']"
    page.open(whole)
    before = page.all(first)[0].rect["x"]
    plot = page.all("#figure-memory svg")[0]
    ActionChains(page.driver).move_to_element_with_offset(plot, 40, -30).click_and_hold().move_by_offset(
        -60, 0
    ).release().perform()
    page.wait(lambda: page.all(first)[0].rect["x"] < before - 30)


def test_words_in_a_chart_go_with_what_they_name(page: Page, whole: Path) -> None:
    words = "#figure-memory .mark-text.role-mark text"
    page.open(whole)
    assert [word.get_attribute("opacity") for word in page.all(words)] == ["1"]
    page.press("memory", "in")
    page.wait(lambda: page.all(words)[0].get_attribute("opacity") == "0")


def test_axes_become_linear_and_logarithmic_again(page: Page, whole: Path) -> None:
    page.open(whole)
    before = page.ticks("step-time")
    page.press("step-time", "linear")
    page.wait(lambda: "0" in page.ticks("step-time"))
    assert page.all("#figure-step-time [data-do=linear][aria-pressed=true]")
    page.press("step-time", "linear")
    page.wait(lambda: page.ticks("step-time") == before)


def test_the_data_of_a_chart_are_a_table_behind_a_fold(page: Page, whole: Path, full_analysis: Analysis) -> None:
    page.open(whole)
    fold = page.all("#figure-loss details summary")[0]
    page.script("arguments[0].scrollIntoView({block: 'center'})", fold)
    fold.click()
    page.wait(lambda: page.all("#figure-loss table"))
    losses = set(page.texts("#figure-loss td"))
    assert {row["validation loss"] for row in loss_rows(full_analysis.suite)} <= losses


def test_a_chart_is_saved_as_dark_words_on_white_whatever_the_page_looks_like(page: Page, whole: Path) -> None:
    page.open(whole, scheme="dark")
    page.script(
        "const made = URL.createObjectURL;"
        "URL.createObjectURL = blob => { window.saved = blob; return made(blob); };"
        "HTMLAnchorElement.prototype.click = () => {};"
        "document.querySelector('#figure-loss [data-do=svg]').click()"
    )
    page.wait(lambda: page.script("return Boolean(window.saved)"))
    svg = page.driver.execute_async_script("window.saved.text().then(arguments[0])")
    assert svg.startswith("<svg")
    assert 'fill="#ffffff"' in svg and 'fill="#24292f"' in svg


# Light, dark, phone, paper


def background(page: Page) -> int:
    """Brightness of the page, 0 to 765."""
    colour = page.script("return getComputedStyle(document.body).backgroundColor")
    return sum(map(int, re.findall(r"\d+", colour)[:3]))


def ink(page: Page) -> int:
    """Brightness of the words at an axis."""
    colour = page.script("return getComputedStyle(document.querySelector('.role-axis-label text')).fill")
    return sum(map(int, re.findall(r"\d+", colour)[:3]))


def test_the_page_and_its_charts_follow_the_system_and_then_the_switch(page: Page, whole: Path) -> None:
    page.open(whole)
    assert background(page) > 700 and ink(page) < 200
    page.emulate("dark")
    assert background(page) < 100 and ink(page) > 550
    theme = Select(page.all("#theme")[0])
    theme.select_by_value("light")
    assert background(page) > 700 and ink(page) < 200
    page.emulate("light")
    theme.select_by_value("dark")
    assert background(page) < 100 and ink(page) > 550
    theme.select_by_value("system")
    assert background(page) > 700


def test_a_phone_scrolls_no_page_sideways_but_wide_tables_in_their_boxes(page: Page, whole: Path) -> None:
    page.open(whole, NARROW)
    assert page.script("return document.scrollingElement.scrollWidth") <= NARROW[0]
    for chart in page.all(".chart svg"):
        assert chart.rect["x"] >= 0 and chart.rect["x"] + chart.rect["width"] <= NARROW[0]
    assert page.script("return [...document.querySelectorAll('.scroll')].some(e => e.scrollWidth > e.clientWidth)")


def test_charts_grow_with_the_window(page: Page, whole: Path) -> None:
    page.open(whole, NARROW)
    before = page.all(".chart svg")[0].rect["width"]
    metrics = {"width": 700, "height": 900, "deviceScaleFactor": 1, "mobile": False}
    page.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    page.wait(lambda: page.all(".chart svg")[0].rect["width"] > before + 200)


def test_paper_is_light_has_every_fold_open_and_no_buttons(page: Page, whole: Path) -> None:
    page.open(whole, scheme="dark", media="print")
    assert background(page) > 700 and ink(page) < 200
    assert not any(button.is_displayed() for button in page.all("button, select"))
    page.script(
        "addEventListener('beforeprint', () => {"
        " window.closed = [...document.querySelectorAll('details.reference')].filter(fold => !fold.open).length; });"
    )
    page.driver.execute_cdp_cmd("Page.printToPDF", {})
    assert page.script("return window.closed") == 0
    page.wait(lambda: not page.all("details.reference[open]"))


def test_nothing_is_cut_by_the_edge_of_a_sheet(page: Page, whole: Path) -> None:
    page.open(whole, PAPER, media="print")
    right_edge = (
        "return Math.max(...[...document.querySelectorAll('figure, .chart svg, table, p')]"
        ".filter(e => e.checkVisibility() && !e.closest('details.reference'))"
        ".map(e => e.getBoundingClientRect().right))"
    )
    assert 0.9 * PAPER[0] < page.script(right_edge) <= PAPER[0]
    figures = "return [...document.querySelectorAll('figure')].map(e => getComputedStyle(e).breakInside)"
    assert set(page.script(figures)) == {"avoid"}
    overlaps = (
        "const box = (figure, part) => figure.querySelector(part).getBoundingClientRect();"
        "return [...document.querySelectorAll('figure')]"
        ".filter(e => box(e, 'svg').bottom > box(e, 'figcaption').top + 1).map(e => e.id)"
    )
    assert page.script(overlaps) == []
    page.open(whole, PAPER[::-1], media="print")
    assert page.script("return document.scrollingElement.scrollWidth") <= PAPER[1]


# Keyboard and assistive technology


def test_the_keyboard_reaches_everything_and_shows_where_it_is(page: Page, whole: Path) -> None:
    page.open(whole)
    page.script(
        "window.wanted = [...document.querySelectorAll('a, button, select, summary, [tabindex=\"0\"]')]"
        ".filter(e => e.checkVisibility())"
    )
    count = page.script("return wanted.length")
    where = (
        "const e = document.activeElement, box = e.getBoundingClientRect();"
        "return [wanted.indexOf(e), getComputedStyle(e).outlineStyle !== 'none' && box.left >= 0 && box.width > 0]"
    )
    reached = []
    for _ in range(count):
        ActionChains(page.driver).send_keys(Keys.TAB).perform()
        reached.append(page.script(where))
    assert reached == [[place, True] for place in range(count)]
    assert page.script("return wanted[0].className") == "skip"


def test_a_link_to_a_fold_opens_it(page: Page, whole: Path) -> None:
    page.open(whole)
    page.all(".contents summary")[0].send_keys(Keys.ENTER)
    link = next(link for link in page.all(".contents a") if link.text == "All cells")
    link.send_keys(Keys.ENTER)
    page.wait(lambda: page.all("#all-cells[open]"))
    assert page.all("#all-cells table")[0].is_displayed()


@pytest.fixture(scope="module")
def short(full_analysis: Analysis, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A report with everything in it but few rows, as axe looks at each of them for a while."""
    suite = full_analysis.suite
    few = {"cells": suite.cells[:6], "training_runs": suite.training_runs[:4]}
    page = full_analysis.model_copy(update={"suite": suite.model_copy(update=few)})
    return write_html(page, tmp_path_factory.mktemp("short") / "report.html")


@pytest.mark.parametrize(("scheme", "size"), [("light", WIDE), ("dark", NARROW)])
def test_axe_finds_no_serious_fault(page: Page, short: Path, scheme: str, size: tuple[int, int]) -> None:
    page.open(short, size, scheme)
    page.script("for (const fold of document.querySelectorAll('details')) fold.open = true")
    page.script((files("axe_core_python") / "axe.min.js").read_text(encoding="utf-8"))
    found = page.driver.execute_async_script(
        "axe.run({exclude: ['.chart svg']}, {resultTypes: ['violations']}).then(arguments[0])"
    )
    assert len(found["passes"]) > 10
    faults = [one for one in found["violations"] if one["impact"] in ("serious", "critical")]
    assert [(one["id"], one["nodes"][0]["html"]) for one in faults] == []


# Text that would be code


HOSTILE = (
    "<script>window.hacked = 1</script>",
    "</script><img src=x onerror='window.hacked = 2'>",
    "**bold** [link](javascript:window.hacked=3) | cell",
    "{{ 7 * 7 }} {% raw %} ${window.hacked = 4}",
    '"><svg onload="window.hacked = 5"> it\'s',
)


def hostile(analysis: Analysis) -> Analysis:
    """Hostile words wherever a suite takes words."""
    suite = analysis.suite
    machine = suite.machine.model_copy(update={"id": HOSTILE[0], "identity": {"cpu": HOSTILE[1]}})
    failed = factories.make_cell(factories.DIAGONAL[0]).model_copy(update={"status": "failed", "reason": HOSTILE[1]})
    task = TaskRef(path="bench/bench_x.py", function=HOSTILE[4])
    run = suite.training_runs[0]
    named = run.model_copy(update={"config": run.config.model_copy(update={"model": None, "task": task})})
    changes = {
        "machine": machine,
        "commit": HOSTILE[3],
        "warnings": tuple(MeasurementWarning(subject=text, message=text) for text in HOSTILE),
        "cells": (*suite.cells, failed),
        "training_runs": (named,),
    }
    return analysis.model_copy(update={"suite": suite.model_copy(update=changes)})


def test_hostile_text_is_shown_and_not_run(page: Page, analysis: Analysis, tmp_path: Path) -> None:
    page.open(write_html(hostile(analysis), tmp_path / "hostile.html"))
    page.script("for (const fold of document.querySelectorAll('details')) fold.open = true")
    unseen = f"#figure-training-loss {POINTS}"
    assert HOSTILE[4] in page.hover(page.all(unseen)[0])["model"]
    page.wait(lambda: page.all("#figure-training-loss table"))
    words = page.script("return document.body.innerText")
    assert [text for text in HOSTILE if text not in words] == []
    assert page.script("return window.hacked ?? null") is None
    assert page.all("img, body svg[onload]") == []
    assert page.problems() == []


# Several suites


def test_a_comparison_is_drawn_filtered_by_contender_and_fits_a_phone(page: Page, tmp_path: Path) -> None:
    path = write_comparison_html(comparison(), tmp_path / "comparison.html")
    page.open(path)
    for name in COMPARED_NAMES:
        assert page.all(f"#figure-{name} svg .role-mark path"), name
    drawn = f"#figure-step-time {POINTS}[opacity='1']"
    points = len(page.all(drawn))
    told = page.hover(page.all(drawn)[0])
    assert told["on"] in ("laptop", "gpu") and "±" in told["step time"]
    entry = page.all("#figure-step-time .role-legend-symbol path")[1]
    page.script("arguments[0].scrollIntoView({block: 'center'})", entry)
    ActionChains(page.driver).click(entry).perform()
    page.wait(lambda: len(page.all(drawn)) == points // 2)
    page.open(path, NARROW)
    assert page.script("return document.scrollingElement.scrollWidth") <= NARROW[0]
    assert page.problems() == []
