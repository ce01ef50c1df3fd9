"""The same calls mean the same wherever the server is: here, in a process, behind a platform.

What the app in this process answers is held against everything else, value by value. SageMaker is
boto3's own client, signed and serialised, before a stand-in for Amazon's side that keeps and takes
away what the platform does; behind it is the container's app.
"""

import asyncio
import warnings
from dataclasses import fields, is_dataclass
from pathlib import Path

import httpx
import numpy as np
import pytest
from pydantic import BaseModel

from glassbox.client import AsyncClient, Client
from glassbox.client.problems import Retries
from glassbox.client.sagemaker_address import endpoint_of
from glassbox.client.sagemaker_transport import AsyncSageMakerTransport, SageMakerTransport
from glassbox.errors import GlassboxError, UnknownName
from glassbox.runtime import SHIPPED_RUN, Runtime
from glassbox.server.access.guards import Guards
from glassbox.server.app import begin_serving, create_app
from glassbox.server.start import Wanted, assemble, sagemaker_app
from glassbox.settings import ModalSettings, ServerSettings
from glassbox.storage.database import open_database
from glassbox.storage.keys import KeyStore
from glassbox.types import Capture, HookPoint
from tests.bundles import make
from tests.client.test_client import InThisProcess
from tests.deploy.ray.worlds import ray_cluster
from tests.sagemaker_platform import Platform
from tests.server.process.test_running import PATIENCE_S, served

pytest.importorskip("boto3")

URL = "sagemaker://our-endpoint?region=eu-west-1"
ADAPTER = SHIPPED_RUN / "adapter"
TEXT = "The film was"
CAPTURE = Capture((HookPoint(-1), HookPoint(0)), ("mean", "last", "norm"), "prompt")

CALLS = {
    "a text": lambda ask: ask.generate(TEXT, max_tokens=8, temperature=0, top_logprobs=2),
    "several texts": lambda ask: ask.generate_many([TEXT, "A"], max_tokens=4, seed=3),
    "an adapter's text": lambda ask: ask.generate(TEXT, model="ours", max_tokens=4, temperature=0),
    "a conversation": lambda ask: ask.chat(
        [{"role": "user", "content": TEXT}], max_tokens=4, seed=1
    ),
    "hidden states": lambda ask: ask.states([TEXT, "A"], CAPTURE),
    "labels": lambda ask: ask.classify(["I love it", "Awful."], model="run"),
    "a verdict": lambda ask: ask.verify("Where was she born?", "In Rome.", k=2),
    "the lens": lambda ask: ask.lens(TEXT, n_tokens=2, top_k=2),
    "names": lambda ask: ask.models(),
    "health": lambda ask: ask.health(),
    "the Shadow Self's own request": lambda ask: ask.invoke_with_hidden_states(
        TEXT, target_layers=[-1, 0], max_new_tokens=4, temperature=0
    ),
    "an adapter that there is none of": lambda ask: ask.generate(TEXT, model="nobody"),
    "a classifier that there is none of": lambda ask: ask.classify(["a"], model="nobody"),
    "a prompt that is too long": lambda ask: ask.generate("word " * 3000, max_tokens=4),
    "a layer that there is none of": lambda ask: ask.states([TEXT], Capture((HookPoint(99),))),
    "a wrong value": lambda ask: ask.generate(TEXT, temperature=-1.0),
}
PASSING = frozenset({"timing", "created", "n_cached", "request_id", "seconds"})
"""What is another in every answer."""


def plain(value):
    """Return a value as what can be compared: arrays as rounded lists, without what passes."""
    if is_dataclass(value):
        value = {each.name: getattr(value, each.name) for each in fields(value)}
    if isinstance(value, BaseModel):
        value = {name: getattr(value, name) for name in type(value).model_fields}
    if isinstance(value, dict):
        return {key: plain(each) for key, each in value.items() if key not in PASSING}
    if isinstance(value, np.ndarray):
        return plain(value.tolist())
    if isinstance(value, list | tuple):
        return [plain(each) for each in value]
    return value


