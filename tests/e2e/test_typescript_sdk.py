"""The npm package, packed and installed as a user would, before a real server and container.

A user's TypeScript program is compiled against the installed package and run; what it got is
compared with what the Python client gets from the same server.
"""

import json
import re
import shutil
import subprocess
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace

import httpx
import numpy as np
import pytest

from glassbox.client import Client
from glassbox.errors import GlassboxError, InvalidHookPoint, TextTooLong, UnknownName
from glassbox.runtime import SHIPPED, SHIPPED_RUN, SHIPPED_VERIFIER, Runtime
from glassbox.server.app import begin_serving
from glassbox.server.start import Wanted, assemble, sagemaker_app, whole_app
from glassbox.stats.uncertainty.heuristic import estimate_uncertainty
from glassbox.types import Capture, HookPoint
from tests.docs.markdown import blocks
from tests.e2e.test_playground import running
from tests.sagemaker_platform import Platform

ROOT = Path(__file__).parents[2]
WEB = ROOT / "web"
PROGRAMS = Path(__file__).parent / "typescript"
PROMPT = "Question: Where does Niene Foub live?\nAnswer:"

NODE, NPM = shutil.which("node"), shutil.which("npm")
ENVIRONMENT = {"PATH": f"{Path(NODE or '/').parent}:/usr/bin:/bin", "NO_UPDATE_NOTIFIER": "1"}


def _node_is_new_enough() -> bool:
    if NODE is None or NPM is None:
        return False
    said = subprocess.run([NODE, "--version"], capture_output=True, text=True, check=False).stdout
    return tuple(map(int, re.findall(r"\d+", said)[:2])) >= (20, 19)


pytestmark = [
    pytest.mark.skipif(not _node_is_new_enough(), reason="no Node 20.19 or newer, or no npm"),
    pytest.mark.skipif(
        not (WEB / "node_modules" / "@aws-sdk").exists(),
        reason="web/node_modules is not installed: make check-web does it",
    ),
]


def _run(*command: object, folder: Path) -> str:
    environment = {**ENVIRONMENT, "HOME": str(folder)}
    done = subprocess.run(
        list(map(str, command)),
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.fixture(scope="module")
def package(tmp_path_factory) -> Path:
    """The package's archive, built and packed in a copy of its folder."""
    root = tmp_path_factory.mktemp("built")
    folder = root / "web" / "sdk"
    shutil.copytree(WEB / "sdk", folder, ignore=shutil.ignore_patterns("dist", "node_modules"))
    shutil.copy(WEB / "openapi.json", root / "web")
    shutil.copy(ROOT / "LICENSE", root)
    (root / "web" / "node_modules").symlink_to(WEB / "node_modules")
    _run(NPM, "pack", "--pack-destination", root, folder=folder)
    (archive,) = root.glob("*.tgz")
    return archive


@pytest.fixture(scope="module")
def user(package, tmp_path_factory) -> Path:
    """An empty project into which the package was installed; no other package, no network."""
    folder = tmp_path_factory.mktemp("user")
    (folder / "package.json").write_text('{"private": true, "type": "module"}', encoding="utf-8")
    _run(NPM, "install", "--offline", "--no-audit", "--no-fund", package, folder=folder)
    return folder


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """A server of the whole app and a container of SageMaker over one resident model."""
    folder = tmp_path_factory.mktemp("world")
    runtime = Runtime.load(
        {
            "engine.model": "tiny",
            "storage.url": f"sqlite:///{folder}/glassbox.db",
            "paths.versions": str(folder / "versions"),
        }
    )
    keys = runtime.key_store()
    _, secret = keys.create("user", scopes=("predict", "observe"))
    app, container = (
        whole_app(runtime.settings.server, keys),
        sagemaker_app(runtime.settings.server),
    )
    wanted = Wanted(
        adapters=(("support", str(SHIPPED_RUN / "adapter")),),
        classifiers=((SHIPPED, SHIPPED),),
        verifier=SHIPPED_VERIFIER,
    )
    serving = assemble(runtime, wanted, app.state.guards)
    try:
        begin_serving(app, serving)
        begin_serving(container, serving)
        with running(app) as server, running(container) as inside, platform_before(inside) as place:
            yield SimpleNamespace(server=server, key=secret, platform=place)
    finally:
        serving.close()


@contextmanager
def platform_before(container: str):
    """Yield the address at which AWS's SDK finds SageMaker, with one endpoint."""
    transport = _To(container)
    platform = Platform(transport)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self):
            body = self.rfile.read(int(self.headers["content-length"]))
            request = SimpleNamespace(url=self.path, headers=dict(self.headers), body=body)
            status, headers, parts = platform.answered(request)
            content = b"".join(parts)
            self.send_response(status)
            for name, value in {**headers, "Content-Length": str(len(content))}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_):
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        platform.container.close()


