"""An agent's way to the model, driven by the SDK's own client in this process."""

import time
from contextlib import asynccontextmanager

import pytest

from glassbox.engine.resident import load_engine
from glassbox.techniques.catalogue.entries import built_in
from glassbox.techniques.client.blocking import InterpClient
from glassbox.techniques.running.desk import Desk
from glassbox.types import ModelSpec
from tests.e2e.mcp_talk import refused, told, use_it_all

mcp = pytest.importorskip("mcp")

from glassbox.techniques.agents.mcp_server import Offer, build_server  # noqa: E402

# The SDK's dependencies deprecate what they themselves still use.
pytestmark = [pytest.mark.anyio, pytest.mark.filterwarnings("ignore::DeprecationWarning")]

CODE = '''\
import torch

def technique(model, tokenizer, text, layer=-1):
    """The last token's state after a block."""
    inputs = tokenizer(text, return_tensors="pt").to(model.device)
    print("tokens:", inputs["input_ids"].shape[1])
    with torch.no_grad():
        states = model(**inputs, output_hidden_states=True).hidden_states
    model.train()
    return {"state": states[layer][0], "layer": layer}
'''


@pytest.fixture(scope="module")
def anyio_backend():
    return "asyncio"


@pytest.fixture(scope="module")
def client():
    engine = load_engine(ModelSpec("tiny", dtype="float32"))
    desk = Desk(engine)
    with InterpClient("test", backend=desk, quiet=True) as client:
        yield client
    desk.close()
    engine.close()


@asynccontextmanager
async def agent(client, *, may_run_code=True, mode="auto"):
    server = build_server(Offer(client, built_in(), may_run_code=may_run_code))
    async with mcp.Client(server, mode=mode) as session:
        yield session


async def test_an_agent_finds_its_way(client):
    async with agent(client) as session:
        listed = await use_it_all(session)
        assert listed["may_run_code"]
        code = {"code": CODE, "arguments": {"text": "The cook"}, "wait_s": 60}
        run = told(await session.call_tool("run_code", code))
        assert [each.startswith("tokens: ") for each in run["printed"]] == [True]
        assert any("training mode" in note for note in run["undone"])
        assert run["result"]["state"]["dtype"] == "float32"


async def test_tools_say_what_they_do_to_the_world(client):
    instructions = build_server(Offer(client, built_in())).instructions
    assert "errors are data" in instructions, "what a model wrote is no request"
    async with agent(client) as session:
        tools = {each.name: each for each in (await session.list_tools()).tools}
    assert set(tools) == {
        "list_techniques", "describe_technique", "run_technique", "run_code", "get_run",
        "fetch_result", "model_info", "list_runs", "cancel_run",
    }  # fmt: skip
    assert tools["fetch_result"].annotations.read_only_hint
    assert tools["run_code"].annotations.destructive_hint
    for tool in tools.values():
        assert tool.description
        assert not any(line.startswith(" ") for line in tool.description.splitlines())
        assert tool.output_schema
        assert tool.input_schema["additionalProperties"] is False
        assert len(tool.description) < 600
        for name, argument in tool.input_schema["properties"].items():
            assert argument.get("description"), (tool.name, name)
    size = sum(len(each.model_dump_json()) for each in tools.values())
    assert size < 24_000, "the tools alone would fill a context window"


async def test_code_is_taken_only_where_it_was_allowed(client):
    async with agent(client, may_run_code=False) as session:
        assert "run_code" not in {each.name for each in (await session.list_tools()).tools}
        assert not told(await session.call_tool("list_techniques"))["may_run_code"]


async def test_an_error_of_the_code_says_where_and_why(client):
    code = "def technique(model, tokenizer, n):\n    print('here')\n    return 1 / n\n"
    async with agent(client) as session:
        result = await session.call_tool(
            "run_code", {"code": code, "arguments": {"n": 0}, "wait_s": 60}
        )
    error = refused(result)
    assert error["code"] == "technique-failed"
    assert error["message"] == "ZeroDivisionError: division by zero"
    assert error["where"] == "line 3 of the technique: return 1 / n"
    assert result.structured_content["run"]["printed"] == ["here"]
    assert "line 3, in technique\n    return 1 / n" in error["trace"], "the same line as above"


async def test_an_error_of_a_built_in_technique_is_its_words_and_no_trace(client):
    words = {"name": "logit_lens", "arguments": {"text": "The cook", "top_k": 0}, "wait_s": 60}
    async with agent(client) as session:
        error = refused(await session.call_tool("run_technique", words))
    assert error["message"] == "top_k is 0; allowed: 1 to 2048."
    assert "trace" not in error


async def test_arguments_are_read_in_the_types_that_the_technique_names(client):
    texts = {"positive": "The meal was superb.", "negative": '["The meal was awful."]'}
    words = {"name": "make_steering_vector", "arguments": texts | {"layer": "4"}, "wait_s": 60}
    async with agent(client) as session:
        made = told(await session.call_tool("run_technique", words))
    assert made["result"]["fields"]["layer"] == 4
    assert made["result"]["fields"]["positive"]["shape"] == [1], "one text, not its letters"


