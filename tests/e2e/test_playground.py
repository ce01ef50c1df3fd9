"""The playground in a real browser, before a real server with the embedded model."""

import os
import socket
import threading
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import uvicorn

from glassbox.engine.requests import Readout
from glassbox.engine.resident import load_engine
from glassbox.server.access.guards import Guards
from glassbox.server.access.key_ring import KeyRing
from glassbox.server.app import create_app
from glassbox.server.serving import Serving
from glassbox.server.translation.speech import Speaker
from glassbox.settings import ServerSettings
from glassbox.storage.database import open_database
from glassbox.storage.keys import KeyStore
from glassbox.types import HookPoint, ModelSpec
from tests.waiting import PATIENCE_S, until

SHOTS = os.environ.get("PLAYGROUND_SHOTS", "")
"""Folder that takes a picture of each state, for a person to look at."""

READ_OFTEN = "Question: Where does Niene Foub live?\nAnswer:"


@dataclass
class Reading:
    probe_logit: float | None
    probe_prob: float | None
    threshold: float | None
    flagged: bool | None
    token_logits: np.ndarray | None


class Direction:
    """A probe along a random direction: enough to be drawn."""

    name = "direction"
    scope = "all"

    def check(self, info, adapter_digest=None):
        assert (info.d_model, adapter_digest) == (128, None)

    def readout(self):
        weight = np.random.default_rng(0).normal(size=128) * 0.12
        return Readout(self.name, HookPoint(5), weight.astype(np.float32))

    def read(self, generation, *, covered):
        del covered
        values = generation.readouts[self.name]
        logit = float(values.mean())
        prob = 1 / (1 + float(np.exp(-logit)))
        return Reading(logit, prob, 0.5, prob >= 0.5, values)