class _To(httpx.HTTPTransport):
    """Sends to one address, whatever the request says."""

    def __init__(self, address: str) -> None:
        super().__init__()
        self.address = httpx.URL(address)

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        request.url = request.url.copy_with(host=self.address.host, port=self.address.port)
        return super().handle_request(request)


def _written_out(page: Path, folder: Path) -> None:
    """Write each TypeScript block of a page as a module; what it leaves out is declared before."""
    known = {"client": "GlassboxClient", "shadow": "ShadowSelfClient"}
    head = "".join(
        f'import type * as {name} from "glassbox-llm{path}";\n'
        for name, path in (("g", ""), ("s", "/sagemaker"))
    )
    for n, block in enumerate(each for each in blocks(page) if each.language == "ts"):
        lines = [
            f"declare const {name}: {'s' if name == 'shadow' else 'g'}.{kind};\n"
            for name, kind in known.items()
            if f"const {name} " not in block.text
        ]
        (folder / f"{page.stem}_{n}.ts").write_text(head + "".join(lines) + block.text)


@pytest.fixture(scope="module")
def got(user, world, tmp_path_factory):
    """What a user's TypeScript program, compiled without leniency, got from all of it.

    The pages' examples are compiled beside it.
    """
    user = shutil.copytree(user, tmp_path_factory.mktemp("with") / "user")
    program = user / "program"
    program.mkdir()
    shutil.copy(PROGRAMS / "user.ts", program)
    for page in (WEB / "sdk" / "README.md", ROOT / "docs" / "how-to" / "use-from-typescript.md"):
        _written_out(page, program)
    (program / "s3.d.ts").write_text('declare module "@aws-sdk/client-s3";', encoding="utf-8")
    options = {
        "target": "ES2022",
        "lib": ["ES2022"],
        "module": "NodeNext",
        "types": ["node"],
        "strict": True,
        "exactOptionalPropertyTypes": True,
        "skipLibCheck": True,
    }
    settings = json.dumps({"compilerOptions": options})
    (program / "tsconfig.json").write_text(settings, encoding="utf-8")
    # What "npm install @aws-sdk/client-sagemaker-runtime @types/node" would bring; the other
    # package of AWS, which is optional, is left out.
    modules = user / "node_modules"
    (modules / "@aws-sdk").mkdir()
    (modules / "@aws-sdk" / "client-sagemaker-runtime").symlink_to(
        WEB / "node_modules" / "@aws-sdk" / "client-sagemaker-runtime"
    )
    (modules / "@types").symlink_to(WEB / "node_modules" / "@types")
    _run(NODE, WEB / "node_modules" / "typescript" / "bin" / "tsc", "-p", program, folder=user)
    asked = {**vars(world), "prompt": PROMPT}
    return json.loads(_run(NODE, program / "user.js", json.dumps(asked), folder=user))


@pytest.fixture(scope="module")
def client(world):
    with Client(world.server, key=world.key) as found:
        yield found


def test_the_archive_holds_what_a_user_needs_and_no_more(package, user):
    names = _run("tar", "tzf", package, folder=package.parent).split()
    assert {"package/LICENSE", "package/README.md", "package/package.json"} <= set(names)
    rest = [name for name in names if not name.startswith("package/dist/")]
    assert len(rest) == 3
    assert all(name.endswith((".js", ".d.ts")) for name in set(names) - set(rest))
    assert {each.name for each in (user / "node_modules").iterdir()} - {".package-lock.json"} == {
        "glassbox-llm"
    }, "it brings nothing else along"


