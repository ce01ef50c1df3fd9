"""Everything that the server's routes take can be asked through the Python client, and no more.

Every method is called with every parameter that it has; what it sends is held against the server's
own description, in both directions. What is left to ``Client.call`` stands here with its reason.
"""

import inspect
import json
import re
import typing
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from glassbox.client import Client, Retries
from glassbox.errors import UnknownName, Unreachable
from glassbox.types import Capture, HookPoint
from glassbox.wire.extension import CaptureAsked

DESCRIBED = json.loads(
    (Path(__file__).parents[2] / "web" / "openapi.json").read_text(encoding="utf-8")
)

VALUES = {
    "adapter": "a", "alias": "champion", "before": 9, "challenger": "c", "condition": "all",
    "deadline_s": 1.0, "dry_run": True, "encoding": "float16", "example": {"x": 1.0},
    "expected": 2, "feature": "x", "features": {"x": 1.0}, "first": 1, "force": True,
    "input_schema": {"x": "number"}, "k": 2, "kind": "callable", "label": "l",
    "labels": {"r": 1.0}, "last_n": 5, "latent": "L1-2", "layer": 3, "limit": 5,
    "max_new_tokens": 2, "max_tokens": 2, "messages": [{"role": "user", "content": "x"}],
    "metadata": {"a": 1}, "min_diff": 0.1, "model": "m", "model_version": "v", "n_tokens": 2,
    "name": "n", "number": 1, "offset": 5, "order": "q", "paraphrases": ["z"], "path": "/p",
    "plan": {"min_requests": 5}, "probes": ["a"], "prompt": "x", "prompts": ["x"],
    "reason": "why", "request_id": "r", "response": "y", "responses": ["y"],
    "return_probs": True, "rollout_id": "r", "rows": [{"x": 1.0}], "seed": 1,
    "segment": "a=b", "segment_key": "s", "segment_keys": ["s"], "since_s": 1.0, "source": "s",
    "status": "error", "stop": "z", "stop_at_end": False, "study": "st",
    "target": "L2-3", "target_layers": [-1], "temperature": 1.0, "text": "x", "texts": ["x"],
    "token": "t", "top_k": 3, "top_logprobs": 1, "top_p": 0.5, "trusted_types": ["t"],
    "until_s": 2.0, "verified": True, "wait_shadow_s": 1.0,
}  # fmt: skip
"""What each parameter gets, by its name."""

CAPTURES = (
    CaptureAsked(layers=[1]),
    CaptureAsked(hidden_state_indices=[1]),
    Capture((HookPoint(1),)),
)
"""Places are named in one of three ways."""

NO_REQUEST = {"call", "close", "estimate_uncertainty", "with_options"}
"""Methods that ask no route of their own."""

FREE = {"features.x", "rows[].features.x", "plan.min_requests", "metadata.a", "example.x",
        "input_schema.x"}  # fmt: skip
"""Fields of objects whose names the description leaves open."""

LEFT_TO_CALL = {
    "/metrics": "for Prometheus",
    "/ping": "for SageMaker's platform",
    "/v1/models/{model}": "for OpenAI's clients; models() has it",
    "/v1/load_lora_adapter": "for vLLM's clients; load_adapter() does it",
    "/v1/unload_lora_adapter": "for vLLM's clients; unload_adapter() does it",
    "/v1/pathways/{study}/report": "a page for people",
    "/v1/techniques": "InterpClient's, signed",
}
"""Routes without a method, and why; those below the last one too."""

OPENAI = {"/v1/completions", "/v1/chat/completions"}
"""Routes whose further fields are OpenAI's: refused, without effect, or left to ``call``."""

LEFT_OF_FIELDS = {
    ("/v1/states", "raw_as_json"): "arrays come as safetensors",
    ("/v1/states", "deadline_s"): "timeout_s says it, in a header",
    ("/v1/verify", "deadline_s"): "timeout_s says it, in a header",
    ("/invocations", "parameters.stream"): "for SageMaker's own streams; stream() is ours",
}
"""Fields that no method sends, and why."""

MESSAGE = re.compile(
    r"messages\[\]\.(annotations|audio|function_call|name|refusal|tool_calls|content\[\].*)"
)
"""Parts of a message that travel as they are given."""


def _resolved(schema):
    while "$ref" in schema:
        schema = DESCRIBED["components"]["schemas"][schema["$ref"].rpartition("/")[2]]
    return schema


def _fields(schema, prefix=""):
    """Return the dotted names of everything that a body may hold."""
    schema = _resolved(schema)
    found = set()
    for each in schema.get("anyOf", ()):
        found |= _fields(each, prefix)
    if "items" in schema:
        found |= _fields(schema["items"], f"{prefix}[]")
    for name, each in schema.get("properties", {}).items():
        whole = f"{prefix}.{name}" if prefix else name
        found |= {whole} | _fields(each, whole)
    return found