def alike(value):
    """Return an expected value that forgives what two runs of one model differ by."""
    if isinstance(value, dict):
        return {key: alike(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(alike(each) for each in value)
    return pytest.approx(value, abs=1e-4) if isinstance(value, float) else value


def found(client, call):
    """Return what a call brings: its plain value, or the class and words of its error."""
    try:
        return plain(CALLS[call](client))
    except GlassboxError as error:
        return type(error).__name__, str(error)


class To(httpx.BaseTransport):
    """Sends to one server whatever address is asked for."""

    def __init__(self, url):
        self.url, self.inner = httpx.URL(url), httpx.HTTPTransport()

    def handle_request(self, request):
        request.url = self.url.copy_with(raw_path=request.url.raw_path)
        return self.inner.handle_request(request)

    def close(self):
        self.inner.close()


@pytest.fixture(scope="module")
def serving(tmp_path_factory):
    folder = tmp_path_factory.mktemp("parity")
    runtime = Runtime.load({"engine.threads": 1, "storage.url": f"sqlite:///{folder}/glassbox.db"})
    wanted = Wanted(
        adapters=(("ours", str(ADAPTER)),), classifiers=((SHIPPED_RUN.name, str(SHIPPED_RUN)),)
    )
    found = assemble(runtime, wanted)
    yield found
    found.close()


@pytest.fixture(scope="module")
def app(serving):
    return create_app(serving, Guards())


@pytest.fixture(scope="module")
def container(serving):
    app = sagemaker_app(ServerSettings())
    begin_serving(app, serving)
    return app


@pytest.fixture(scope="module")
def expected(app):
    with Client("http://test", transport=InThisProcess(app)) as client:
        return {call: found(client, call) for call in CALLS}


@pytest.fixture(scope="module")
def credentials():
    with pytest.MonkeyPatch.context() as patch:
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
            patch.setenv(name, "made-up")
        for name in ("AWS_PROFILE", "AWS_SESSION_TOKEN"):
            patch.delenv(name, raising=False)
        yield


@pytest.fixture(scope="module")
def sagemaker(container, credentials):
    platform = Platform(InThisProcess(container))
    transport = SageMakerTransport(endpoint_of(URL), PATIENCE_S)
    platform.behind(transport.runtime)
    with Client(URL, transport=transport, retries=Retries(0)) as client:
        yield client


@pytest.fixture(scope="module")
def process(tmp_path_factory, warm):
    words = ("--model", "tiny", "--adapter", f"ours={ADAPTER}", "--classifier", str(SHIPPED_RUN))
    more = {"python": warm / "python", "GLASSBOX_ENGINE__THREADS": "1"}
    folder = tmp_path_factory.mktemp("process")
    with served(Path(folder), *words, **more) as server:
        server.until("Ready: ")
        with Client(server.url, retries=Retries(0)) as client:
            yield client


@pytest.fixture(scope="module")
def container_process(tmp_path_factory, credentials, warm):
    words = ("--sagemaker", "--host", "127.0.0.1", "--model", "tiny")
    parts = ("--adapter", f"ours={ADAPTER}", "--classifier", str(SHIPPED_RUN))
    more = {"python": warm / "python", "GLASSBOX_ENGINE__THREADS": "1"}
    folder = tmp_path_factory.mktemp("container")
    with served(Path(folder), *words, *parts, **more) as server:
        server.until("Ready: ")
        transport = SageMakerTransport(endpoint_of(URL), PATIENCE_S)
        platform = Platform(To(server.url))
        platform.behind(transport.runtime)
        with Client(URL, transport=transport, retries=Retries(0)) as client:
            yield client
        platform.close()


def bundled(folder):
    """Return a bundle with what the other servers are given one by one."""
    parts = {"adapters": {"ours": ADAPTER}, "classifiers": {"run": "shipped"}, "verifier": None}
    return make(folder, **parts, settings={"engine.threads": 1})[0]


@pytest.fixture(scope="module")
def modal(tmp_path_factory):
    pytest.importorskip("modal")
    from glassbox.deploy.modal.app import modal_app
    from glassbox.deploy.modal.definition import define_server, rehearsed, source_of

    folder = tmp_path_factory.mktemp("modal")
    keys = KeyStore(open_database(f"sqlite:///{folder}/keys.db"))
    _, secret = keys.create("me", ["admin"])
    source = source_of(bundled(folder))
    definition = define_server(source, ModalSettings(), keys.records())
    server = modal_app(rehearsed(definition, source)).server()
    app = server.web.local()
    with Client("http://test", key=secret, transport=InThisProcess(app)) as client:
        yield client
    server.residence.close()


@pytest.fixture(scope="module")
def ray(tmp_path_factory):
    pytest.importorskip("ray.serve")
    from glassbox.deploy.ray import Cluster, RayPlan, Share
    from glassbox.deploy.ray.cluster import free_port

    folder = tmp_path_factory.mktemp("ray")
    settings = {
        "storage.url": f"sqlite:///{folder}/glassbox.db",
        "paths.versions": str(folder / "versions"),
        "paths.runs": str(folder / "runs"),
        "paths.bundles": str(folder / "cache"),
        "engine.threads": 1,
    }
    with ray_cluster():
        cluster = Cluster("local", say=lambda _line: None)
        plan = RayPlan.of(
            bundled(folder),
            replicas=1,
            share=Share(num_cpus=0.4),
            port=free_port(),
            settings=settings,
        )
        deployed = cluster.deploy(plan, timeout_s=200)
        with Client(deployed.address, retries=Retries(0)) as client:
            yield client
        cluster.destroy(plan.name)


KINDS = (
    "sagemaker",
    "process",
    *(pytest.param(each, marks=pytest.mark.slow) for each in ("container_process", "modal", "ray")),
)


@pytest.fixture(scope="module", params=KINDS)
def client(request):
    return request.getfixturevalue(request.param)


@pytest.fixture(autouse=True)
def _quiet():
    with warnings.catch_warnings():
        # Ray and Modal leave sockets and processes to the end of the program.
        warnings.simplefilter("ignore")
        yield


@pytest.mark.parametrize("call", CALLS)
def test_a_call_brings_the_same_wherever_the_server_is(client, call, expected):
    assert found(client, call) == alike(expected[call])


def test_the_calls_that_are_compared_do_bring_something(expected):
    failed = {call: each[0] for call, each in expected.items() if isinstance(each, tuple)}
    assert failed == {
        "an adapter that there is none of": "UnknownName",
        "a classifier that there is none of": "UnknownName",
        "a prompt that is too long": "TextTooLong",
        "a layer that there is none of": "InvalidHookPoint",
        "a wrong value": "InvalidValue",
    }
    assert expected["an adapter's text"]["adapter_digest"]


def test_a_stream_comes_in_the_same_pieces(client, app):
    with Client("http://test", transport=InThisProcess(app)) as here:
        ours = list(here.stream(TEXT, max_tokens=6, temperature=0))
    theirs = list(client.stream(TEXT, max_tokens=6, temperature=0))
    assert [each.text for each in theirs] == [each.text for each in ours]
    assert theirs[-1].whole.text == ours[-1].whole.text
    assert theirs[-1].whole.token_ids == ours[-1].whole.token_ids


def test_a_streamed_conversation_comes_in_the_same_pieces(client, app):
    asked = [{"role": "user", "content": TEXT}]
    with Client("http://test", transport=InThisProcess(app)) as here:
        ours = list(here.stream_chat(asked, max_tokens=6, temperature=0))
    theirs = list(client.stream_chat(asked, max_tokens=6, temperature=0))
    assert [each.text for each in theirs] == [each.text for each in ours]
    assert theirs[-1].whole.token_ids == ours[-1].whole.token_ids


def test_a_stream_of_something_wrong_is_the_same_error(client, app):
    for ask in (client, Client("http://test", transport=InThisProcess(app))):
        with pytest.raises(UnknownName, match="No model 'nobody'"):
            list(ask.stream(TEXT, model="nobody"))


def test_programs_with_an_event_loop_get_the_same_from_an_endpoint(
    container, credentials, expected
):
    async def ask():
        transport = AsyncSageMakerTransport(endpoint_of(URL), PATIENCE_S)
        Platform(InThisProcess(container)).behind(transport.runtime)
        async with AsyncClient(URL, transport=transport, retries=Retries(0)) as client:
            text, labels, health = await asyncio.gather(
                client.generate(TEXT, max_tokens=8, temperature=0, top_logprobs=2),
                client.classify(["I love it", "Awful."], model="run"),
                client.health(),
            )
            states = await client.invoke_with_hidden_states(
                TEXT, target_layers=[-1, 0], max_new_tokens=4, temperature=0
            )
            pieces = [each async for each in client.stream(TEXT, max_tokens=8, temperature=0)]
            with pytest.raises(UnknownName, match="nobody"):
                [each async for each in client.stream(TEXT, model="nobody")]
        return text, labels, health, states, pieces

    text, labels, health, states, pieces = asyncio.run(ask())
    assert plain(text) == alike(expected["a text"])
    assert plain(labels) == alike(expected["labels"])
    assert plain(health) == alike(expected["health"])
    assert plain(states) == alike(expected["the Shadow Self's own request"])
    assert pieces[-1].whole.text == text.text


def test_vectors_in_half_precision_are_the_same_vectors(client, expected):
    packed = client.invoke_with_hidden_states(
        TEXT, target_layers=[-1, 0], max_new_tokens=4, temperature=0, encoding="float16"
    )
    whole = expected["the Shadow Self's own request"]["hidden_states"]
    for name, states in packed.hidden_states.items():
        np.testing.assert_allclose(states.mean, whole[name]["mean"], rtol=2e-3, atol=2e-3)
    assert 0 <= client.estimate_uncertainty(packed) <= 1
