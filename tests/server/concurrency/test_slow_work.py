"""Calls that take the model for a while end when nobody waits, and no later than they may."""

import threading
import time
from dataclasses import replace

import anyio
import pytest

from glassbox.confidence.asking.classify import Labeller
from glassbox.confidence.asking.scoring import LabelModel
from glassbox.confidence.labels import default_labels
from glassbox.engine.requests import Request
from glassbox.errors import CapacityError, DeadlineExceeded
from glassbox.server.concurrency.slow_work import AT_A_TIME, Allowance
from glassbox.testing.fake import FakeEngine
from tests.server.concurrency.test_going_away import ask
from tests.server.worlds import fake_server, http_client, serve
from tests.waiting import PATIENCE_S

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend():
    return "asyncio"


OF_ALL = 31
"""Batches of 64 in 2,000 texts."""


class SlowLabeller(Labeller):
    """A labeller that takes its time over a batch."""

    def __init__(self, engine, seconds):
        super().__init__(LabelModel(engine, default_labels(["positive", "negative"])))
        self.seconds = seconds
        self.n_batches = 0

    def classify(self, texts):
        self.n_batches += 1
        time.sleep(self.seconds)
        return super().classify(texts)


@pytest.fixture
def slow():
    engine = FakeEngine()
    labeller = SlowLabeller(engine, 0.2)
    yield labeller, serve(engine, labellers={"mine": labeller})
    engine.close()


async def test_a_classification_ends_at_its_deadline_and_lets_go_of_the_model(slow):
    labeller, app = slow
    async with http_client(app) as client:
        answer = await client.post(
            "/v1/classify", json={"texts": ["a"] * 2000}, headers={"x-request-timeout": "0.3"}
        )
    await anyio.sleep(0.5)
    n_batches = labeller.n_batches
    await anyio.sleep(0.5)

    assert answer.status_code == 504
    assert answer.json()["code"] == "deadline-exceeded"
    assert labeller.n_batches == n_batches < OF_ALL


async def test_an_answer_that_is_there_waits_for_nobody(slow, monkeypatch):
    labeller, app = slow
    n_looks = []
    check = Allowance.check

    def counted(allowance):
        n_looks.append(labeller.n_batches)
        check(allowance)

    monkeypatch.setattr(Allowance, "check", counted)
    async with http_client(app) as client:
        for n_texts in (1, 64, 65, 130):
            labeller.n_batches, n_looks[:] = 0, []
            answer = await client.post("/v1/classify", json={"texts": ["a"] * n_texts})
            assert answer.status_code == 200
            assert n_looks == list(range(labeller.n_batches)), "once before each batch"


async def test_a_client_that_goes_away_takes_its_classification_with_it(slow):
    labeller, app = slow
    sent = await ask(app, "/v1/classify", {"texts": ["a"] * 2000}, leave_after=0)
    await anyio.sleep(0.5)
    n_batches = labeller.n_batches
    await anyio.sleep(0.5)

    assert sent[0]["status"] == 499
    assert labeller.n_batches == n_batches < OF_ALL


async def test_a_verification_ends_at_its_deadline_without_a_verdict(monkeypatch):
    async with fake_server(step_s=0.05) as (engine, app), http_client(app) as client:
        sizes, generate = [], engine.generate

        def watched(requests):
            sizes.append(len(requests))
            return generate(requests)

        monkeypatch.setattr(engine, "generate", watched)
        answer = await client.post(
            "/v1/verify",
            json={"prompt": "hello", "response": "the", "k": 256},
            headers={"x-request-timeout": "0.5"},
        )

    assert answer.status_code == 504
    assert sum(sizes) < 256


@pytest.mark.parametrize(("reason", "status"), [("cancelled", 503), ("deadline", 504)])
@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/verify", {"prompt": "hello", "response": "the", "k": 2}),
        ("/v1/states", {"input": "hello", "capture": {"layers": [0]}}),
    ],
)
async def test_what_was_cut_off_is_no_answer(monkeypatch, path, body, reason, status):
    class Cut(FakeEngine):
        def submit(self, request, listen=None):
            ticket = super().submit(request, listen)
            whole = ticket.result

            def cut(timeout_s=None):
                return replace(whole(timeout_s), finish_reason=reason)

            monkeypatch.setattr(ticket, "result", cut)
            return ticket

        def generate(self, requests):
            return [replace(each, finish_reason=reason) for each in super().generate(requests)]

    engine = Cut()
    async with http_client(serve(engine)) as client:
        answer = await client.post(path, json=body)
    engine.close()

    assert answer.status_code == status


def test_a_verification_hands_its_requests_in_by_the_few():
    from glassbox.introspection.verifier.verify import Verifier

    sizes = []

    class Watched(FakeEngine):
        def generate(self, requests):
            sizes.append(len(requests))
            return super().generate(requests)

    engine = Watched()
    Verifier(engine).verify("hello", "the", k=40, between=lambda: None)
    engine.close()

    assert max(sizes) <= 32
    assert sum(sizes) == 41


def test_an_allowance_says_when_it_is_over():
    allowance = Allowance(time.monotonic() + 3600)
    allowance.check()
    assert 3600 - PATIENCE_S < allowance.left_s <= 3600
    with pytest.raises(DeadlineExceeded, match="Time ran out"):
        Allowance(time.monotonic() - 1).check()
    allowance.ended.set()
    with pytest.raises(CapacityError, match="Nobody waits"):
        allowance.check()


async def test_a_call_that_nobody_waits_for_keeps_its_place_until_it_ends():
    begun, go_on = [], threading.Event()

    class Held(Labeller):
        def classify(self, texts):
            begun.append(texts)
            assert go_on.wait(PATIENCE_S)
            return super().classify(texts)

    engine = FakeEngine()
    labeller = Held(LabelModel(engine, default_labels(["positive", "negative"])))
    app = serve(engine, labellers={"mine": labeller})
    answers = []
    async with http_client(app) as client:

        async def ask_for(texts, header=None):
            answers.append(await client.post("/v1/classify", json={"texts": texts}, headers=header))

        with anyio.fail_after(PATIENCE_S):
            while len(begun) < AT_A_TIME:
                async with anyio.create_task_group() as hurried:
                    for _ in range(AT_A_TIME - len(begun)):
                        hurried.start_soon(ask_for, ["a"], {"x-request-timeout": "0.1"})
        assert {each.status_code for each in answers} == {504}
        async with anyio.create_task_group() as group:
            group.start_soon(ask_for, ["b"])
            await anyio.sleep(0.2)
            assert begun == [["a"]] * AT_A_TIME
            go_on.set()
    engine.close()

    assert answers[-1].status_code == 200
    assert begun[-1] == ["b"]


def test_a_whole_answer_is_itself():
    engine = FakeEngine()
    (answer,) = engine.generate([Request((5, 6), response=(7,))])
    engine.close()

    assert answer.whole() is answer
