"""``/v1/classify`` answers as the labeller does."""

import pytest

from glassbox.confidence.asking.classify import Labeller
from glassbox.confidence.asking.scoring import LabelModel
from glassbox.confidence.labels import default_labels
from glassbox.engine.protocol import AdapterRecipe, Example
from glassbox.errors import UnknownName
from glassbox.server.routes.classify import chosen_labeller
from glassbox.testing.fake import FakeEngine
from tests.server.worlds import http_client, serve

pytestmark = pytest.mark.anyio

RECIPE = AdapterRecipe(epochs=1)


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


async def test_a_classifier_is_also_found_by_the_model_that_answers_for_it(tmp_path):
    engine = FakeEngine()
    labels = default_labels(["positive", "negative"])
    examples = [Example((1, 2), 0)]
    folder = tmp_path / "adapter"
    engine.fit_adapter(examples, examples, [(3,)], lambda _values, _targets: 0.0, folder, RECIPE)
    tuned = engine.load_adapter(folder, name="tuned")
    labellers = {
        "plain": Labeller(LabelModel(engine, labels), digest="ab" * 32),
        "mine": Labeller(LabelModel(engine, labels, adapter=tuned), digest="cd" * 32),
    }
    (adapter,) = engine.adapters
    found = {
        name: chosen_labeller(labellers, name)[0]
        for name in ("mine", "cd" * 32, "tuned", adapter.digest, engine.info.digest, None)
    }
    assert found == {
        "mine": "mine",
        "cd" * 32: "mine",
        "tuned": "mine",
        adapter.digest: "mine",
        engine.info.digest: "plain",
        None: "plain",
    }
    del labellers["plain"]
    with pytest.raises(UnknownName, match="No classifier"):
        chosen_labeller(labellers, engine.info.digest)
    engine.close()


async def test_a_text_that_is_cut_says_so():
    engine = FakeEngine(context=160)
    labels = default_labels(["positive", "negative"])
    labeller = Labeller(LabelModel(engine, labels, overlong="truncate"))
    async with http_client(serve(engine, labellers={"mine": labeller})) as client:
        body = {"texts": ["a", "so " * 200]}
        rows = (await client.post("/v1/classify", json=body)).json()["data"]
    engine.close()

    assert "truncated" not in rows[0]
    assert rows[1]["truncated"] is True
    assert rows[1]["label"]


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
    assert answer.json()["detail"] == (
        "No classifier. Serve one with 'glassbox serve --classifier RUN'."
    )
