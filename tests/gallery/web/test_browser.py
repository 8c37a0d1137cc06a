"""The page in a real browser against a real server. Screenshots are kept in $REID_SCREENSHOTS where that is set."""

import io
import os
import shutil
import threading
import time
import zipfile
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from small_gallery import COLOURS, STRANGER, application, crop, encoded

from reid.gallery.calibration.judgement import percent
from reid.gallery.web.app import listening
from reid.gallery.web.pictures import Limits
from reid.video.track import Box

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
def opened(browser, app, width=1280, height=860, **more):
    """A page that has loaded; it must stay without script errors, foreign requests and breaches of the policy."""
    wrong = []
    with served(app) as address:
        context = browser.new_context(viewport={"width": width, "height": height}, timezone_id="Europe/Berlin", **more)
        page = context.new_page()
        page.set_default_timeout(60_000)
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.on("console", lambda message: "Content Security" in message.text and wrong.append(message.text))
        page.on("request", lambda asked: asked.url.startswith((address, "blob:")) or wrong.append(asked.url))
        page.goto(address)
        yield page
        context.close()
    assert wrong == []


@pytest.fixture
def page(browser, tmp_path):
    with opened(browser, application(tmp_path, True)) as page:
        yield page


def picture(content, name="crop.png"):
    return {"name": name, "mimeType": "image/png", "buffer": content}


RED = picture(encoded(crop(COLOURS["P1"])))


def upload(page, file=RED, view="images"):
    page.set_input_files("#file", file)
    page.wait_for_selector("#hits .hit")
    page.click(f"[data-mode={view}]")


def names(page, grid="hits"):
    return page.locator(f"#{grid} .person b").all_text_contents()


def says(page, words, place="message"):
    until(page, f"document.getElementById('{place}')?.textContent.includes('{words}')")


def hits(page, many):
    until(page, f"document.querySelectorAll('#hits .hit').length === {many}")


def shoot(page, name):
    folder = os.environ.get("REID_SCREENSHOTS")
    if folder:
        page.wait_for_load_state("networkidle")
        page.screenshot(path=Path(folder) / f"{name}.png")


def until(page, condition):
    """Waits for it; Playwright's own way evaluates text in the page, which the policy forbids."""
    come_to(page, lambda: page.evaluate(condition), condition)


def come_to(page, true, what):
    deadline = time.monotonic() + 60
    while not true():
        assert time.monotonic() < deadline, f"not within 60 s: {what}; {page.inner_text('main')[:300]}"
        page.wait_for_timeout(20)


def test_shares_are_said_as_the_servers_sentences_say_them(page):
    shares = [
        0,
        3e-6,
        9e-5,
        1e-4,
        0.0123,
        0.0996,
        0.1,
        0.284,
        0.994,
        0.9951,
        0.99999,
        1,
        *np.random.default_rng(0).random(100),
    ]
    told = page.evaluate(
        "async (shares) => shares.map((await import('/static/dom.js')).percent)", [*map(float, shares)]
    )
    assert told == [percent(share) for share in shares]


def test_sightings_then_their_images_then_the_source(page, tmp_path):
    assert page.inner_text("#start-here .big").startswith("Drop a picture")
    upload(page, view="sightings")
    first = page.locator("#hits .hit").first
    assert page.locator("#hits .hit").count() == 3 and first.get_attribute("data-ids").count(",") == 5
    assert "● near" in first.inner_text() and "1 image in 5 s, beside 5 farther" in first.inner_text()
    assert "of 12 images of other people fewer than 1 would come this near" in first.inner_text()
    assert "Person P1" in first.inner_text() and "Camera hall/0" in first.inner_text() and "%" not in first.inner_text()
    assert "14 Nov 2023, 23:13:20 \u2013 23:13:25 CET" in first.inner_text()  # the viewer's zone
    assert page.inner_text("#message > p") == "2 near, 0 cannot be told, 10 far."
    assert not page.is_visible("#message details p")
    page.click("#message summary")
    assert "of strangers should find any of 12 images" in page.inner_text("#message details")
    shoot(page, "sightings")
    first.locator(".picture").click()
    strip = page.locator("#sighting-dialog .hit")
    assert strip.count() == 6 and "1" in strip.first.locator(".badge").inner_text()
    page.keyboard.press("Tab")  # from the button that closes it to the first image
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Enter")
    page.wait_for_selector("#entry-dialog .frame img")
    until(page, "document.querySelector('#entry-dialog img').naturalWidth === 92")
    assert "far" in page.inner_text("#entry-dialog dl") and "would come this near" in page.inner_text(
        "#entry-dialog dl"
    )
    shoot(page, "source")
    page.keyboard.press("Escape")
    page.keyboard.press("Escape")
    until(page, "document.querySelectorAll('dialog').length === 0")
    (tmp_path / "0_1.png").unlink()
    page.click("[data-mode=images]")
    page.locator("#hits .picture").nth(1).click()
    says(page, "is not there any more", "entry-dialog")


