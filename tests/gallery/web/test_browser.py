"""The page in a real browser against a real server. Screenshots are kept in $REID_SCREENSHOTS where that is set."""

import os
import shutil
import threading
import time
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from small_gallery import COLOURS, Verdicts, application, crop, encoded

from reid.gallery.web.app import listening
from reid.gallery.web.uploads import Limits

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
ARGUMENTS = [
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync",
    "--disable-background-networking", "--disable-component-update",
]  # fmt: skip
TOKEN = "0123456789abcdef-token"


def missing():
    """Why there can be no browser, or None."""
    try:
        import fastapi
        import playwright
        import uvicorn
    except ImportError as error:
        return f"{error.name} is not installed"
    del fastapi, playwright, uvicorn
    return None if CHROMIUM else "there is no Chromium on the PATH"


@pytest.fixture(scope="module")
def browser():
    reason = missing()
    if reason:
        (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)(reason)
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield browser
        browser.close()


@contextmanager
def served(app):
    """The address of a server in a thread."""
    import uvicorn

    with listening("127.0.0.1", 0) as listener:
        server = uvicorn.Server(uvicorn.Config(app, log_level="warning", timeout_graceful_shutdown=1))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join()


@contextmanager
def opened(browser, app, width=1280, height=860):
    """A page that has loaded; it must stay without script errors, foreign requests and breaches of the policy."""
    wrong = []
    with served(app) as address:
        context = browser.new_context(viewport={"width": width, "height": height})
        page = context.new_page()
        page.set_default_timeout(10_000)
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.on("console", lambda message: "Content Security" in message.text and wrong.append(message.text))
        page.on("request", lambda asked: asked.url.startswith((address, "blob:")) or wrong.append(asked.url))
        page.goto(address)
        yield page
        context.close()
    assert wrong == []


@pytest.fixture
def page(browser, tmp_path):
    with opened(browser, application(tmp_path, Verdicts())) as page:
        yield page


def picture(content, name="crop.png"):
    return {"name": name, "mimeType": "image/png", "buffer": content}


RED = picture(encoded(crop(COLOURS["P1"])))


def upload(page, file=RED):
    page.set_input_files("#file", file)
    page.wait_for_selector("#hits .hit")


def names(page, grid="hits"):
    return page.locator(f"#{grid} .person").all_text_contents()


def shoot(page, name):
    folder = os.environ.get("REID_SCREENSHOTS")
    if folder:
        page.wait_for_load_state("networkidle")
        page.screenshot(path=Path(folder) / f"{name}.png")


def until(page, condition):
    """Waits for it; Playwright's own way evaluates text in the page, which the policy forbids."""
    deadline = time.monotonic() + 10
    while not page.evaluate(condition):
        assert time.monotonic() < deadline, f"not within 10 s: {condition}; {page.inner_text('main')[:300]}"
        page.wait_for_timeout(20)


def test_upload_gives_a_ranked_grid(page):
    assert page.inner_text("#start-here .big").startswith("Drop a crop")
    upload(page)
    assert names(page)[:2] == ["P1", "P1"] and len(names(page)) == 12
    assert page.locator(".hit.match").count() == 2
    assert page.locator(".mark").all_text_contents() == ["✓ match"] * 2 + ["✕ no match"] * 10
    assert "2 matches on 2 cameras" in page.inner_text("#message")
    assert "1 of 100 comparisons" in page.inner_text("#message")
    distances = [float(text.split()[1]) for text in page.locator(".words > .number:not(.faint)").all_text_contents()]
    assert distances == sorted(distances)
    until(page, "[...document.querySelectorAll('#hits img')].slice(0, 3).every(image => image.naturalWidth > 0)")
    shoot(page, "ranked")


def test_a_dropped_and_a_pasted_picture_are_searched(page):
    give = """([kind, bytes]) => {
        const data = new DataTransfer();
        data.items.add(new File([new Uint8Array(bytes)], "given.png", {type: "image/png"}));
        const event = kind === "drop" ? new DragEvent("drop", {dataTransfer: data, bubbles: true, cancelable: true})
            : new ClipboardEvent("paste", {clipboardData: data, bubbles: true});
        document.getElementById("drop").dispatchEvent(event);
    }"""
    for kind, person in (("drop", "P2"), ("paste", "P3")):
        page.evaluate(give, [kind, list(encoded(crop(COLOURS[person])))])
        until(page, f"document.querySelector('#hits .person')?.textContent === '{person}'")