def test_a_program_without_types_and_without_aws_is_told_what_is_missing(user, world, client):
    shutil.copy(PROGRAMS / "plain.js", user)
    said = json.loads(_run(NODE, "plain.js", world.server, world.key, folder=user))
    text = client.generate("The film was", max_tokens=3, temperature=0).text
    assert (said["text"], said["late"]) == (text, True)
    assert said["uncertainty"] == pytest.approx(estimate_uncertainty(1.0, [0.5, 0.7]))
    assert "'@aws-sdk/client-sagemaker-runtime'" in said["said"]


@pytest.mark.parametrize("way", ["server", "endpoint"])
class TestTheSameCallsGiveTheSame:
    def test_texts_and_what_the_model_shows(self, way, got, client):
        found = got[way]
        six = {"max_tokens": 6, "temperature": 0, "stop_at_end": False}
        one = client.generate(PROMPT, **six, top_logprobs=2, probes=True)
        assert found["one"]["text"] == one.text
        assert found["one"]["token_ids"] == list(one.token_ids)
        assert found["one"]["tokens"] == list(one.tokens)
        assert found["one"]["entropies"] == pytest.approx(one.entropies.tolist(), abs=1e-4)
        assert found["one"]["mean_entropy"] == pytest.approx(one.mean_entropy, abs=1e-4)
        assert found["one"]["probes"].keys() == one.probes.keys()
        for here, there in zip(found["one"]["top_logprobs"], one.top_logprobs, strict=True):
            assert here == pytest.approx(dict(there), abs=1e-4)
        many = client.generate_many([PROMPT, "The film was"], max_tokens=3, temperature=0)
        assert [each["text"] for each in found["two"]] == [each.text for each in many]

    def test_streams(self, way, got, client):
        found = got[way]
        assert len(found["pieces"]) > 1
        assert "".join(found["pieces"]) == found["whole"]["text"] == found["one"]["text"]
        assert found["whole"]["usage"]["completion_tokens"] == 6
        said = client.chat([{"role": "user", "content": PROMPT}], max_tokens=4, temperature=0)
        assert found["said"]["text"] == found["streamed"] == said.text

    def test_the_adapter_that_was_asked_for(self, way, got, client):
        one = client.generate(PROMPT, model="support", max_tokens=2, temperature=0)
        assert found_digest(got[way]["adapted"]) == one.adapter_digest is not None
        assert got[way]["one"]["adapter_digest"] is None

    def test_hidden_states(self, way, got, client):
        capture = Capture((HookPoint(-1), HookPoint(0)), ("mean", "last", "norm", "none"), "prompt")
        for here, there in zip(
            got[way]["states"], client.states([PROMPT, "a"], capture), strict=True
        ):
            for place, state in zip(here, there.states, strict=True):
                assert (place["layer"], place["site"]) == (state.layer, state.site)
                assert place["norm"] == pytest.approx(state.norm, abs=1e-4)
                for form in ("mean", "last", "none"):
                    np.testing.assert_allclose(place[form], getattr(state, form), atol=1e-4)

    def test_labels_verdicts_lens_and_names(self, way, got, client):
        found = got[way]
        labels = client.classify(["A lovely, wonderful film.", "x" * 100_000]).data
        assert found["labels"]["data"][0]["label"] == labels[0].label
        assert found["labels"]["data"][0]["confidence"] == pytest.approx(
            labels[0].confidence, abs=1e-4
        )
        assert found["labels"]["data"][1]["error"]["code"] == labels[1].error.code
        verdict = client.verify(PROMPT, " Vienna", k=2)
        # The answers that it is compared with are drawn anew each time.
        assert found["verdict"]["method"] == verdict.method == "fusion"
        assert found["verdict"]["threshold"] == verdict.threshold
        assert 0 <= found["verdict"]["uncertainty"] <= 1
        lens = client.lens(PROMPT, top_k=2, n_tokens=2)
        for here, there in zip(found["lens"]["rows"], lens.rows, strict=True):
            assert here["entropies"] == pytest.approx(there.entropies, abs=1e-4)
            assert [each[0]["id"] for each in here["top"]] == [each[0].id for each in there.top]
        assert found["models"] == [each.id for each in client.models()]
        assert found["health"] == {"live": True, "ready": True}

    def test_errors(self, way, got, client):
        attempts = (
            lambda: client.generate(PROMPT, model="nobody"),
            lambda: client.generate(PROMPT, max_tokens=-1),
            lambda: client.states(["a"], Capture((HookPoint(99),), ("mean",), "prompt")),
            lambda: client.generate("a " * 5000, max_tokens=1),
        )
        codes = [each["code"] for each in got[way]["errors"]]
        assert codes[0] == UnknownName.code
        assert codes[2:] == [InvalidHookPoint.code, TextTooLong.code]
        for attempt, here in zip(attempts, got[way]["errors"], strict=True):
            with pytest.raises(GlassboxError, match=r"\w") as raised:
                attempt()
            assert here["message"] == str(raised.value)
            assert here["code"] == raised.value.code