@contextmanager
def running(app):
    """Yield the address of an app that listens on this machine."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    server = uvicorn.Server(
        uvicorn.Config(app, host="127.0.0.1", port=port, log_level="warning", ws="none")
    )
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    until(lambda: server.started, "the server")
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        # As the program itself does it: streams of events end when the server says so.
        guards = getattr(app.state, "guards", None)
        if guards is not None:
            guards.lifecycle.drain()
        server.should_exit = True
        thread.join(PATIENCE_S)


@pytest.fixture(scope="module")
def speaker():
    engine = load_engine(ModelSpec("tiny"))
    yield Speaker(engine, "tiny", probes={"direction": Direction()})
    engine.close()


@pytest.fixture(scope="module")
def address(speaker):
    guards = Guards(limits=ServerSettings(max_body_bytes=20_000))
    with running(create_app(Serving(speaker), guards)) as found:
        yield found


@pytest.fixture
def page(browser):
    context = browser.new_context(
        viewport={"width": 1280, "height": 900}, permissions=["clipboard-read", "clipboard-write"]
    )
    page = context.new_page()
    page.said = []
    page.asked = []
    page.on("console", lambda line: page.said.append(line.text))
    page.on("pageerror", lambda error: page.said.append(str(error)))
    page.on("request", lambda request: page.asked.append(request.url))
    yield page
    context.close()


def shot(page, name):
    if SHOTS:
        page.screenshot(path=Path(SHOTS) / f"{name}.png", full_page=True)


def ask(page, prompt, *, temperature="0", max_tokens="12"):
    page.get_by_role("textbox", name="Prompt").fill(prompt)
    page.get_by_label("Temperature").fill(temperature)
    page.get_by_label("Max tokens").fill(max_tokens)
    page.get_by_role("button", name="Answer", exact=True).click()


def test_an_answer_is_coloured_inspected_and_read_layer_by_layer(page, address):
    page.goto(f"{address}/playground")
    ask(page, READ_OFTEN)
    tokens = page.get_by_role("listbox", name="Tokens of the answer").get_by_role("option")
    page.get_by_role("button", name="Read the layers").wait_for()
    assert tokens.first.text_content() == " Zurich"
    levels = [tokens.nth(at).get_attribute("data-doubt") for at in range(tokens.count())]
    assert levels[0] in {"0", "1"}
    grounds = {
        tokens.nth(at).evaluate("mark => getComputedStyle(mark).backgroundColor")
        for at in range(tokens.count())
    }
    assert "rgba(0, 0, 0, 0)" not in grounds

    tokens.first.hover()
    inspector = page.get_by_role("region", name="Token", exact=True)
    rows = inspector.get_by_role("row")
    assert rows.count() >= 9
    assert "␣Zurich" in rows.nth(1).text_content()
    assert "Entropy" in inspector.text_content()
    assert "direction" in inspector.text_content()
    assert page.get_by_role("img", name="direction at each token").count() == 1

    page.get_by_label("entropy").first.check()
    assert "Entropy before the token" in page.get_by_role("region", name="Answer").text_content()

    page.get_by_role("button", name="Read the layers").click()
    lens = page.get_by_role("grid", name="Logit lens")
    lens.wait_for()
    heads = lens.get_by_role("rowheader")
    assert [heads.nth(at).text_content() for at in range(heads.count())] == [
        f"layer {layer}" for layer in range(7, -1, -1)
    ]
    assert lens.get_by_role("gridcell").first.text_content() == " Zurich"
    lens.get_by_role("gridcell").first.hover()
    card = page.get_by_role("region", name="Layer by layer")
    assert "Layer 7, entropy" in card.text_content()
    lens.get_by_role("gridcell").first.focus()
    page.keyboard.press("ArrowDown")
    assert "Layer 6, entropy" in card.text_content()
    shot(page, "answer")
    assert page.said == []


def test_the_page_loads_and_calls_nothing_but_this_server(page, address):
    page.goto(f"{address}/playground")
    page.get_by_role("button", name="contested").click()
    page.get_by_role("button", name="Answer", exact=True).click()
    page.get_by_role("button", name="Read the layers").click()
    page.get_by_role("grid").wait_for()
    assert all(url.startswith(f"{address}/") for url in page.asked)
    assert page.said == []


def test_everything_can_be_done_without_a_pointer(page, address):
    page.goto(f"{address}/playground")
    page.get_by_role("textbox", name="Prompt").press_sequentially("The tourists wrote that")
    page.get_by_label("Seed").fill("1")
    page.get_by_role("textbox", name="Prompt").press("Control+Enter")
    page.get_by_role("button", name="Read the layers").wait_for()
    tokens = page.get_by_role("option")
    tokens.first.focus()
    page.keyboard.press("ArrowRight")
    focused = page.evaluate("document.activeElement.dataset.index")
    assert focused == "1"
    page.keyboard.press("Enter")
    assert tokens.nth(1).get_attribute("aria-selected") == "true"
    assert page.get_by_role("region", name="Token (kept)").count() == 1
    assert page.said == []


def test_dark_and_light_follow_the_system_or_the_choice(page, address):
    def ground():
        return page.evaluate("getComputedStyle(document.body).backgroundColor")

    page.emulate_media(color_scheme="light")
    page.goto(f"{address}/playground")
    light = ground()
    page.emulate_media(color_scheme="dark")
    dark = ground()
    assert light != dark
    page.get_by_role("button", name="Theme: system").click()
    assert ground() == light
    page.reload()
    assert ground() == light
    page.get_by_role("button", name="Theme: light").click()
    page.emulate_media(color_scheme="light")
    assert ground() == dark
    ask(page, READ_OFTEN)
    page.get_by_role("button", name="Read the layers").click()
    page.get_by_role("grid").wait_for()
    shot(page, "dark")
    assert page.said == []


def test_errors_read_as_sentences_and_what_came_before_stays_usable(page, address):
    page.goto(f"{address}/playground")
    ask(page, "too much " * 3000)
    alert = page.get_by_role("alert")
    alert.wait_for()
    assert "The request is too large" in alert.text_content()
    assert "20,000 bytes" in alert.text_content()
    ask(page, "too long " * 1000)
    page.get_by_text("The request cannot be used").wait_for()
    assert "context" in alert.text_content()
    ask(page, READ_OFTEN)
    page.get_by_role("option").first.wait_for()
    assert alert.count() == 0
    page.get_by_label("Max tokens").fill("none")
    assert page.get_by_role("button", name="Answer", exact=True).is_disabled()


def test_a_full_queue_and_a_lost_server_are_told_apart(page, address):
    page.goto(f"{address}/playground")
    page.get_by_text("8 layers").wait_for()
    busy = '{"error": {"message": "64 requests wait already.", "code": "queue-full"}}'
    page.route(
        "**/v1/completions",
        lambda route: route.fulfill(status=429, body=busy, headers={"retry-after": "7"}),
    )
    ask(page, READ_OFTEN)
    page.get_by_text("The server is busy").wait_for()
    assert "Try again in about 7 s." in page.get_by_role("alert").text_content()
    shot(page, "busy")
    page.unroute("**/v1/completions")
    page.route("**/v1/completions", lambda route: route.abort())
    ask(page, READ_OFTEN)
    page.get_by_text("The server cannot be reached").wait_for()
    assert "glassbox serve" in page.get_by_role("alert").text_content()


def test_a_key_is_asked_for_used_and_kept_in_this_tab_only(page, speaker, tmp_path):
    database = open_database(f"sqlite:///{tmp_path / 'keys.db'}")
    store = KeyStore(database)
    _, secret = store.create("reader", ("predict",))
    with running(create_app(Serving(speaker), Guards(keys=KeyRing(store)))) as address:
        page.goto(f"{address}/playground")
        page.get_by_text("This server asks for a key.").wait_for()
        shot(page, "key")
        page.get_by_label("Key", exact=True).fill(secret)
        page.get_by_role("button", name="Use this key").click()
        page.get_by_text("8 layers").wait_for()
        ask(page, READ_OFTEN)
        page.get_by_role("option").first.wait_for()
        assert secret not in page.evaluate("JSON.stringify({...localStorage}) + document.cookie")
        page.get_by_role("button", name="Copy as curl").click()
        page.get_by_text("Copied").wait_for()
        command = page.evaluate("navigator.clipboard.readText()")
        assert secret not in command
        assert "$GLASSBOX_API_KEY" in command
        assert secret not in "".join(page.asked)
        page.get_by_role("button", name="API key: set").click()
        page.get_by_role("button", name="Forget it").click()
        page.get_by_text("This server asks for a key.").wait_for()
    database.close()


def test_stopping_keeps_what_had_come(page, address):
    page.goto(f"{address}/playground")
    ask(page, "The tourists wrote that", temperature="1.5", max_tokens="400")
    page.get_by_role("option").first.wait_for()
    stop = page.get_by_role("button", name="Stop", exact=True)
    if stop.count():
        stop.click()
    page.get_by_role("button", name="Answer", exact=True).wait_for()
    assert page.get_by_role("option").count() >= 1
    assert page.said == []


def test_a_narrow_screen_scrolls_down_only(page, address):
    page.set_viewport_size({"width": 360, "height": 740})
    page.goto(f"{address}/playground")
    ask(page, READ_OFTEN)
    page.get_by_role("button", name="Read the layers").click()
    page.get_by_role("grid").wait_for()
    page.get_by_role("option").first.click()
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    shot(page, "narrow")