def test_filters_by_camera_time_and_number(page):
    upload(page)
    page.get_by_label("hall/1").first.uncheck()
    until(page, "document.querySelectorAll('#hits .hit').length === 6")
    assert page.locator("#hits .hit").filter(has_text="hall/1").count() == 0
    page.fill("#start", "2023-11-14T22:15:00")  # 100 s after the first
    until(page, "document.querySelectorAll('#hits .hit').length === 4")
    page.fill("#end", "2023-11-14T22:14:00")
    until(page, "document.getElementById('message').textContent.includes('lies after end')")
    page.get_by_text("Clear filters").click()
    until(page, "document.querySelectorAll('#hits .hit').length === 12")
    page.get_by_label("hall/0").first.uncheck()
    page.get_by_label("hall/1").first.uncheck()
    until(page, "document.getElementById('message').textContent.includes('at least one camera')")


def test_nobody_in_words(page):
    page.select_option("#rate", "0.001")
    upload(page, picture(encoded(crop((90, 200, 250)))))
    assert "Nobody" in page.inner_text("#message") and page.locator(".hit.match").count() == 0
    shoot(page, "nobody")


def test_compare_with_the_query_and_two_hits(page):
    upload(page)
    page.locator("#hits .choose input").nth(1).check()
    page.click("#tray-compare")
    page.wait_for_selector("#compare-dialog dl")
    text = page.inner_text("#compare-dialog")
    assert "✓ Probably the same person" in text and "1.5 % of the pairs of two" in text and "measured on drawn" in text
    shoot(page, "compare")
    page.keyboard.press("Escape")
    assert not page.is_visible("#compare-dialog")
    page.locator("#hits .choose input").nth(9).check()
    assert page.inner_text("#tray-compare") == "Compare the two"
    page.click("#tray-compare")
    until(page, "document.getElementById('compare-dialog').textContent.includes('Not shown to be the same person')")
    page.keyboard.press("Escape")
    page.locator("#hits .choose input").nth(5).check()
    assert page.is_disabled("#tray-compare")


def test_timeline(page):
    upload(page)
    page.select_option("#rate", "0.1")
    page.click("#show-timeline")
    page.wait_for_selector(".lanes .point")
    assert "Seen" in page.inner_text("#message") and page.locator(".lane:not(.axis)").count() == 2
    shown = page.locator("#timeline .hit").count()
    assert page.locator(".point").count() == shown >= 2
    times = page.locator("#timeline .hit .faint.number").all_text_contents()
    assert times == sorted(times)
    shoot(page, "timeline")
    page.locator(".point").first.focus()
    page.keyboard.press("Enter")
    page.wait_for_selector("#entry-dialog .frame img")


def test_the_source_opens_and_a_missing_one_is_told(page, tmp_path):
    upload(page)
    page.locator("#hits .picture").first.click()
    image = page.wait_for_selector("#entry-dialog .frame img")
    assert "yellow box" in image.get_attribute("alt")
    until(page, "document.querySelector('#entry-dialog img').naturalWidth === 92")
    shoot(page, "source")
    page.keyboard.press("Escape")
    (tmp_path / "0_1.png").unlink()
    page.locator("#hits .picture").nth(1).click()
    until(page, "document.getElementById('entry-dialog').textContent.includes('is not there any more')")


def test_forgetting_an_image_and_a_person(page, tmp_path):
    upload(page)
    page.locator("#hits .choose input").first.check()
    page.click("#tray-forget")
    text = page.inner_text("#forget-dialog")
    assert "cannot be undone" in text and "source images and videos are not touched" in text
    shoot(page, "forget")
    page.keyboard.press("Enter")  # the focus stands on Keep
    assert not page.is_visible("#forget-dialog") and page.locator("#hits .hit").count() == 12
    page.click("#tray-forget")
    page.get_by_role("button", name="Erase for good").click()
    until(page, "document.querySelectorAll('#hits .hit').length === 11")
    assert "1 entry erased" in page.inner_text("#status") and "11 images" in page.inner_text("#about")
    page.locator("#hits .hit").filter(has_text="P2").first.locator(".picture").click()
    page.get_by_role("button", name="Forget this person").click()
    until(page, "document.getElementById('forget-dialog').textContent.includes('Forget P2, 2 images?')")
    page.get_by_role("button", name="Erase for good").click()
    until(page, "document.querySelectorAll('#hits .hit').length === 9")
    assert "P2" not in names(page) and len(list(tmp_path.glob("*.png"))) == 12