def _taken():
    """Return what each route takes: ``?name`` in the query, other names in the body."""
    taken = {}
    for path, methods in DESCRIBED["paths"].items():
        for method, route in methods.items():
            found = {f"?{each['name']}" for each in route.get("parameters", ())
                     if each["in"] == "query"}  # fmt: skip
            for each in route.get("requestBody", {}).get("content", {}).values():
                found |= _fields(each["schema"])
            taken[method.upper(), path] = found
    return taken


TAKEN = _taken()


def _sent(value, prefix=""):
    found = set()
    if isinstance(value, dict):
        for name, each in value.items():
            whole = f"{prefix}.{name}" if prefix else name
            found |= {whole} | _sent(each, whole)
    elif isinstance(value, list):
        for each in value:
            found |= _sent(each, f"{prefix}[]")
    return found


def _route_of(request):
    fitting = [
        (method, path)
        for method, path in TAKEN
        if method == request.method
        and re.fullmatch(re.sub(r"\\\{\w+\\\}", "[^/]+", re.escape(path)), request.url.path)
    ]
    assert fitting, f"no route takes {request.method} {request.url.path}"
    return min(fitting, key=lambda each: each[1].count("{"))


def _given(method):
    """Return every parameter of a method with a value, once for each way to name places."""
    types = typing.get_type_hints(method)
    names = set()
    for each in list(inspect.signature(method).parameters.values())[1:]:
        if each.kind is each.VAR_KEYWORD:
            names |= set(typing.get_args(types[each.name])[0].__annotations__)
        else:
            names.add(each.name)
    given = {name: VALUES[name] for name in names - {"capture"}}
    return [{**given, "capture": each} for each in CAPTURES] if "capture" in names else [given]


@pytest.fixture(scope="module")
def sent():
    """What the client sends to each route, all methods and parameters taken together."""
    found: dict[tuple[str, str], set[str]] = {}

    def note(request):
        names = {f"?{name}" for name in request.url.params}
        names |= _sent(json.loads(request.content)) if request.content else set()
        found.setdefault(_route_of(request), set()).update(names)
        raise httpx.ConnectError("enough is known")

    def ask(call):
        try:
            answer = call()
            if isinstance(answer, Iterator):
                list(answer)
        except Unreachable:
            pass

    with Client("http://test", transport=httpx.MockTransport(note), retries=Retries(n=0)) as client:
        for name, method in inspect.getmembers(Client, inspect.isfunction):
            if name.startswith("_") or name in NO_REQUEST:
                continue
            for given in _given(method):
                ask(lambda name=name, given=given: getattr(client, name)(**given))
        ask(lambda: client.lens([{"role": "user", "content": "x"}]))
    return found


def _is_left(path):
    return path in LEFT_TO_CALL or path.startswith("/v1/techniques/")


def test_every_route_has_a_method_or_a_reason(sent):
    # health() stops at the first of two routes that nobody answers.
    reached = {path for _, path in sent} | {"/readyz"}
    assert {path for _, path in TAKEN if not _is_left(path)} == reached
    assert not reached & set(LEFT_TO_CALL)


@pytest.mark.parametrize(("method", "path"), [each for each in TAKEN if not _is_left(each[1])])
def test_a_route_is_sent_what_it_takes(sent, method, path):
    found = sent.get((method, path), set())
    assert found - TAKEN[method, path] <= FREE, "the server does not know these"
    unsent = {each for each in TAKEN[method, path] - found if not MESSAGE.fullmatch(each)}
    if path in OPENAI:
        unsent = {each for each in unsent if each.startswith("glassbox")}
    assert unsent == {name for at, name in LEFT_OF_FIELDS if at == path}


def test_what_is_left_to_call_is_there():
    assert {each for each in LEFT_TO_CALL if each not in DESCRIBED["paths"]} == set()
    for path, name in LEFT_OF_FIELDS:
        assert name in TAKEN["POST", path]


@pytest.mark.parametrize(
    "ask",
    [
        lambda client: client.audit_recent(limt=3),
        lambda client: next(client.iter_audit(limt=3)),
        lambda client: client.register_version("s", limt=3),
        lambda client: client.study_pathways("s", limt=3),
        lambda client: next(client.iter_study_tokens("s", limt=3)),
        lambda client: client.generate("x", limt=3),
    ],
)
def test_an_option_that_a_method_does_not_have_is_named(ask):
    # A query that a server does not know may be left out in silence there.
    with Client("http://test") as client, pytest.raises(UnknownName, match="No option 'limt'"):
        ask(client)
