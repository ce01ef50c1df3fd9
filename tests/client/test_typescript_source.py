"""What the TypeScript client and this one must have in common, read from its source."""

import importlib.metadata
import json
import re
from pathlib import Path

from glassbox import errors
from glassbox.client import calls, invocation_calls, model_calls
from glassbox.wire import invocation_attributes as wire

SDK = Path(__file__).parents[2] / "web" / "sdk"


def _source(name: str) -> str:
    return (SDK / "src" / name).read_text(encoding="utf-8")


def test_each_error_has_the_nearest_class_that_there_is():
    text = _source("errors.ts")
    table = text.partition("export const CLASSES")[2]
    found = dict(re.findall(r'^  "?([a-z-]+)"?: (\w+),$', table, re.MULTILINE))
    classes = dict(re.findall(r"export class (\w+) extends (\w+)", text))
    for kind in errors.BY_CODE.values():
        nearest = next(each.__name__ for each in kind.__mro__ if each.__name__ in classes)
        assert found.get(kind.code) == nearest, f"{kind.code} is a {nearest}"
    for name, parent in classes.items():
        assert issubclass(getattr(errors, name), getattr(errors, parent, Exception))
    code = re.compile(
        r'class (\w+) extends \w+ \{[^}]*?static (?:override )?readonly code.* "(.*)"'
    )
    codes = dict(code.findall(text))
    assert codes == {name: getattr(errors, name).code for name in classes}


def test_an_endpoint_carries_the_same_requests():
    text = _source("sagemaker/attributes.ts")
    carried = set(re.findall(r'^  "([A-Z]+) (/\S+)",$', text, re.MULTILINE))
    assert carried == wire.CARRIED
    assert f"MOST_ATTRIBUTES = {wire.MOST_ATTRIBUTES};" in text
    assert f"MOST_BODY_BYTES = {wire.MOST_BODY_BYTES:_};" in text
    used = set(re.findall(r'"(glassbox-[a-z]+)"', _source("sagemaker/fetch.ts")))
    assert used <= wire.ASKED | {wire.LOCATION, wire.TYPE}


def test_the_same_requests_may_be_sent_twice():
    listed = re.findall(
        r'^  "(/\S+)",$', _source("routes.ts").partition("const AGAIN")[2], re.MULTILINE
    )
    repeated = {each.path for each in _python_calls() if each.method == "POST" and not each.is_once}
    assert set(listed) == repeated


def _python_calls():
    """Return every request that the Python client makes, each with something in it."""
    return (
        calls.generate("x", {}), calls.chat([], {}), calls.states(["x"], None),
        calls.classify(["x"], None), calls.verify("x", None), calls.lens("x", None),
        calls.load_adapter("a", "/a"), calls.any_route("POST", "/v1/other", None, None),
        invocation_calls.invoke("x", {}),
        model_calls.predict({}, model="m", wait_shadow_s=0.0, request_id=None, segment_key=None),
        model_calls.predict_batch([], model="m", segment_keys=None),
        model_calls.tell_labels({}), model_calls.register_version("s", {}),
        model_calls.start_rollout("c", model="m", plan=None, dry_run=False, reason=""),
        model_calls.move_rollout("r", "abort", ""), model_calls.run_drift("m"),
        model_calls.make_reference(model="m", last_n=1, since_s=None, until_s=None),
    )  # fmt: skip


def test_it_has_the_version_of_the_server_that_it_is_released_with():
    package = json.loads((SDK / "package.json").read_text(encoding="utf-8"))
    assert package["version"] == importlib.metadata.version("glassbox-llm")