def test_images_nearest_first(page):
    upload(page)
    assert names(page)[:2] == ["P1", "P1"] and len(names(page)) == 10
    assert page.locator(".hit .word").all_text_contents() == ["● near"] * 2 + ["○ far"] * 10
    assert page.locator(".hit.near").count() == 2 and page.locator(".hit .badge").last.inner_text() == "12"
    assert "12 images in 3 sightings, nearest first · audit no. 1" in page.inner_text("#status")
    until(page, "[...document.querySelectorAll('#hits img')].slice(0, 3).every(image => image.naturalWidth > 0)")


def test_what_cannot_be_told_and_nobody(page):
    upload(page, picture(encoded(crop((120, 120, 125)))))
    assert page.locator(".hit.unsure .word").all_text_contents() == ["? cannot tell"] * 2
    assert "unsure" in page.get_attribute("#message", "class")
    shoot(page, "unsure")
    upload(page, picture(encoded(crop(STRANGER))))
    says(page, "Nobody")
    assert page.locator(".hit.near, .hit.unsure").count() == 0
    page.select_option("#share", "0.2")
    page.click("#message summary")
    says(page, "at most 20 % of strangers")


def test_a_probability_where_all_have_names(browser, tmp_path):
    app = application(tmp_path, True)
    app.state.desk.service.update([11, 12], {"identity": "P6"})
    with opened(browser, app) as page:
        upload(page)
        assert page.locator(".said").first.inner_text().split("\n") == ["● near", "96 %"]


def test_where_and_when(browser, tmp_path):
    app = application(tmp_path, True)
    app.state.desk.service.set_zone("hall/1", "Asia/Tokyo")
    with opened(browser, app) as page:
        upload(page, view="where")
        assert page.locator(".lane:not(.axis)").count() == 2 and page.locator(".axis").inner_text().startswith(
            "Europe/Berlin"
        )
        points = page.locator(".point")
        assert points.all_text_contents() == ["●", "●"] and "near" in points.first.get_attribute("aria-label")
        in_its_zone = "15 Nov 2023, 08:13:20 \u2013 08:13:25 GMT+9"
        assert in_its_zone in points.last.get_attribute("aria-label")
        assert page.locator("#hits h3").all_text_contents() == ["In order of time", "Time not known"]
        shoot(page, "where")
        points.first.focus()
        page.keyboard.press("Enter")
        page.wait_for_selector("#sighting-dialog .hit")


def test_dropped_pasted_and_several_pictures(page):
    give = """([kind, bytes]) => {
        const data = new DataTransfer();
        data.items.add(new File([new Uint8Array(bytes)], "given.png", {type: "image/png"}));
        const event = kind === "drop" ? new DragEvent("drop", {dataTransfer: data, bubbles: true, cancelable: true})
            : new ClipboardEvent("paste", {clipboardData: data, bubbles: true});
        document.getElementById("drop").dispatchEvent(event);
    }"""
    for kind, person in (("drop", "P2"), ("paste", "P3")):
        page.evaluate(give, [kind, list(encoded(crop(COLOURS[person])))])
        until(page, f"document.querySelector('#hits .person b')?.textContent === '{person}'")
    page.set_input_files("#add", picture(encoded(crop(COLOURS["P3"])), "other.png"))
    until(page, "document.querySelectorAll('#chips li').length === 2")
    page.get_by_label("Remove given.png").click()
    until(page, "document.querySelectorAll('#chips li').length === 1")
    assert "other.png" in page.inner_text("#chips") and page.locator("#chips img").get_attribute("src").startswith(
        "blob:"
    )
    page.get_by_label("Remove other.png").click()
    assert page.is_visible("#start-here") and page.locator("#hits .hit").count() == 0