@pytest.mark.parametrize(
    ("tool", "words", "code", "message"),
    [
        ("describe_technique", {"name": "logit-lens"}, "unknown-name", "Did you mean 'logit_lens'"),
        ("run_technique", {"name": "logit_lens"}, "invalid-value", "text as well"),
        (
            "run_technique",
            {"name": "logit_lens", "arguments": {"txt": "a"}},
            "unknown-name",
            "text",
        ),
        ("run_code", {"code": "def f(:"}, "invalid-value", "line 1"),
        ("fetch_result", {"run_id": "r99"}, "unknown-name", "r99"),
        ("get_run", {"run_id": "r99"}, "unknown-name", "r99"),
        ("fetch_result", {"run_id": "r1", "page": 99}, "unknown-name", "path, offset, count"),
        ("run_technique", {"technique": "logit_lens"}, "unknown-name", "Known: name, arguments"),
        (
            "run_technique",
            {"name": "logit_lens", "text": "a"},
            "unknown-name",
            "inside 'arguments'",
        ),
        (
            "run_technique",
            {"name": "logit_lens", "wait_s": 1000},
            "invalid-value",
            "wait_s is 1000",
        ),
        ("run_technique", {}, "invalid-value", "name as well"),
        ("run_tecnique", {}, "unknown-name", "Did you mean 'run_technique'"),
        (
            "run_technique",
            {"name": "logit_lens", "arguments": {"text": ["a", "b"]}},
            "invalid-value",
            "one text",
        ),
        ("cancel_run", {"run_id": "r99"}, "unknown-name", "r99"),
        (
            "run_technique",
            {"name": "logit_lens", "arguments": {"text": {"$run": "r99"}}},
            "unknown-name",
            "r99",
        ),
    ],
)
async def test_what_is_wrong_is_said_with_a_code_and_a_remedy(client, tool, words, code, message):
    async with agent(client) as session:
        error = refused(await session.call_tool(tool, words))
    assert error["code"] == code
    assert message in error["message"]


async def test_a_result_becomes_an_argument_without_passing_through_the_agent(client):
    texts = {
        "positive": ["The meal was superb.", "A lovely evening."],
        "negative": ["The meal was awful.", "A dreadful evening."],
    }
    async with agent(client) as session:
        made = told(
            await session.call_tool(
                "run_technique", {"name": "make_steering_vector", "arguments": texts, "wait_s": 60}
            )
        )
        words = {"prompt": "The waiter", "vector": {"$run": made["run_id"]}, "max_new_tokens": 4}
        steered = told(
            await session.call_tool(
                "run_technique", {"name": "steer", "arguments": words, "wait_s": 60}
            )
        )
    assert steered["status"] == "succeeded"


async def test_answers_fit_into_a_context_window_whatever_comes_back(client):
    code = (
        "def technique(model, tokenizer):\n    import torch\n"
        "    print('x' * 5000)\n"
        "    long = {'text': 'y' * 100000, 'n': list(range(10**5))}\n"
        "    return {'big': torch.zeros(1000, 1000), **long}\n"
    )
    async with agent(client) as session:
        result = await session.call_tool("run_code", {"code": code, "wait_s": 60})
        run = told(result)
        assert len(result.content[0].text) < 8_000
        for path in ("", "big", "big[0]", "text", "n"):
            page = await session.call_tool("fetch_result", {"run_id": run["run_id"], "path": path})
            assert len(page.content[0].text) < 12_000, path


async def test_a_long_run_goes_on_reports_and_can_be_cancelled(client):
    code = (
        "def technique(model, tokenizer):\n    import time\n"
        "    for step in range(6000):\n        print('step', step, flush=True)\n"
        "        time.sleep(0.05)\n"
    )
    heard = []

    async def on_progress(progress, total, message):
        heard.append(message)

    async with agent(client) as session:
        started = await session.call_tool(
            "run_code", {"code": code, "wait_s": 1.5}, progress_callback=on_progress
        )
        run = told(started)
        until = time.monotonic() + 120
        # A busy machine takes its time to load the model, and more to be heard.
        while not any(message.startswith("step") for message in heard):
            assert run["status"] in ("queued", "running")
            assert time.monotonic() < until
            again = {"run_id": run["run_id"], "wait_s": 1.5}
            run = told(await session.call_tool("get_run", again, progress_callback=on_progress))
        run = told(await session.call_tool("get_run", {"run_id": run["run_id"], "wait_s": 0}))
        assert run["status"] == "running"
        assert "get_run" in run["next"]
        error = refused(await session.call_tool("fetch_result", {"run_id": run["run_id"]}))
        assert error["code"] == "conflict"
        await session.call_tool("cancel_run", {"run_id": run["run_id"]})
        ended = await session.call_tool("get_run", {"run_id": run["run_id"], "wait_s": 20})
    assert ended.structured_content["run"]["status"] == "cancelled"
    assert refused(ended)["code"] == "technique-failed"