def test_browsing_and_searching_a_gallery_image(page):
    page.click("#pick")
    page.wait_for_selector("#browse-grid .hit")
    page.select_option("#browse-camera", "hall/1")
    page.fill("#browse-identity", "P4")
    page.keyboard.press("Enter")
    until(page, "document.querySelectorAll('#browse-grid .hit').length === 1")
    page.locator("#browse-grid .picture").click()
    page.get_by_role("button", name="Search for this person").click()
    page.wait_for_selector("#hits .hit")
    assert len(names(page)) == 11 and names(page)[0] == "P4"
    page.click("[data-view=statistics]")
    assert page.locator(".tile strong").all_text_contents() == ["12", "5", "2", "2"]
    shoot(page, "statistics")


def test_wrong_files(page):
    upload(page)
    for content, words in (
        (b"%PDF-1.7 is no picture", "Not a picture of the formats JPEG, PNG, BMP"),
        (RED["buffer"][:80], "damaged or cut short"),
        (b"", "The file is empty."),
    ):
        page.set_input_files("#file", picture(content, "wrong.png"))
        until(page, f"document.getElementById('message').textContent.includes('{words}')")
        assert page.locator("#hits .hit").count() == 0
    assert page.get_attribute("#message", "role") == "alert"
    shoot(page, "wrong_file")


def test_too_large_files(browser, tmp_path):
    with opened(browser, application(tmp_path, limits=Limits(bytes=50_000, pixels=10_000))) as page:
        page.set_input_files("#file", picture(bytes(50_001), "large.png"))
        until(page, "document.getElementById('message').textContent.includes('allowed are 0.05 MB')")
        page.set_input_files("#file", picture(bytes(50_000), "large.png"))  # the form around it is too much
        until(page, "document.getElementById('message').textContent.includes('more than 0.05 MB')")
        page.set_input_files("#file", picture(encoded(np.zeros((500, 500, 3), np.uint8))))
        until(page, "document.getElementById('message').textContent.includes('500 x 500 pixels')")
        shoot(page, "too_large")


def test_names_are_shown_as_they_are(browser, tmp_path):
    evil = "<img src=x onerror=\"document.title='broken'\">"
    app = application(tmp_path, Verdicts())
    app.state.store.update([1], {"identity": evil, "camera": evil})
    with opened(browser, app) as page:
        upload(page)
        assert names(page)[0] == evil and page.title() == "Gallery"
        page.locator("#hits .picture").first.click()
        page.wait_for_selector("#entry-dialog .frame img")
        page.keyboard.press("Escape")
        page.click("[data-view=statistics]")
        page.wait_for_selector(".tile")
        assert page.title() == "Gallery"


def test_an_empty_gallery(browser, tmp_path):
    with opened(browser, application(tmp_path, empty=True)) as page:
        until(page, "document.getElementById('message').textContent.includes('This gallery is empty')")
        page.set_input_files("#file", RED)
        until(page, "document.getElementById('message').textContent.includes('No entry')")
        page.click("[data-view=browse]")
        until(page, "document.getElementById('browse-status').textContent.includes('No entry')")
        shoot(page, "empty")


def test_without_a_calibration(browser, tmp_path):
    with opened(browser, application(tmp_path)) as page:
        upload(page)
        assert "Distances only" in page.inner_text("#message") and not page.is_visible("#rate")
        unnamed = page.evaluate("[...document.querySelectorAll('.hit .file')].map((each) => each.textContent)")
        assert unnamed and all(name.endswith(".png") for name in unnamed)  # which pictures they are
        page.click("#show-timeline")
        page.wait_for_selector(".lanes")
        assert "nearest" in page.inner_text("#message")


