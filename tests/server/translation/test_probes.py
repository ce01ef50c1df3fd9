"""Probes are read on the requests that ask, and a stand-in is marked as one."""

import numpy as np
import orjson
import pytest

from glassbox.engine.requests import Readout, Request
from glassbox.errors import AdapterMismatch
from glassbox.introspection.probes.norm_proxy import norm_proxy
from glassbox.introspection.probes.probe import ProbeReading
from glassbox.testing.fake import FakeEngine
from glassbox.testing.tiny import tiny_engine
from glassbox.types import Capture, HookPoint
from tests.server.worlds import fake_server, http_client, serve

pytestmark = pytest.mark.anyio


class MeanProbe:
    """A probe whose direction is given: what the server does with one, without any training."""

    def __init__(self, name, d_model, digest=None):
        self.name = name
        self.scope = "all"
        self._digest = digest
        self._weight = np.linspace(-1, 1, d_model).astype(np.float32)

    def readout(self):
        return Readout(self.name, HookPoint(0), self._weight, 0.5)

    def check(self, info, adapter_digest=None):
        if adapter_digest != self._digest:
            raise AdapterMismatch(f"The probe {self.name!r} was made for another adapter.")

    def read(self, generation, *, covered):
        del covered
        logits = generation.readouts[self.name]
        return ProbeReading(float(logits.mean()), 0.25, 0.5, False, logits)


@pytest.fixture
def anyio_backend():
    return "asyncio"


@pytest.fixture
def world():
    engine = FakeEngine()
    d_model = engine.info.d_model
    probes = {"mean": MeanProbe("mean", d_model), "other": MeanProbe("other", d_model, "ab")}
    yield engine, serve(engine, probes=probes)
    engine.close()


async def test_readings_are_those_of_the_states(world):
    engine, app = world
    async with http_client(app) as client:
        body = {
            "input": "the positive",
            "probes": ["mean"],
            "capture": {"layers": [0], "scope": "prompt", "pooling": ["none"]},
            "raw_as_json": True,
        }
        (text,) = (await client.post("/v1/states", json=body)).json()["data"]

    probe = MeanProbe("mean", engine.info.d_model)
    states = np.asarray(text["states"][0]["none"], dtype=np.float32)
    expected = states @ probe.readout().weight + 0.5
    reading = text["probes"]["mean"]
    np.testing.assert_allclose(reading["token_logits"], expected, rtol=1e-4, atol=1e-5)
    assert reading["probe_logit"] == pytest.approx(expected.mean(), rel=1e-4)
    assert reading["probe_prob"] == 0.25
    assert reading["flagged"] is False
    assert reading["validated"] is True


async def test_a_stream_reads_along_the_tokens(world):
    _, app = world
    async with http_client(app) as client:
        body = {"prompt": "hello", "max_tokens": 5, "seed": 1, "glassbox": {"probes": True}}
        whole = (await client.post("/v1/completions", json=body)).json()
        stream = await client.post("/v1/completions", json={**body, "stream": True})

    chunks = [
        orjson.loads(line.removeprefix("data: "))["choices"][0]["glassbox"]
        for line in stream.text.split("\n\n")
        if line and "[DONE]" not in line
    ]
    expected = whole["choices"][0]["glassbox"]["probes"]
    assert set(expected) == {"mean"}
    along = [value for chunk in chunks[:-1] for value in chunk["probe_logits"]["mean"]]
    assert along == pytest.approx(expected["mean"]["token_logits"], rel=1e-5)
    assert chunks[-1]["final"]["probes"]["mean"]["probe_logit"] == pytest.approx(
        expected["mean"]["probe_logit"], rel=1e-5
    )


class ResponseProbe(MeanProbe):
    """A probe of what was written."""

    def __init__(self, name, d_model):
        super().__init__(name, d_model)
        self.scope = "generated"


async def test_a_probe_of_the_written_text_leaves_a_known_prompt_alone():
    engine = tiny_engine()
    probe = ResponseProbe("said", engine.info.d_model)
    body = {
        "prompt": [5, 6, 7, 8] * 20,
        "max_tokens": 4,
        "temperature": 0,
        "glassbox": {"probes": ["said"], "stop_at_end": False},
    }
    try:
        async with http_client(serve(engine, probes={"said": probe})) as client:
            first, again = [
                (await client.post("/v1/completions", json=body)).json()["choices"][0]["glassbox"]
                for _ in range(2)
            ]
            stream = await client.post("/v1/completions", json={**body, "stream": True})
    finally:
        engine.close()

    chunks = [
        orjson.loads(line.removeprefix("data: "))["choices"][0]["glassbox"]
        for line in stream.text.split("\n\n")
        if line and "[DONE]" not in line
    ]
    along = [value for chunk in chunks[:-1] for value in chunk["probe_logits"]["said"]]
    logits = first["probes"]["said"]["token_logits"]
    assert (first["n_cached"], again["n_cached"]) == (0, 64)
    assert len(logits) == 3
    np.testing.assert_allclose(again["probes"]["said"]["token_logits"], logits, atol=1e-4)
    np.testing.assert_allclose(along, logits, atol=1e-4)


@pytest.mark.parametrize(
    ("name", "status", "words"),
    [("lie", 404, "No probe 'lie'"), ("other", 409, "another adapter")],
)
async def test_a_probe_that_cannot_read_is_refused_before_anything_is_written(
    world, name, status, words
):
    _, app = world
    async with http_client(app) as client:
        body = {"prompt": "hello", "glassbox": {"probes": [name]}}
        answer = await client.post("/v1/completions", json=body)

    assert answer.status_code == status
    assert words in answer.json()["error"]["message"]


async def test_without_a_probe_the_stand_in_says_that_nothing_stands_behind_it():
    async with fake_server() as (engine, app), http_client(app) as client:
        body = {
            "input": "hello",
            "probes": True,
            "capture": {"layers": [0, 1], "pooling": ["mean"]},
        }
        (text,) = (await client.post("/v1/states", json=body)).json()["data"]
        named = {"prompt": "hello", "max_tokens": 2, "glassbox": {"probes": True}}
        (choice,) = (await client.post("/v1/completions", json=named)).json()["choices"]
        (prompt,) = engine.codec.encode(["hello"])
        capture = Capture((HookPoint(0), HookPoint(1)), ("norm",), "prompt")
        (answer,) = engine.generate([Request(prompt, response=(), capture=capture)])

    reading = text["probes"]["norm_proxy"]
    assert reading["validated"] is False
    assert "Unvalidated" in reading["note"]
    assert reading["probe_prob"] is None
    assert reading["uncertainty"] == pytest.approx(norm_proxy(answer.states).uncertainty, rel=1e-4)
    assert choice["glassbox"]["probes"]["norm_proxy"]["validated"] is False
    assert "states" not in choice["glassbox"]


async def test_a_wrong_choice_of_probes_is_named_by_its_field(world):
    _, app = world
    async with http_client(app) as client:
        body = {"prompt": "hello", "glassbox": {"probes": "all"}}
        answer = await client.post("/v1/completions", json=body)

    assert answer.status_code == 400
    assert answer.json()["error"]["param"] == "glassbox.probes"
    assert "bool:" not in answer.json()["error"]["message"]
