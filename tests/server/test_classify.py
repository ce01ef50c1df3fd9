"""``/v1/classify`` answers as the labeller does."""

import pytest

from glassbox.confidence.classify import Labeller
from glassbox.confidence.labels import default_labels
from glassbox.confidence.scoring import LabelModel
from glassbox.testing.fake import FakeEngine
from tests.server.worlds import http_client, serve

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend():
    return "asyncio"


@pytest.fixture
def world():
    engine = FakeEngine()
    labeller = Labeller(
        LabelModel(engine, default_labels(["positive", "negative"])),
        threshold=0.6,
        digest="ab" * 32,
    )
    yield labeller, serve(engine, labellers={"mine": labeller})
    engine.close()


async def test_the_answers_are_those_of_the_labeller(world):
    labeller, app = world
    texts = ["the positive", "a", "on the wing"]
    async with http_client(app) as client:
        answer = (await client.post("/v1/classify", json={"texts": texts})).json()
        named = (await client.post("/v1/classify", json={"texts": texts, "model": "mine"})).json()

    assert answer == named
    assert answer["model"] == "mine"
    assert answer["classifier_digest"] == labeller.digest
    assert answer["calibrated"] is False
    assert answer["threshold"] == 0.6
    for row, expected in zip(answer["data"], labeller.classify(texts), strict=True):
        told = expected.to_json()
        assert row["decision"] == ("automate" if told.pop("automate") else "review")
        for name, value in told.items():
            assert row[name] == value


async def test_a_text_that_does_not_fit_has_its_own_error(world):
    _, app = world
    async with http_client(app) as client:
        body = {"texts": ["a", "the positive " * 200, "b"]}
        rows = (await client.post("/v1/classify", json=body)).json()["data"]

    assert [row["index"] for row in rows] == [0, 1, 2]
    assert set(rows[1]) == {"index", "error"}
    assert rows[1]["error"]["code"] == "text-too-long"
    assert "evaluated with 'error' as its policy" in rows[1]["error"]["message"]
    assert "--" not in rows[1]["error"]["message"], "no option: the caller has no command line"
    assert rows[0]["label"]
    assert rows[2]["label"]


@pytest.mark.parametrize(
    ("body", "status", "words"),
    [
        ({"texts": []}, 400, "at least 1 item"),
        ({"texts": "a"}, 400, "list"),
        ({"texts": ["a"], "model": "other"}, 404, "No classifier 'other'"),
        ({"text": ["a"]}, 400, "unknown field"),
    ],
)
async def test_a_wrong_request_is_refused_in_words(world, body, status, words):
    _, app = world
    async with http_client(app) as client:
        answer = await client.post("/v1/classify", json=body)

    assert answer.status_code == status
    assert words in answer.json()["detail"]


async def test_without_a_classifier_the_answer_says_how_to_serve_one():
    engine = FakeEngine()
    async with http_client(serve(engine)) as client:
        answer = await client.post("/v1/classify", json={"texts": ["a"]})
    engine.close()

    assert answer.status_code == 404
    assert "--classifier" in answer.json()["detail"]
