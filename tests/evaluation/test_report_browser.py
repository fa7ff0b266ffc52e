"""The page in a browser, as its reader has it: a thousand gaps, by mouse and keyboard, both themes, wide and narrow."""

from __future__ import annotations

import csv
import io
import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import polars as pl
import pytest
from report_extras import add
from report_lake import DAY, build
from test_report import SECRET, gaps_of, settings_of

from echo_dagster.evaluation import report
from echo_dagster.lake import Lake

playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium is on the path")

#: Texts whose contrast with what is behind them is below 4.5:1, as [ratio, text]. Ornaments (aria-hidden) do not count.
CONTRAST = """() => {
  const parse = (text) => { const n = text.match(/[\\d.]+/g).map(Number); return [n[0], n[1], n[2], n[3] ?? 1]; };
  const over = (top, under) => [0, 1, 2].map((i) => top[i] * top[3] + under[i] * (1 - top[3]));
  const behind = (node) => {
    if (!node) return [255, 255, 255];
    const own = parse(getComputedStyle(node).backgroundColor);
    return own[3] === 1 ? own.slice(0, 3) : over(own, behind(node.parentElement));
  };
  const light = (rgb) => {
    const [r, g, b] = rgb.map((v) => (v /= 255) <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const low = [];
  let seen = 0;
  for (const node of document.querySelectorAll("body *")) {
    const hasText = [...node.childNodes].some((child) => child.nodeType === 3 && child.data.trim());
    if (!hasText || node.closest("script, style, option, [aria-hidden=true], .sr, .skip")) continue;
    if (!node.checkVisibility()) continue;
    const style = getComputedStyle(node);
    const colour = parse(node.closest("svg") ? style.fill : style.color);
    for (let up = node; up; up = up.parentElement) colour[3] *= Number(getComputedStyle(up).opacity);
    const ground = behind(node.closest("svg") ?? node);
    const [a, b] = [light(over(colour, ground)), light(ground)].sort((x, y) => y - x);
    const ratio = (a + 0.05) / (b + 0.05);
    seen += 1;
    if (ratio < 4.5) low.push([ratio.toFixed(2), node.tagName, node.textContent.slice(0, 40)]);
  }
  return { seen, low };
}"""


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    settings = settings_of(tmp_path_factory.mktemp("browser"))
    lake = Lake(settings.lake_dir)
    build(lake, n_gaps=1000, n_kept=500, history=settings.data_dir / "checkpoint")
    add(lake)
    # A secret in a gap that was rejected for something else, and one that a model recites.
    gaps = lake.read("gap_sessions", [DAY]).collect()
    is_planted = pl.col("gap_id") == "gap-00505"
    leak = pl.lit(f'key = "{SECRET}"\n')
    lake.replace(
        "gap_sessions",
        gaps.with_columns(
            final=pl.when(is_planted).then(leak).otherwise("final"),
            cohort=pl.when(pl.col("gap_id") < "gap-00300").then(pl.lit("external")).otherwise("cohort"),
        ),
        [DAY],
    )
    rows = lake.read("predictions", [DAY]).collect()
    is_first = pl.col("sample_id") == "gap-00000"
    rows = rows.with_columns(prediction=pl.when(is_first).then(leak).otherwise("prediction"))
    lake.replace("predictions", rows, [DAY])
    return report.write(lake, DAY, settings)


@pytest.fixture(scope="module")
def browser() -> Iterator:
    with playwright.sync_playwright() as driver:
        opened = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        yield opened
        opened.close()


class Watched:
    """A page with what it said and asked for."""

    def __init__(self, browser, file: Path, **how) -> None:
        self.said: list[str] = []
        self.asked: list[str] = []
        self.file = file
        self.page = browser.new_page(**how)
        self.page.on("console", lambda message: self.said.append(f"{message.type}: {message.text}"))
        self.page.on("pageerror", lambda error: self.said.append(str(error)))
        self.page.on("request", lambda request: self.asked.append(request.url))
        self.page.goto(file.as_uri())

    def check(self) -> None:
        """Nothing was complained of, and nothing asked for but the file and what the page made itself."""
        assert self.said == []
        assert [url for url in self.asked if not url.startswith(("data:", "blob:"))] == [self.file.as_uri()]


@pytest.fixture(scope="module")
def wide(browser, file) -> Iterator[Watched]:
    watched = Watched(browser, file, viewport={"width": 1400, "height": 900}, color_scheme="light")
    yield watched
    watched.page.close()


@pytest.fixture()
def page(wide):
    """The page without a filter; afterwards, nothing may have gone wrong on it."""
    wide.page.evaluate(
        "() => { document.querySelectorAll('select').forEach((box) => { box.value = '*'; }); }"
    )
    wide.page.fill("#search", "")
    wide.page.dispatch_event("#search", "input")
    yield wide.page
    wide.check()


def shown(page) -> int:
    return page.locator("#list li").count()


@pytest.mark.parametrize("name", ["verdict", "language", "outcome", "break_reason", "cohort"])
def test_a_filter_narrows_the_list_to_the_right_count(page, file, name):
    gaps = gaps_of(file.read_text(encoding="utf-8"))
    values = sorted({gap[name] or "" for gap in gaps})
    assert len(values) > 1
    for value in values:
        page.select_option(f"#f-{name}", value)
        expected = sum((gap[name] or "") == value for gap in gaps)
        assert shown(page) == expected
        assert page.inner_text("#status") == f"1 of {expected} (filtered from 1000)"
    page.select_option(f"#f-{name}", "*")
    assert shown(page) == 1000