STREET = np.full((180, 320, 3), 128, np.uint8)
for LEFT, NAME in ((20, "P2"), (140, "P5"), (260, "P1")):
    STREET[60:124, LEFT : LEFT + 32] = crop(COLOURS[NAME])


class Three:
    """Finds the people of STREET, not from left to right."""

    def detect(self, frame):
        return [Box(left, 60, left + 32, 124, 0.9) for left in (140, 20, 260)] + [Box(0, 0, 20, 20, 0.2)]


def test_a_person_in_a_photograph(browser, tmp_path):
    with opened(browser, application(tmp_path, True, detector=Three())) as page:
        page.set_input_files("#file", picture(encoded(STREET), "street.png"))
        page.wait_for_selector("#photo-dialog .box")
        labels = page.locator("#photo-dialog .box:visible").evaluate_all("all => all.map((each) => each.ariaLabel)")
        assert labels == [f"Person {at} of 3, from left to right" for at in (1, 2, 3)]
        shoot(page, "photograph")
        page.keyboard.press("Tab")  # the first has the focus
        page.keyboard.press("Enter")
        until(page, "document.querySelector('#hits .person b')?.textContent === 'P5'")
        page.get_by_text("Choose a person in it").click()
        page.wait_for_selector("#photo-dialog .box")
        page.keyboard.press("Escape")
        assert page.locator("#chips li").count() == 1  # it stays as it was
        page.set_input_files("#add", picture(encoded(crop(COLOURS["P5"]))[:100]))
        says(page, "The picture is damaged")


def test_a_box_by_mouse_and_by_keyboard(browser, tmp_path):
    app = application(tmp_path, True)
    asked = []
    features = app.state.desk.service.features
    app.state.desk.service.features = lambda crops: asked.extend(each.shape[:2] for each in crops) or features(crops)
    with opened(browser, app) as page:
        page.set_input_files("#file", picture(encoded(STREET), "street.png"))
        says(page, "Draw a box around the person", "photo-dialog")
        at = page.locator(".photo").bounding_box()
        scale = at["width"] / 320
        page.mouse.move(at["x"] + 260 * scale, at["y"] + 60 * scale)
        page.mouse.down()
        page.mouse.move(at["x"] + 292 * scale, at["y"] + 124 * scale, steps=4)
        page.mouse.up()
        assert page.locator(".photo").bounding_box() == at  # it stays under the finger
        page.get_by_text("Search with this box").click()
        until(page, "document.querySelector('#hits .person b')?.textContent === 'P1'")
        assert np.abs(np.array(asked[-1]) - (64, 32)).max() <= 1
        page.get_by_text("Choose a person in it").click()
        page.get_by_role("button", name="Draw a box").focus()
        page.keyboard.press("Enter")  # 64 x 108 pixels in the middle, which has the focus
        for key in ("ArrowLeft", "Shift+ArrowRight", "Shift+ArrowRight", "Shift+ArrowUp"):
            page.keyboard.press(key)
        says(page, "Box: 39 % from the left, 20 % from the top, 22 % wide, 59 % high.", "photo-dialog")
        before = len(asked)
        page.keyboard.press("Enter")
        until(page, "document.querySelectorAll('dialog').length === 0")
        come_to(page, lambda: len(asked) > before, "the server is asked")
        assert asked[-1] == (106, 70)


