"""The report in a real browser, without a network: headless Chromium, spoken to over its debugging pipe."""

from __future__ import annotations

import base64
import json
import os
import select
import shutil
import subprocess
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from small_run import HOSTILE, run_of_many, small_run

from moee_topics.report import write_comparison, write_report
from moee_topics.run_folder import RunFolder

FLAGS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync"),
    *("--disable-background-networking", "--disable-component-update", "--disable-dev-shm-usage"),
    *("--proxy-server=127.0.0.1:9", "--remote-debugging-pipe", "--window-size=1400,1000"),
)


def chromium() -> str | None:
    names = ("chromium", "chromium-browser", "google-chrome")
    return os.environ.get("CHROMIUM") or next((path for name in names if (path := shutil.which(name))), None)


pytestmark = pytest.mark.skipif(chromium() is None, reason="no browser: install chromium, or set CHROMIUM to one")


class Browser:
    """One page of a headless Chromium, driven by the DevTools protocol over two pipes: no port, no packages."""

    def __init__(self, profile: Path) -> None:
        to_browser, self.send_end = os.pipe()
        self.receive_end, from_browser = os.pipe()
        command = [str(chromium()), *FLAGS, f"--user-data-dir={profile}", "about:blank"]
        # The browser reads descriptor 3 and writes 4.
        shell = f'exec "$@" 3<&{to_browser} 4>&{from_browser}'
        self.process = subprocess.Popen(
            ["bash", "-c", shell, "bash", *command],
            pass_fds=(to_browser, from_browser),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(to_browser)
        os.close(from_browser)
        self.buffer, self.number, self.session = b"", 0, None
        self.messages: list[str] = []
        self.requests: list[str] = []
        self._attach()

    def _attach(self) -> None:
        pages = [t for t in self.call("Target.getTargets")["targetInfos"] if t["type"] == "page"]
        target = {"targetId": pages[0]["targetId"], "flatten": True}
        self.session = self.call("Target.attachToTarget", target)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")

    def call(self, method: str, parameters: dict[str, Any] | None = None, seconds: float = 60) -> dict[str, Any]:
        self.number += 1
        message: dict[str, Any] = {"id": self.number, "method": method, "params": parameters or {}}
        if self.session:
            message["sessionId"] = self.session
        os.write(self.send_end, json.dumps(message).encode() + b"\0")
        deadline = time.monotonic() + seconds
        while True:
            answer = self._receive(deadline)
            if answer.get("id") == self.number:
                assert "error" not in answer, answer["error"]
                return dict(answer["result"])

    def _receive(self, deadline: float) -> dict[str, Any]:
        while b"\0" not in self.buffer:
            ready, _, _ = select.select([self.receive_end], [], [], max(0.0, deadline - time.monotonic()))
            part = os.read(self.receive_end, 1 << 20) if ready else b""
            assert part, "the browser does not answer"
            self.buffer += part
        raw, self.buffer = self.buffer.split(b"\0", 1)
        message: dict[str, Any] = json.loads(raw)
        self._note(message.get("method", ""), message.get("params", {}))
        return message

    def _note(self, method: str, params: dict[str, Any]) -> None:
        if method == "Runtime.exceptionThrown":
            self.messages.append(json.dumps(params["exceptionDetails"]))
        elif method == "Log.entryAdded" or (method == "Runtime.consoleAPICalled" and params["type"] == "error"):
            self.messages.append(json.dumps(params))
        elif method == "Network.requestWillBeSent":
            self.requests.append(params["request"]["url"])

    def evaluate(self, expression: str) -> Any:
        parameters = {"expression": expression, "returnByValue": True, "awaitPromise": True}
        answer = self.call("Runtime.evaluate", parameters)
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    def wait_for(self, expression: str, seconds: float = 30) -> None:
        deadline = time.monotonic() + seconds
        while not self.evaluate(expression):
            assert time.monotonic() < deadline, f"never true: {expression}"
            time.sleep(0.05)

    def open(self, path: Path, fragment: str = "") -> None:
        # A panel that was closed goes back in the history, and would take the next page back too.
        self.wait_for("document.getElementById('panel')?.open || history.state !== 'panel'")
        if fragment:  # from another page, or the browser would stay where it is and only scroll
            self.call("Page.navigate", {"url": "about:blank"})
        self.messages.clear()
        self.requests.clear()
        self.call("Page.navigate", {"url": path.resolve().as_uri() + fragment})
        self.wait_for("document.readyState === 'complete' && location.protocol === 'file:'")

    def type(self, key: str, text: str) -> None:
        """Puts text into a field, as typing would."""
        element = f"document.getElementById({key!r})"
        self.evaluate(f"{element}.value = {json.dumps(text)}")
        self.evaluate(f"{element}.dispatchEvent(new Event('input', {{ bubbles: true }}))")

    def click(self, selector: str) -> None:
        """Clicks all that a selector finds."""
        self.evaluate(f"document.querySelectorAll({json.dumps(selector)}).forEach((found) => found.click())")

    def press(self, key: str, code: int) -> None:
        for kind in ("keyDown", "keyUp"):
            self.call("Input.dispatchKeyEvent", {"type": kind, "key": key, "code": key, "windowsVirtualKeyCode": code})

    def touch(self, kind: str, *fingers: tuple[float, float]) -> None:
        points = [{"x": x, "y": y, "id": number} for number, (x, y) in enumerate(fingers)]
        self.call("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})

    def screenshot(self, path: Path, width: int = 1400, height: int = 1000, *, dark: bool = False) -> None:
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.call("Emulation.setEmulatedMedia", {"features": [scheme]})
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600}
        self.call("Emulation.setDeviceMetricsOverride", size)
        time.sleep(0.4)
        path.write_bytes(base64.b64decode(self.call("Page.captureScreenshot")["data"]))

    def close(self) -> None:
        os.close(self.send_end)
        try:
            self.process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        os.close(self.receive_end)


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    page = Browser(tmp_path_factory.mktemp("profile"))
    yield page
    page.close()


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_report(small_run(tmp_path_factory.mktemp("run")))


@pytest.fixture
def page(browser: Browser, report: Path) -> Browser:
    browser.open(report)
    browser.wait_for("document.documentElement.dataset.ready === 'yes'")
    return browser


def test_it_renders_without_a_network_and_without_an_error(page: Browser) -> None:
    assert page.messages == []
    assert [url for url in page.requests if not url.startswith(("file:", "data:"))] == []
    painted = (
        "(() => { const map = document.getElementById('map'), context = map.getContext('2d');"
        " return context.getImageData(0, 0, map.width, map.height).data.some((value) => value !== 0); })()"
    )
    page.wait_for(painted)
    sections = page.evaluate("[...document.querySelectorAll('main > section')].map((s) => s.id)")
    assert sections == ["overview", "topics", "experts", "hierarchy", "time", "labels", "outliers", "documents", "run"]
    for drawn in ("#layer-chart svg", "#routing-map circle", "#tree path", "#time-charts svg", "#confusion td"):
        assert page.evaluate(f"document.querySelectorAll('{drawn}').length") > 0, drawn


NAMES = "[...document.querySelectorAll('#topic-table tbody tr:not([hidden]) th')].map((cell) => cell.textContent)"


def test_the_topic_table_sorts_both_ways_and_says_so(page: Browser) -> None:
    numbers = "[...document.querySelectorAll('#topic-table tbody tr')].map((row) => Number(row.dataset.count))"
    assert page.evaluate(numbers) == sorted(page.evaluate(numbers), reverse=True)
    page.evaluate("document.querySelector('[data-key=count]').click()")
    assert page.evaluate(numbers) == sorted(page.evaluate(numbers))
    assert page.evaluate("document.querySelector('[data-key=count]').closest('th').ariaSort") == "ascending"
    page.evaluate("document.querySelector('[data-key=name]').click()")
    assert page.evaluate(NAMES) == sorted(page.evaluate(NAMES))
    assert page.evaluate("document.querySelectorAll('[aria-sort=ascending], [aria-sort=descending]').length") == 1


def test_the_topic_search_finds_words_and_aspects(page: Browser) -> None:
    page.type("topic-search", "HOCKEY goal")
    assert page.evaluate(NAMES) == ["hockey, goal, team"]
    assert page.evaluate("document.getElementById('topic-count').textContent") == "1 of 4 topics"
    page.type("topic-search", "aspect3")
    assert page.evaluate(NAMES) == ["bread, flour, oven"]


def test_the_documents_are_searched_filtered_and_paged(page: Browser) -> None:
    total = "document.getElementById('document-count').textContent"
    assert page.evaluate(total) == "240 documents"
    assert page.evaluate("document.querySelectorAll('#document-list li').length") == 20
    page.click("#page-next")
    assert page.evaluate("document.getElementById('page-number').textContent") == "Page 2 of 12"
    page.type("document-search", "Number 17")
    page.wait_for(f"{total} === '13 of 240 documents'")  # also 117, 217 and 170 to 179, by id
    marks = page.evaluate("[...document.querySelectorAll('#document-list mark')].map((m) => m.textContent)")
    assert set(marks) == {"number", "17"}
    page.click("#outliers [data-documents]")
    page.wait_for(f"{total} !== '13 of 240 documents'")
    chips = page.evaluate("[...document.querySelectorAll('#document-list .chip')].map((c) => c.textContent)")
    assert set(chips) == {"Outliers"}


def test_a_topic_opens_by_keyboard_and_shows_its_expert(page: Browser) -> None:
    page.evaluate("document.querySelector('#topic-table tr[data-id=\"2\"] .link').focus()")
    page.call("Input.dispatchKeyEvent", {"type": "keyDown", "key": "Enter", "windowsVirtualKeyCode": 13, "text": "\r"})
    page.wait_for("document.getElementById('panel').open")
    text = page.evaluate("document.getElementById('panel').innerText")
    assert "disk" in text and "L2 E2" in text and "Representative documents" in text
    assert "disk" in page.evaluate("[...document.querySelectorAll('#panel mark')].map((m) => m.textContent)")
    cell = "document.querySelector('#panel canvas').getContext('2d').getImageData(2 * {0} + 3, 2 * {0} + 3, 1, 1).data"
    red, _, blue, opaque = page.evaluate(f"[...{cell.format(16)}]")  # layer 2, expert 2
    assert blue > red and opaque > 100
    page.press("Escape", 27)
    page.wait_for("!document.getElementById('panel').open")


OPEN = "document.getElementById('panel').open"
TOTAL = "document.getElementById('document-count').textContent"
READY = "document.documentElement.dataset.ready === 'yes'"


@pytest.mark.parametrize("chapter", ["experts", "documents", "run"])
def test_a_link_to_a_chapter_ends_at_its_heading(browser: Browser, report: Path, chapter: str) -> None:
    browser.open(report, f"#{chapter}")
    browser.wait_for(READY)
    top = f"document.getElementById('{chapter}').getBoundingClientRect().top"
    end = "innerHeight + scrollY >= document.documentElement.scrollHeight - 2"
    browser.wait_for(f"({top} > -20 && {top} < 120) || ({end})")


def test_a_link_opens_its_topic_and_closing_stays_on_the_page(browser: Browser, report: Path) -> None:
    browser.open(report, "#topic-2")
    browser.wait_for(READY)
    assert browser.evaluate(OPEN) and "disk" in browser.evaluate("document.getElementById('panel').innerText")
    browser.press("Escape", 27)
    browser.wait_for(f"!{OPEN}")
    browser.wait_for("location.hash === '#topics'")
    assert browser.messages == []


def test_an_opened_topic_is_in_the_address_and_back_closes_it(page: Browser) -> None:
    before = page.evaluate("history.length")
    page.click("#topic-table [data-topic='1']")
    page.wait_for("location.hash === '#topic-1'")
    page.click("#panel [aria-label='Larger topic']:not(:disabled), #panel [aria-label='Smaller topic']:not(:disabled)")
    other = page.evaluate("location.hash")
    assert other.startswith("#topic-") and page.evaluate("history.length") <= before + 1
    page.evaluate("history.back()")
    page.wait_for(f"!{OPEN} && location.hash === ''")
    page.evaluate("history.forward()")
    page.wait_for(f"{OPEN} && location.hash === {other!r}")
    page.click("#panel [aria-label='Close']")
    page.wait_for(f"!{OPEN} && location.hash === ''")


def test_a_link_repeats_a_search_of_documents(browser: Browser, report: Path) -> None:
    browser.open(report, "#documents?q=hockey+number&label=label%201&order=long&page=2")
    browser.wait_for(READY)
    fields = "['search', 'topic', 'label', 'order'].map((name) => document.getElementById('document-' + name).value)"
    assert browser.evaluate(fields) == ["hockey number", "", "1", "long"]
    assert browser.evaluate("document.getElementById('page-number').textContent").startswith("Page 2 of ")
    browser.wait_for("Math.abs(document.getElementById('documents').getBoundingClientRect().top) < 300")
    browser.type("document-search", "goal")
    browser.wait_for("location.hash === '#documents?q=goal&label=label+1&order=long'")
    browser.click("#outliers [data-documents]")
    browser.wait_for("location.hash.startsWith('#documents?topic=-1')")
    browser.evaluate("location.hash = '#documents?topic=0'")
    browser.wait_for(f"{fields}[1] === '0'")
    assert browser.evaluate(fields) == ["", "0", "", "row"]


@pytest.mark.parametrize(
    "fragment", ["#topic-99", "#documents?topic=x&label=none&page=-7", "#overview?topic=", "#%3Cimg%3E"]
)
def test_a_link_to_what_is_not_there_shows_the_report(browser: Browser, report: Path, fragment: str) -> None:
    browser.open(report, fragment)
    browser.wait_for(READY)
    assert not browser.evaluate(OPEN) and browser.evaluate(TOTAL) == "240 documents"
    assert browser.messages == []


def test_a_hostile_link_stays_text(browser: Browser, report: Path) -> None:
    browser.open(report, "#documents?q=%3Cimg%20src%3Dx%20onerror%3D%22window.hacked%3D1%22%3E&topic=%22%3E%3Csvg%3E")
    browser.wait_for(READY)
    assert browser.evaluate("document.getElementById('document-search').value").startswith("<img src=x")
    assert browser.evaluate("typeof window.hacked + document.querySelectorAll('img').length") == "undefined0"
    assert browser.messages == []


ZOOM = "document.getElementById('map-zoom').textContent"


def test_two_fingers_zoom_and_move_the_map_and_not_the_page(page: Browser) -> None:
    page.call("Emulation.setTouchEmulationEnabled", {"enabled": True, "maxTouchPoints": 2})
    page.evaluate("document.getElementById('map').scrollIntoView({ block: 'center', behavior: 'instant' })")
    box = page.evaluate("document.getElementById('map').getBoundingClientRect().toJSON()")
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    try:
        page.touch("touchStart", (x - 40, y), (x + 40, y))
        page.touch("touchMove", (x - 80, y), (x + 80, y))
        page.wait_for(f"{ZOOM} === '2.0 ×'")
        scrolled = page.evaluate("window.before = document.getElementById('map').toDataURL(), scrollY")
        page.touch("touchMove", (x - 80, y + 60), (x + 80, y + 60))
        page.wait_for("document.getElementById('map').toDataURL() !== window.before")
        page.touch("touchEnd")
        assert page.evaluate(ZOOM) == "2.0 ×"
        assert page.evaluate("visualViewport.scale") == 1 and page.evaluate("scrollY") == scrolled
        assert page.evaluate("document.getElementById('map-card').hidden")  # nothing was picked
    finally:
        page.call("Emulation.setTouchEmulationEnabled", {"enabled": False})


def test_the_map_zooms_by_keyboard_and_says_how_far(page: Browser) -> None:
    page.evaluate("document.getElementById('map').focus()")
    assert "+ − 0" in page.evaluate("document.getElementById('map-help').innerText")
    page.press("+", 187)
    assert page.evaluate(ZOOM) == "1.4 ×"
    page.press("-", 189)
    page.press("-", 189)
    assert page.evaluate(ZOOM) == "0.7 ×"
    page.press("0", 48)
    assert page.evaluate(ZOOM) == "1.0 ×"


def test_print_is_light_and_an_open_topic_is_printed_alone(browser: Browser, report: Path) -> None:
    ground = "getComputedStyle(document.body).getPropertyValue('--accent')"
    browser.open(report)
    browser.wait_for(READY)
    light = browser.evaluate(ground)
    browser.evaluate("document.documentElement.dataset.theme = 'dark'")
    browser.evaluate("dispatchEvent(new Event('beforeprint'))")
    assert browser.evaluate(ground) == light
    browser.evaluate("dispatchEvent(new Event('afterprint'))")
    assert browser.evaluate(ground) != light
    browser.call("Emulation.setEmulatedMedia", {"media": "print"})
    try:
        assert browser.evaluate("document.querySelector('main').checkVisibility()")
        browser.evaluate("location.hash = '#topic-2'")
        browser.wait_for(OPEN)
        assert not browser.evaluate("document.querySelector('main').checkVisibility()")
        browser.wait_for("document.getElementById('panel').getBoundingClientRect().top + scrollY === 0")
    finally:
        browser.call("Emulation.setEmulatedMedia", {"media": ""})


def test_every_control_has_a_name_and_ids_are_unique(page: Browser) -> None:
    controls = "[...document.querySelectorAll('button, input, select, canvas, svg[role=img], section, nav')]"
    named = "e.textContent.trim() || e.ariaLabel || e.getAttribute('aria-labelledby') || (e.labels && e.labels.length)"
    assert page.evaluate(f"{controls}.filter((e) => !({named})).length") == 0
    ids = page.evaluate("[...document.querySelectorAll('[id]')].map((e) => e.id)")
    assert len(ids) == len(set(ids))
    assert page.evaluate("document.documentElement.lang") == "en"
    assert page.evaluate("document.querySelectorAll('h1').length") == 1


def test_nothing_is_wider_than_a_phone(page: Browser) -> None:
    page.call(
        "Emulation.setDeviceMetricsOverride", {"width": 420, "height": 900, "deviceScaleFactor": 1, "mobile": True}
    )
    try:
        page.wait_for("window.innerWidth === 420")
        assert page.evaluate("document.documentElement.scrollWidth") <= 420
    finally:
        page.call("Emulation.clearDeviceMetricsOverride")


@pytest.fixture(scope="module")
def awkward(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A report with a word of 240 letters, a revision of 480, and labels that are read from right to left."""
    folder = small_run(tmp_path_factory.mktemp("awkward"))
    run = RunFolder(folder)
    result, manifest = run.result, run.manifest
    info = [replace(topic, words=[("x" * 240, 0.5), *topic.words]) for topic in result.topic_info]
    RunFolder.result.write(run, replace(result, topic_info=info, labels=["סגול"] * len(result)))
    RunFolder.manifest.write(run, {**manifest, "encoder": {**manifest["encoder"], "revision": "a1b2" * 120}})
    return write_report(folder)


def too_wide(page: Browser) -> list[str]:
    """The parts of a report that are wider than the page, once all of it is laid out."""
    page.evaluate("document.querySelectorAll('section').forEach((s) => { s.style.contentVisibility = 'visible'; })")
    wide = "[...document.querySelectorAll('html, main section, #topic-table, .manifest, nav')]"
    wide += ".filter((part) => part.scrollWidth > Math.min(innerWidth, part.parentElement?.clientWidth || innerWidth))"
    return list(page.evaluate(f"{wide}.map((part) => part.id || part.className || part.tagName)"))


@pytest.mark.parametrize("width", [390, 1280])
def test_long_words_wrap_and_every_chapter_is_in_the_menu(browser: Browser, awkward: Path, width: int) -> None:
    browser.call(
        "Emulation.setDeviceMetricsOverride",
        {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 600},
    )
    try:
        browser.open(awkward)
        browser.wait_for("document.documentElement.dataset.ready === 'yes'")
        assert too_wide(browser) == []
        # The tree of a telephone is as wide as the telephone: joins are seen, not only parallel lines.
        assert browser.evaluate("document.querySelector('#tree svg').getBoundingClientRect().width") <= min(width, 1100)
        assert browser.evaluate("document.querySelectorAll('nav a').length") == 9
    finally:
        browser.call("Emulation.clearDeviceMetricsOverride")


def test_right_to_left_labels_split_no_percentage_and_pure_topics_are_not_called_mixed(awkward: Path) -> None:
    page = " ".join(awkward.read_text(encoding="utf-8").split())
    assert "is 100 % <bdi>סגול</bdi>" in page and "only 100 %" not in page
    assert "No topic has documents of two labels." in page


@pytest.fixture(scope="module")
def branching(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A report with a tree of a hundred leaves."""
    folder = small_run(tmp_path_factory.mktemp("branching"))
    rows = [{"parent": 100 + i, "left": 99 + i if i else 0, "right": i + 1, "distance": 0.5 + i / 99, "name": ""}
            for i in range(99)]  # fmt: skip
    (folder / "hierarchy.json").write_text(json.dumps(rows), encoding="utf-8")
    return write_report(folder)


def sized(page: Browser, width: int) -> None:
    page.call(
        "Emulation.setDeviceMetricsOverride",
        {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 600},
    )


def test_charts_follow_the_width_of_the_page_and_a_large_tree_can_break(browser: Browser, branching: Path) -> None:
    sized(browser, 1280)
    try:
        browser.open(branching)
        browser.wait_for(READY)
        drawn = (
            "[...document.querySelectorAll('#tree svg, #word-map svg, #routing-map svg')].map((e) => e.viewBox.baseVal"
        )
        assert max(browser.evaluate(f"{drawn}.width)")) > 600
        sized(browser, 390)
        # Those out of view are drawn anew when they come into view.
        browser.evaluate(
            "document.querySelectorAll('section').forEach((s) => { s.style.contentVisibility = 'visible'; })"
        )
        browser.wait_for(f"Math.max(...{drawn}.width)) <= 390")
        # A tree of a hundred topics is three drawings, each of which fits on a page.
        heights = "[...document.querySelectorAll('#tree svg')].map((e) => e.viewBox.baseVal.height)"
        assert browser.evaluate(heights) == [840, 840, 420]
        assert browser.evaluate("document.querySelectorAll('#tree a').length") == 100
        starts = "[...document.querySelectorAll('#tree path')].map((e) => e.getBBox()).map((b) => b.x + b.width)"
        assert browser.evaluate(f"Math.min(...{starts})") < 0.7 * browser.evaluate(f"Math.max(...{starts})")
    finally:
        browser.call("Emulation.clearDeviceMetricsOverride")


NOTE_NAMES = """
    window.drawn = new Set();
    const fill = CanvasRenderingContext2D.prototype.fillText;
    CanvasRenderingContext2D.prototype.fillText = function (text, ...place) {
      drawn.add(text);
      return fill.call(this, text, ...place);
    };
"""


@pytest.mark.slow
@pytest.mark.parametrize("count", [16, 60, 300])
def test_many_topics_fit_the_page_and_the_largest_have_their_names_on_the_maps(
    browser: Browser, tmp_path: Path, count: int
) -> None:
    report = write_report(run_of_many(tmp_path / "run", count))
    script = browser.call("Page.addScriptToEvaluateOnNewDocument", {"source": NOTE_NAMES})["identifier"]
    try:
        for width, fewest in ((390, 5), (1280, 16 if count == 16 else 12)):
            sized(browser, width)
            browser.open(report)
            browser.wait_for(READY)
            assert browser.messages == [] and too_wide(browser) == []
            assert browser.evaluate("document.querySelectorAll('#topic-table tbody tr').length") >= count
            browser.wait_for(f"drawn.size >= {min(fewest, 12)}")
            assert set(browser.evaluate("[...drawn]")) <= {
                topic.name for topic in RunFolder(report.parent).result.topic_info
            }
            for place in ("word-map", "routing-map"):
                assert browser.evaluate(f"document.querySelectorAll('#{place} circle').length") == count
                assert browser.evaluate(f"document.querySelectorAll('#{place} text').length") >= fewest
    finally:
        browser.call("Page.removeScriptToEvaluateOnNewDocument", {"identifier": script})
        browser.call("Emulation.clearDeviceMetricsOverride")


def test_every_one_of_few_topics_has_its_name_on_the_maps_of_topics(page: Browser) -> None:
    for place in ("word-map", "routing-map"):
        names = page.evaluate(
            f"[...document.querySelectorAll('#{place} text')].map((e) => e.textContent.split(',')[0])"
        )
        assert sorted(names) == ["bread", "disk", "hockey", "space"]


def test_paper_loses_no_column_and_no_head(browser: Browser, awkward: Path) -> None:
    browser.call("Emulation.setEmulatedMedia", {"media": "print"})
    sized(browser, 718)  # of A4 between the margins
    try:
        browser.open(awkward)
        browser.wait_for(READY)
        assert browser.evaluate("document.documentElement.scrollWidth") <= 718
        # Chromium paints no button in the head that it repeats on the next page.
        assert browser.evaluate("getComputedStyle(document.querySelector('thead button')).display") == "contents"
        # A drawing that keeps its height when it gets narrower leaves gaps between the parts of the tree.
        shape = "[...document.querySelectorAll('#tree svg')].map((e) => [e.viewBox.baseVal, e.getBoundingClientRect()])"
        ratios = f"{shape}.map(([drawn, shown]) => drawn.height / drawn.width / (shown.height / shown.width))"
        assert browser.evaluate(ratios) == pytest.approx([1], abs=0.02)
        shown = "(key) => document.querySelector(key).checkVisibility({ contentVisibilityAuto: true })"
        for part in (
            "#map",
            "#layer-chart svg",
            "#word-map svg",
            "#tree svg",
            "#time-charts svg",
            "#labels details table",
        ):
            assert browser.evaluate(f"({shown})({json.dumps(part)})"), part
    finally:
        browser.call("Emulation.setEmulatedMedia", {"media": ""})
        browser.call("Emulation.clearDeviceMetricsOverride")


def test_a_text_is_read_in_its_own_direction_and_an_empty_one_is_called_so(browser: Browser, tmp_path: Path) -> None:
    folder = small_run(tmp_path)
    run = RunFolder(folder)
    texts = ["שלום 50 % עולם", "", *list(run.result.texts)[2:]]
    RunFolder.result.write(run, replace(run.result, texts=texts))
    browser.open(write_report(folder))
    browser.wait_for(READY)
    found = "[...document.querySelectorAll('#document-list .text')].slice(0, 3)"
    assert browser.evaluate(f"{found}.map((e) => getComputedStyle(e).direction)") == ["rtl", "ltr", "ltr"]
    assert browser.evaluate(f"{found}[1].textContent") == "(no text)"


def test_light_and_dark_follow_the_system_and_the_button(page: Browser) -> None:
    ground = "getComputedStyle(document.body).backgroundColor"
    shown = []
    for scheme in ("light", "dark"):
        page.call("Emulation.setEmulatedMedia", {"features": [{"name": "prefers-color-scheme", "value": scheme}]})
        shown.append(page.evaluate(ground))
    page.evaluate("document.getElementById('theme').click()")
    assert shown[0] != shown[1] and page.evaluate(ground) == shown[0]
    page.evaluate("localStorage.clear()")
    page.call("Emulation.setEmulatedMedia", {"features": []})


def walk_through(page: Browser) -> None:
    """Opens everything that puts a document's text on the page."""
    page.wait_for("document.documentElement.dataset.ready === 'yes'")
    for topic in range(-1, 4):
        page.click(f".link[data-topic='{topic}']")
        page.click("#panel .tabs button")
        page.evaluate("document.getElementById('panel').close()")
    page.click(".topic-link")
    page.type("document-search", "<")
    time.sleep(0.5)
    page.click("#document-list button")
    moved = "new PointerEvent('pointermove', { clientX: 500, clientY: 400 })"
    page.evaluate(f"document.getElementById('map').dispatchEvent({moved})")
    time.sleep(0.3)


def test_hostile_documents_names_labels_and_ids_stay_text(browser: Browser, tmp_path: Path) -> None:
    run = small_run(tmp_path / "run", hostile=True)
    browser.open(write_report(run))
    walk_through(browser)
    assert browser.evaluate("typeof window.hacked") == "undefined"
    assert browser.evaluate("document.querySelectorAll('script').length") == 3
    assert browser.evaluate("document.querySelectorAll('img, [onerror], [onload], a[href^=javascript]').length") == 0
    assert browser.evaluate("document.title").startswith(HOSTILE[0])
    assert browser.messages == []
    assert [url for url in browser.requests if not url.startswith(("file:", "data:"))] == []


def test_the_policy_stops_a_script_that_got_in_all_the_same(page: Browser) -> None:
    page.evaluate("document.body.insertAdjacentHTML('beforeend', `<img src='data:x' onerror='window.hacked = 1'>`)")
    page.evaluate("window.late = document.createElement('script')")
    page.evaluate("window.late.textContent = 'window.hacked = 1'; document.body.append(window.late)")
    time.sleep(0.3)
    assert page.evaluate("typeof window.hacked") == "undefined"
    assert page.evaluate("fetch('https://example.org').then(() => 'sent', () => 'stopped')") == "stopped"


def test_the_topics_are_there_without_javascript(browser: Browser, report: Path) -> None:
    browser.call("Emulation.setScriptExecutionDisabled", {"value": True})
    try:
        browser.open(report)
        html = browser.call("DOM.getOuterHTML", {"nodeId": browser.call("DOM.getDocument")["root"]["nodeId"]})[
            "outerHTML"
        ]
    finally:
        browser.call("Emulation.setScriptExecutionDisabled", {"value": False})
    assert "hockey, goal, team" in html and "Quality at a glance" in html
    for table in ("expert-table", "layer-chart", "tree", "time-charts", "confusion", "document-list"):
        part = html.split(f'id="{table}"')[1].split("</section>")[0]
        assert "hockey" in part or "things" in part, table
    assert '<tr id="topic-2"' in html and 'href="#topic-2"' in html  # a topic's name leads to its row
    assert browser.evaluate("getComputedStyle(document.querySelector('.no-script')).display") == "none", "scripts run"


def test_the_hint_is_seen_without_javascript(browser: Browser, report: Path, tmp_path: Path) -> None:
    browser.call("Emulation.setScriptExecutionDisabled", {"value": True})
    try:
        browser.open(report)
        document = browser.call("DOM.getDocument")["root"]["nodeId"]
        for selector, seen in (
            (".no-script", True),
            ("#expert-table tbody tr", True),
            (".map", False),
            (".tools", False),
        ):
            node = browser.call("DOM.querySelector", {"nodeId": document, "selector": selector})["nodeId"]
            browser.call("CSS.enable")
            style = browser.call("CSS.getComputedStyleForNode", {"nodeId": node})["computedStyle"]
            assert ({"name": "display", "value": "none"} not in style) is seen, selector
    finally:
        browser.call("Emulation.setScriptExecutionDisabled", {"value": False})


@pytest.mark.parametrize("width", [390, 1280])
def test_two_runs_with_long_names_are_no_wider_than_the_page(browser: Browser, tmp_path: Path, width: int) -> None:
    folder = small_run(tmp_path / "a")
    run = RunFolder(folder)
    RunFolder.manifest.write(run, {**run.manifest, "name": "x" * 240})
    sized(browser, width)
    try:
        browser.open(write_comparison(folder, small_run(tmp_path / "b"), tmp_path / "comparison.html"))
        assert browser.evaluate("document.documentElement.scrollWidth") <= width
        assert browser.evaluate(
            "[...document.querySelectorAll('.scroll')].every((e) => e.scrollWidth <= e.clientWidth)"
        )
        # On a telephone each cell stands below the other, with its head before it.
        heads = "getComputedStyle(document.querySelector('#pairs thead')).display"
        assert (browser.evaluate(heads) == "none") is (width == 390)
        assert browser.evaluate("document.querySelector('#pairs td').dataset.head") == "Docs"
    finally:
        browser.call("Emulation.clearDeviceMetricsOverride")


def test_two_hostile_runs_compared_stay_text(browser: Browser, tmp_path: Path) -> None:
    first, second = small_run(tmp_path / "a", hostile=True), small_run(tmp_path / "b", hostile=True)
    browser.open(write_comparison(first, second, tmp_path / "comparison.html"))
    assert browser.evaluate("document.querySelectorAll('#pairs tbody tr').length") == 4
    browser.type("search", "moon")
    assert browser.evaluate("document.querySelectorAll('#pairs tbody tr:not([hidden])').length") == 1
    assert browser.evaluate("typeof window.hacked") == "undefined"
    assert browser.messages == []