def test_filters_add_up_and_search_finds_texts(page, file):
    gaps = gaps_of(file.read_text(encoding="utf-8"))
    page.select_option("#f-language", "typescript")
    page.select_option("#f-outcome", "ignored")
    both = [gap for gap in gaps if gap["language"] == "typescript" and gap["outcome"] == "ignored"]
    assert shown(page) == len(both) > 0
    page.fill("#search", both[3]["id"])
    assert shown(page) == 1
    page.fill("#search", "no text has this")
    assert page.inner_text("#status") == "No gap fits these filters."


def test_the_keyboard_alone_is_enough(page):
    def at() -> str:
        return page.get_attribute("#list [aria-selected=true]", "id")

    page.focus("#list")
    page.keyboard.press("Home")
    page.keyboard.press("j")
    page.keyboard.press("j")
    page.keyboard.press("k")
    assert at() == "gap-1"
    page.keyboard.press("ArrowDown")
    page.keyboard.press("End")
    assert at() == "gap-999"
    page.keyboard.press("/")
    assert page.evaluate("document.activeElement.id") == "search"
    page.keyboard.type("jk gap-00007")
    assert shown(page) == 0, "while one types, j and k are letters"
    page.keyboard.press("Escape")
    assert page.evaluate("document.activeElement.id") == "list"
    assert shown(page) == 1000
    page.focus("#f-verdict")
    order = ["f-verdict"]
    for _ in range(8):
        page.keyboard.press("Tab")
        order.append(page.evaluate("document.activeElement.id"))
        outline = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
        assert outline != "none", f"one sees that {order[-1]} has the focus"
    assert order == [
        "f-verdict",
        "f-language",
        "f-outcome",
        "f-break_reason",
        "f-cohort",
        "search",
        "keys",
        "list",
        "detail",
    ]


def test_a_diff_opens_in_its_context_and_in_colour(page, file):
    gap = next(one for one in gaps_of(file.read_text(encoding="utf-8")) if one["id"] == "gap-00003")
    page.fill("#search", "gap-00003")
    page.click("#list li")
    left, right = (page.locator("#detail .pane pre").nth(place) for place in (0, 1))
    removed = [text for sign, text in gap["parts"] if sign == -1]
    added = [text for sign, text in gap["parts"] if sign == 1]
    assert removed and left.locator("del").all_text_contents() == removed
    assert added and right.locator("ins").all_text_contents() == added
    assert left.locator(".context").first.text_content() == gap["before"]
    plain, marked = (
        page.evaluate(f"getComputedStyle(document.querySelector('#detail {tag}')).backgroundColor")
        for tag in ("pre", "del")
    )
    assert plain != marked
    assert page.locator("#detail .prediction").count() == 3


def test_a_planted_secret_is_nowhere(page, file):
    assert SECRET not in file.read_text(encoding="utf-8")
    for name in ("gap-00505", "gap-00000"):
        page.fill("#search", name)
        assert "aws_access_key" in page.inner_text("#detail"), "what stands in its place"
        assert SECRET not in page.content()


def test_every_plot_can_be_taken_away(page, file):
    tools = page.locator(".take")
    names = [tools.nth(place).get_attribute("data-plot") for place in range(tools.count())]
    assert len(names) == page.locator("figure svg").count() == 11
    tables = json.loads(page.text_content("#plots"))["tables"]
    for name in names:
        with page.expect_download() as caught:
            page.click(f".take[data-plot={name}] button:nth-child(2)")
        assert caught.value.suggested_filename == f"{DAY}-{name}.csv"
        assert caught.value.path().read_text(encoding="utf-8") == tables[name]
        assert len(list(csv.reader(io.StringIO(tables[name])))) > 1
        page.wait_for_timeout(150)  # a page that saves more than ten files a second is not let by Chromium
    with page.expect_download() as caught:
        page.click(".take[data-plot=funnel] button:nth-child(1)")
    assert caught.value.suggested_filename == f"{DAY}-funnel.png"
    picture = caught.value.path().read_bytes()
    assert picture.startswith(b"\x89PNG")
    width = page.evaluate("document.querySelector('figure svg').viewBox.baseVal.width")
    assert int.from_bytes(picture[16:20], "big") == int(2 * width)
    assert len(picture) > 4000, "it is not blank"


def test_a_thousand_samples_fit(file):
    assert len(gaps_of(file.read_text(encoding="utf-8"))) == 1000
    assert file.stat().st_size < 5_000_000


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [400, 1400])
def test_both_themes_can_be_read_wide_and_narrow(browser, file, scheme, width):
    watched = Watched(browser, file, viewport={"width": width, "height": 900}, color_scheme=scheme)
    page = watched.page
    page.evaluate("() => document.querySelectorAll('details').forEach((box) => { box.open = true; })")
    assert page.evaluate("document.documentElement.scrollWidth") <= width, "the page does not scroll sideways"
    scales = page.evaluate(
        "() => [...document.querySelectorAll('figure svg')].map((plot) => "
        "plot.getBoundingClientRect().width / plot.viewBox.baseVal.width)"
    )
    assert len(scales) == 11 and all(0.64 < scale <= 1.01 for scale in scales), "plots can be read"
    found = page.evaluate(CONTRAST)
    assert found["seen"] > 500
    assert found["low"] == []
    ground = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert ground == {"light": "rgb(255, 255, 255)", "dark": "rgb(20, 22, 26)"}[scheme]
    watched.check()
    page.close()