def test_filters_by_camera_time_and_number(page):
    upload(page)
    page.select_option("#which", "camera")
    says(page, "at least one camera")
    page.get_by_role("checkbox", name="hall/0").check()
    hits(page, 6)
    page.select_option("#which", "without")
    until(page, "!document.getElementById('hits').textContent.includes('hall/0')")
    page.fill("#start-day", "2023-11-15")  # from midnight in Berlin on, 46 min 40 s after the first
    hits(page, 5)
    page.get_by_text("Clear filters").click()
    hits(page, 12)
    page.fill("#end-day", "2023-11-14")  # all of the day
    hits(page, 6)
    page.fill("#end-clock", "23:14:30")
    hits(page, 2)
    page.fill("#start-clock", "23:00")
    says(page, "Choose a day for the time")
    page.fill("#start-day", "2023-11-15")
    says(page, "lies after end")
    page.get_by_text("Clear filters").click()
    hits(page, 12)


def test_selected_ones_are_compared_and_decided_on(page):
    upload(page)
    page.locator("#hits .choose input").nth(1).check()
    page.click("#tray-compare")
    page.wait_for_selector("#compare-dialog dl")
    says(page, "if as likely as not", "compare-dialog")
    says(page, "● near", "compare-dialog")
    page.keyboard.press("Escape")
    page.locator("#hits .choose input").first.check()
    assert page.inner_text("#tray-compare") == "Compare the two"
    page.click("#tray-compare")
    page.get_by_role("button", name="Same person", exact=True).click()
    page.click("#tray-clear")
    page.locator("#hits .picture").first.click()
    page.get_by_role("button", name="Search for this person").click()
    hits(page, 11)
    assert "same person, somebody said" in page.locator("#hits .hit").first.inner_text()
    page.locator("#hits .choose input").nth(0).check()
    page.locator("#hits .choose input").nth(1).check()
    page.locator("#hits .choose input").nth(2).check()
    assert page.is_disabled("#tray-compare")
    page.click("#tray-search")
    until(page, "document.querySelectorAll('#chips li').length === 3")
    hits(page, 9)


def test_other_cameras_only(page):
    upload(page)
    assert page.is_disabled("#elsewhere")  # of a picture it is not known which camera took it
    page.locator("#hits .picture").first.click()
    page.get_by_role("button", name="Search for this person").click()
    hits(page, 11)
    page.check("#elsewhere")
    hits(page, 6)
    assert page.locator("#hits .camera b").all_text_contents() == ["hall/1"] * 6


def test_naming(page):
    page.click("[data-view=browse]")
    page.wait_for_selector("#browse-grid .file")
    for at in (10, 11):
        page.locator("#browse-grid .choose input").nth(at).check()
    page.click("[data-view=statistics]")
    page.click("[data-view=browse]")
    assert page.locator("#browse-grid .hit.selected").count() == 2 and "2 images" in page.inner_text("#tray-text")
    page.click("#tray-name")
    until(page, "document.querySelectorAll('#names option').length === 5")
    page.keyboard.type("Ann O'Neill")
    page.keyboard.press("Enter")
    says(page, "2 images named Ann O", "browse-status")
    assert names(page, "browse-grid")[-2:] == ["Ann O'Neill"] * 2 and not page.is_visible("#tray")


def test_browsing_and_searching_a_gallery_image(page):
    page.click("#pick")
    page.wait_for_selector("#browse-grid .hit")
    page.focus("#browse-identity")
    until(page, "[...document.querySelectorAll('#names option')].map(each => each.value).join() === 'P1,P2,P3,P4,P5'")
    page.select_option("#browse-camera", "hall/1")
    page.fill("#browse-identity", "P4")
    page.keyboard.press("Enter")
    until(page, "document.querySelectorAll('#browse-grid .hit').length === 1")
    page.locator("#browse-grid .picture").click()
    page.get_by_role("button", name="Search for this person").click()
    hits(page, 4)
    assert names(page)[0] == "P4" and "Person P4, entry 8" in page.inner_text("#chips")
    page.click("[data-view=statistics]")
    assert page.locator(".tile strong").all_text_contents() == ["12", "5", "2", "2"]
    figures = page.inner_text("#figures")
    assert "on drawn. Near: within 0.011, where at most 5 % of strangers" in figures and "exact" in figures
    shoot(page, "statistics")