def test_no_token_then_signing_in_and_out(browser, tmp_path):
    with opened(browser, application(tmp_path, Verdicts(), token=TOKEN)) as page:
        assert page.is_visible("#sign-in") and not page.is_visible("#search") and not page.is_visible("#views")
        assert page.evaluate("fetch('/api/summary').then(a => a.text().then(() => a.status))") == 401
        shoot(page, "sign_in")
        page.fill("#token", "not the token")
        page.keyboard.press("Enter")
        until(page, "document.getElementById('sign-in-problem').textContent.includes('not the token')")
        page.fill("#token", TOKEN)
        page.keyboard.press("Enter")
        page.locator("#about", has_text="12 images").wait_for()
        upload(page)
        assert page.evaluate("document.cookie") == ""  # no script can read the session
        page.context.clear_cookies()  # the session ends
        page.select_option("#k", "48")
        page.wait_for_selector("#sign-in:not([hidden])")
        assert page.locator("#hits .hit").count() == 0
        page.fill("#token", TOKEN)
        page.keyboard.press("Enter")
        page.locator("#about", has_text="12 images").wait_for()
        page.click("#sign-out")
        page.wait_for_selector("#sign-in:not([hidden])")


def test_a_server_that_is_gone(browser, tmp_path):
    with opened(browser, application(tmp_path, Verdicts())) as page:
        upload(page)
        page.context.set_offline(True)
        page.select_option("#k", "12")
        until(page, "document.getElementById('message').textContent.includes('does not answer')")


def test_a_person_can_do_without_a_mouse(page):
    page.wait_for_selector("#cameras input")
    order = []
    for _ in range(8):
        page.keyboard.press("Tab")
        order.append(page.evaluate("document.activeElement.id || document.activeElement.dataset.view"))
    assert order[0] == "" or order[0] is None  # the skip link
    assert order[1:6] == ["search", "browse", "statistics", "file", "pick"]
    upload(page)
    page.locator("#hits .picture").first.focus()
    at = "[...document.querySelectorAll('#hits .picture')].indexOf(document.activeElement)"
    columns = page.evaluate("getComputedStyle(document.getElementById('hits')).gridTemplateColumns.split(' ').length")
    for key, place in (("ArrowRight", 1), ("ArrowDown", 1 + columns), ("ArrowUp", 1), ("End", 11), ("Home", 0)):
        page.keyboard.press(key)
        assert page.evaluate(at) == place, key
    assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"
    page.keyboard.press("Enter")
    page.wait_for_selector("#entry-dialog[open]")
    page.keyboard.press("Escape")
    assert page.evaluate(at) == 0  # the focus is back where it was
    page.keyboard.press("Tab")
    page.keyboard.press("Space")
    assert page.is_visible("#tray")


def test_a_phone_shows_all_within_its_width(browser, tmp_path):
    with opened(browser, application(tmp_path, Verdicts()), 375, 812) as page:
        upload(page)
        page.click("#filters summary")
        for view in ("search", "browse", "statistics"):
            page.click(f"[data-view={view}]")
            assert page.evaluate("document.documentElement.scrollWidth") <= 375
            wide = "e => e.getBoundingClientRect().right > 376 && e.getBoundingClientRect().width > 0"
            outside = f"[...document.querySelectorAll('main *')].filter({wide}).map(e => e.outerHTML.slice(0, 80))"
            assert page.evaluate(outside) == []
            shoot(page, f"phone_{view}")


def test_a_search_under_way_is_shown_and_the_last_one_counts(browser, tmp_path):
    app = application(tmp_path, Verdicts())
    search = app.state.store.search

    def slow(queries, k, *wanted):
        time.sleep(0.6 if k == 48 else 0)
        return search(queries, k, *wanted)

    app.state.store.search = slow
    with opened(browser, app) as page:
        upload(page)
        page.select_option("#k", "48")
        until(page, "document.getElementById('status').textContent === 'Searching …'")
        assert page.get_attribute("#hits", "aria-busy") == "true"
        page.select_option("#k", "12")
        until(page, "document.getElementById('status').textContent.includes('12 images')")
        assert page.get_attribute("#hits", "aria-busy") is None