def found_digest(text):
    return text["adapter_digest"]


def test_the_shadow_self_answers_with_the_source_documents_fields(got, client):
    shadow = got["shadow"]
    one = client.generate(PROMPT, max_tokens=5, temperature=0)
    plain, halved, adapted = (shadow[name] for name in ("plain", "halved", "adapted"))
    assert plain["generatedText"] == one.text == shadow["text"] == shadow["whole"]["generatedText"]
    assert list(plain["hiddenStates"]) == ["layer_-1", "layer_-4", "layer_-8"]
    assert plain["truncated"] is False
    for key, state in plain["hiddenStates"].items():
        assert state.keys() == {"mean", "lastToken", "norm"}
        for form in ("mean", "lastToken"):
            exact, half = np.array(state[form]), np.array(halved["hiddenStates"][key][form])
            assert exact.shape == half.shape == (128,)
            np.testing.assert_array_equal(exact.astype(np.float16).astype(float), half)
            np.testing.assert_allclose(shadow["whole"]["hiddenStates"][key][form], exact, atol=1e-4)
    assert list(adapted["hiddenStates"]) == ["layer_-2"]
    with_adapter = client.generate(PROMPT, model="support", max_tokens=1)
    assert adapted["adapterDigest"] == with_adapter.adapter_digest
    expected = estimate_uncertainty(plain["logitsEntropy"], plain["generationProbs"])
    assert shadow["uncertainty"] == pytest.approx([expected, expected])


def test_what_an_endpoint_refuses_says_what_to_do(got):
    layer, adapter, gone, status = got["shadow"]["errors"]
    assert (layer["name"], layer["code"]) == ("UsageError", "invalid-hook-point")
    assert "-99" in layer["message"]
    assert (adapter["name"], adapter["status"]) == ("UnknownName", 404)
    assert "nobody" in adapter["message"]
    assert gone["name"] == "UnknownName"
    assert "No SageMaker endpoint 'deleted' in eu-west-1" in gone["message"]
    assert status["name"] == "DependencyMissing"
    assert "npm install @aws-sdk/client-sagemaker" in status["message"]
    not_carried, wrong_key, late = got["refused"]
    assert "does not carry GET /v1/adapters" in not_carried["message"]
    assert (wrong_key["name"], wrong_key["status"]) == ("AccessDenied", 401)
    assert late["name"] == "DeadlineExceeded"


def test_an_answer_of_26_megabytes_comes_whole_or_is_refused_in_words(got):
    assert got["nBytes"] == 13 * 8 * 500 * 128 * 4
    (refused,) = got["tooLarge"]
    assert (refused["code"], refused["status"]) == ("answer-too-large", 413)
    assert "server.large_answers" in refused["message"]


def test_predictions_are_made_recorded_and_watched(got):
    found = got["predictions"]
    assert found["one"]["request_id"] == found["recent"][0]["request_id"] == "typescript-1"
    assert found["told"] == {"accepted": 1, "unknown": ["never-made"]}
    assert len(found["fleet"]["replicas"]) == 1
    assert found["change"]["topic"] in {"summary", "inference", "rollout", "drift", "alert"}


def test_no_difference_of_versions_is_seen_where_there_is_none(got):
    assert got["warnings"] == []