def test_forgetting_an_image_and_a_person(page, tmp_path):
    upload(page)
    page.locator("#hits .choose input").first.check()
    page.click("#tray-forget")
    text = page.inner_text("#forget-dialog")
    assert "cannot be undone" in text and "source images and videos are not touched" in text
    shoot(page, "forget")
    page.keyboard.press("Enter")  # the focus stands on Keep
    until(page, "document.querySelectorAll('dialog').length === 0")
    assert page.locator("#hits .hit").count() == 12
    page.click("#tray-forget")
    page.get_by_role("button", name="Erase for good").click()
    hits(page, 11)
    says(page, "1 image erased", "status")
    assert "11 images" in page.inner_text("#about") and not page.is_visible("#tray")
    page.locator("#hits .hit").filter(has_text="P2").first.locator(".picture").click()
    page.get_by_role("button", name="Forget this person").click()
    says(page, "Forget P2, 2 images?", "forget-dialog")
    page.get_by_role("button", name="Erase for good").click()
    hits(page, 9)
    assert "P2" not in names(page) and len(list(tmp_path.glob("*.png"))) == 12


def test_the_answer_is_saved(page):
    upload(page)
    with page.expect_download() as download:
        page.click("#save")
    assert download.value.suggested_filename == "answer-2.zip"
    says(page, "audit no. 2", "status")
    with zipfile.ZipFile(io.BytesIO(Path(download.value.path()).read_bytes())) as file:
        assert len(file.namelist()) == 14


def test_problems_of_the_server_are_told(browser, tmp_path):
    app = application(tmp_path, True)
    app.state.desk.problems["retention"] = "retention failed, and is tried again every 3600 s: the disk is full"
    app.state.desk.service.drop_expired = lambda: 1 / 0  # so that it stays
    with opened(browser, app) as page:
        page.wait_for_selector("#problems[role=alert]")
        says(page, "retention failed", "problems")


def test_wrong_files(page):
    upload(page)
    for content, words in (
        (b"%PDF-1.7 is no picture", "Not a picture of the formats JPEG, PNG, BMP"),
        (RED["buffer"][:80], "damaged or cut short"),
        (b"", "The file is empty."),
    ):
        page.set_input_files("#file", picture(content, "wrong.png"))
        says(page, words)
        assert page.locator("#hits .hit").count() == 0
    assert page.get_attribute("#message", "role") == "alert"
    shoot(page, "wrong_file")


def test_too_large_files(browser, tmp_path):
    with opened(browser, application(tmp_path, limits=Limits(bytes=50_000, pixels=10_000))) as page:
        page.set_input_files("#file", picture(bytes(50_001), "large.png"))
        says(page, "allowed are 0.05 MB")
        page.set_input_files("#file", picture(bytes(50_000), "large.png"))  # the form around it is too much
        says(page, "more than 0.05 MB")
        page.set_input_files("#file", picture(encoded(np.zeros((500, 500, 3), np.uint8))))
        says(page, "500 x 500 pixels")
        shoot(page, "too_large")


def test_names_are_shown_as_they_are(browser, tmp_path):
    evil = "<img src=x onerror=\"document.title='broken'\">"
    app = application(tmp_path, True)
    app.state.desk.service.gallery.update({1: {"identity": evil, "camera": evil}})
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
        says(page, "This gallery is empty")
        page.set_input_files("#file", RED)
        says(page, "There is no image to show")
        page.click("[data-view=browse]")
        says(page, "No image is like that", "browse-status")
        shoot(page, "empty")


def test_without_a_calibration(browser, tmp_path):
    with opened(browser, application(tmp_path)) as page:
        upload(page)
        assert "Distances only" in page.inner_text("#message") and not page.is_visible("#share")
        assert page.locator(".hit .file b").all_text_contents() == ["5_1.png", "5_0.png"]  # which pictures they are
        assert page.locator(".said").first.inner_text() == "distance 0.000"
        page.click("[data-mode=where]")
        assert page.locator(".point").all_text_contents() == ["", ""]


def test_no_token_then_signing_in_and_out(browser, tmp_path):
    with opened(browser, application(tmp_path, True, token=TOKEN)) as page:
        assert page.is_visible("#sign-in") and not page.is_visible("#search") and not page.is_visible("#views")
        assert page.evaluate("fetch('/api/summary').then(a => a.text().then(() => a.status))") == 401
        shoot(page, "sign_in")
        page.fill("#token", "not the token")
        page.keyboard.press("Enter")
        says(page, "not the token", "sign-in-problem")
        page.fill("#token", TOKEN)
        page.keyboard.press("Enter")
        page.locator("#about", has_text="12 images").wait_for()
        upload(page)
        assert page.evaluate("document.cookie") == ""  # no script can read the session
        page.context.clear_cookies()  # the session ends
        page.select_option("#k", "48")
        page.wait_for_selector("#token:focus")  # the script is there
        assert page.locator("#hits .hit").count() == 0
        page.fill("#token", TOKEN)
        page.keyboard.press("Enter")
        page.locator("#about", has_text="12 images").wait_for()
        page.click("#sign-out")
        page.wait_for_selector("#token:focus")  # the script is there


def test_a_server_that_is_gone(browser, tmp_path):
    with opened(browser, application(tmp_path, True)) as page:
        upload(page)
        page.context.set_offline(True)
        page.select_option("#k", "12")
        says(page, "does not answer")


def test_a_person_can_do_without_a_mouse(page):
    page.locator("#about", has_text="12 images").wait_for()
    order = []
    for _ in range(8):
        page.keyboard.press("Tab")
        order.append(page.evaluate("document.activeElement.id || document.activeElement.dataset.view"))
    assert order[0] == "" or order[0] is None  # the skip link
    assert order[1:6] == ["search", "browse", "statistics", "file", "pick"]
    upload(page)
    page.locator("#hits .picture").first.focus()
    at = "[...document.querySelectorAll('#hits .picture')].indexOf(document.activeElement)"
    columns = page.evaluate(
        "getComputedStyle(document.querySelector('#hits .grid')).gridTemplateColumns.split(' ').length"
    )
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
    with opened(browser, application(tmp_path, True), 375, 812) as page:
        upload(page)
        page.click("#filters summary")
        for view in ("search", "browse", "statistics"):
            page.click(f"[data-view={view}]")
            assert page.evaluate("document.documentElement.scrollWidth") <= 375
            wide = "e => e.getBoundingClientRect().right > 376 && e.getBoundingClientRect().width > 0"
            outside = f"[...document.querySelectorAll('main *')].filter({wide}).map(e => e.outerHTML.slice(0, 80))"
            assert page.evaluate(outside) == []
            shoot(page, f"phone_{view}")


@pytest.mark.parametrize("width", [390, 850])  # a phone, and where the tray takes two rows
def test_the_tray_hides_nothing_at_the_end_of_the_page(browser, tmp_path, width):
    with opened(browser, application(tmp_path, True), width, 844) as page:
        upload(page)
        for at in (0, 1):
            page.locator("#hits .choose input").nth(at).check()
        last, tray = "document.getElementById('hits').getBoundingClientRect().bottom", page.locator("#tray")
        page.evaluate("window.scrollTo(0, document.documentElement.scrollHeight)")
        come_to(page, lambda: page.evaluate(last) <= tray.bounding_box()["y"], "the last image is above the tray")


def test_a_search_under_way_is_shown_and_the_last_one_counts(browser, tmp_path):
    app = application(tmp_path, True)
    search = app.state.desk.service.gallery.search

    seen = threading.Event()

    def slow(queries, k, *more, **others):
        assert k != 48 or seen.wait(10)
        return search(queries, k, *more, **others)

    app.state.desk.service.gallery.search = slow
    with opened(browser, app) as page:
        upload(page)
        page.select_option("#k", "48")
        until(page, "document.getElementById('status').textContent === 'Searching …'")
        assert page.get_attribute("#hits", "aria-busy") == "true"
        seen.set()
        page.select_option("#k", "12")
        says(page, "12 images", "status")
        assert page.get_attribute("#hits", "aria-busy") is None
