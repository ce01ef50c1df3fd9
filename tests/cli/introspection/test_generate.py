"""``generate`` shows what the engine says, from this machine's model or from a server."""

import numpy as np
import orjson
import pytest

from glassbox.cli.confidence.ask_server import classified_by_server
from glassbox.cli.introspection import generate
from glassbox.cli.main import main
from glassbox.cli.terminal.token_colours import CERTAINTY, PROBABILITY, coloured
from glassbox.client import Client
from glassbox.confidence.asking.classify import Labeller, classify_stream
from glassbox.confidence.asking.scoring import LabelModel
from glassbox.confidence.labels import default_labels
from glassbox.engine.requests import Request, Sampling
from glassbox.errors import InvalidData, InvalidValue
from glassbox.introspection.probes.file import save_probe
from glassbox.introspection.probes.probe import LinearProbe, ProbeModel
from glassbox.runtime import Runtime
from glassbox.stats.calibrators.parametric import Temperature
from glassbox.stats.classification.linear_probe import LinearRule
from glassbox.testing.fake import FAKE_ADAPTER, FakeEngine
from glassbox.types import HookPoint
from tests.client.test_client import InThisProcess
from tests.server.worlds import serve


@pytest.fixture
def engine(monkeypatch):
    engine = FakeEngine()
    monkeypatch.setattr(Runtime, "open_engine", lambda _self, _spec: engine)
    monkeypatch.setattr(engine, "close", lambda: None)
    return engine


@pytest.fixture
def server(engine, monkeypatch):
    labeller = Labeller(LabelModel(engine, default_labels(["a", "b"])), threshold=0.6)
    transport = InThisProcess(serve(engine, labellers={"mine": labeller}))
    monkeypatch.setattr(
        "glassbox.client.Client", lambda url, key: Client(url, key=key, transport=transport)
    )
    return labeller


def record(capsys, *words):
    assert main(["generate", "hello", "--max-tokens", "5", "--seed", "3", "--json", *words]) == 0
    return orjson.loads(capsys.readouterr().out)


def test_the_record_holds_what_the_engine_wrote(engine, capsys):
    told = record(capsys, "--capture", "-1,0", "--pooling", "mean,norm")
    (prompt,) = engine.codec.encode(["hello"])
    sampling = Sampling(max_tokens=5, temperature=0.7, seed=3)
    (expected,) = engine.generate([Request(prompt, sampling=sampling)])

    assert told["text"] == expected.text
    assert [each["id"] for each in told["tokens"]] == list(expected.tokens.token_ids)
    for name in ("logprob", "entropy"):
        theirs = getattr(expected.tokens, {"logprob": "logprobs", "entropy": "entropies"}[name])
        np.testing.assert_allclose([each[name] for each in told["tokens"]], theirs, rtol=1e-5)
    assert [each["layer"] for each in told["states"]] == [engine.info.n_layers - 1, 0]
    assert set(told["states"][0]) >= {"mean", "norm"}
    assert "last" not in told["states"][0]


def test_a_server_gives_the_same_record(server, capsys):
    words = ["--capture", "all", "--stop", "zz"]
    here, there = record(capsys, *words), record(capsys, "--server", "http://test", *words)

    for each in (here, there):
        del each["timing"], each["model"]
    assert there == here


@pytest.fixture
def adapter(engine, tmp_path):
    folder = tmp_path / "adapter"
    folder.mkdir()
    (folder / FAKE_ADAPTER).write_text('{"seed": 7}', encoding="utf-8")
    engine.load_adapter(folder, name=str(folder))
    return engine.adapters[0]


def saved_probe(engine, folder, adapter_digest):
    width = engine.info.d_model
    probe = LinearProbe(
        name="sun",
        target="target = 1",
        model=ProbeModel(
            engine.info.name,
            engine.info.digest,
            width,
            engine.info.n_layers,
            adapter_digest=adapter_digest,
        ),
        point=HookPoint(0),
        pooling="mean",
        scope="generated",
        kind="logistic",
        rule=LinearRule(np.linspace(-1, 1, width), 0.3, np.zeros(width), np.ones(width)),
        calibrator=Temperature(2, 2.0),
        threshold_logit=0.1,
        max_fpr=0.01,
        trained_on=frozenset({"abc"}),
    )
    save_probe(probe, folder)
    return str(folder)


def test_a_probe_of_an_adapter_reads_what_the_adapter_writes(engine, adapter, tmp_path, capsys):
    probe = saved_probe(engine, tmp_path / "probe", adapter.digest)
    told = record(capsys, "--adapter", adapter.name, "--probe", probe)

    assert told["adapter_digest"] == adapter.digest
    assert 0 < told["probes"]["sun"]["probe_prob"] < 1


def test_a_probe_of_another_model_is_refused_and_the_model_is_closed(
    engine, adapter, tmp_path, capsys, monkeypatch
):
    closed = []
    monkeypatch.setattr(engine, "close", lambda: closed.append(True))
    probe = saved_probe(engine, tmp_path / "probe", "ab" * 32)

    assert main(["generate", "hello", "--adapter", adapter.name, "--probe", probe]) == 3
    assert "sun" in capsys.readouterr().err
    assert closed


def test_two_probes_of_one_name_are_refused(engine, adapter, tmp_path, capsys):
    folders = [saved_probe(engine, tmp_path / name, adapter.digest) for name in ("one", "two")]
    words = [word for folder in folders for word in ("--probe", folder)]

    assert main(["generate", "hello", "--adapter", adapter.name, *words]) != 0
    assert "Two probes are called 'sun'" in capsys.readouterr().err


def test_a_person_sees_the_text_and_a_table(engine, capsys):
    assert main(["generate", "hello", "--max-tokens", "4", "--seed", "1", "--capture", "0"]) == 0

    shown = capsys.readouterr().out
    assert shown.startswith("hello")
    for words in ("mean entropy", "mean probability", "least probable", "layer 0 resid_post"):
        assert words in shown


@pytest.mark.parametrize("colour", ["none", "probability"])
def test_a_text_cannot_command_the_terminal(engine, capsys, colour):
    assert main(["generate", "a\x1b[2Jb", "--max-tokens", "2", "--colour", colour]) == 0

    out = capsys.readouterr().out
    assert "\x1b" not in out
    assert out.startswith("a␛[2Jb")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--capture", "x"], "layers such as"),
        (["--capture", "0", "--pooling", "max"], "mean, last, norm"),
        (["--capture", "0", "--scope", "here"], "prompt, generated, all"),
        (["--colour", "green"], "probability, entropy, none"),
        (["--capture", "99"], "layers 0 to"),
        (["--top-p", "0"], "greater than 0"),
    ],
)
def test_a_wrong_option_names_what_is_allowed(engine, capsys, words, said):
    assert main(["generate", "hello", *words]) == 2
    assert said in capsys.readouterr().err.replace("\n", " ")


def test_layers_are_read_as_numbers_and_ranges():
    assert generate._numbers("-1,-4") == [-1, -4]
    assert generate._numbers("0-3, 7") == [0, 1, 2, 3, 7]
    with pytest.raises(InvalidValue, match="--capture"):
        generate._numbers("3-1")


@pytest.mark.parametrize("steps", [PROBABILITY, CERTAINTY])
def test_every_value_has_a_step_and_sure_ones_no_colour(steps):
    values = np.linspace(-20, 1, 100).tolist() if steps is CERTAINTY else np.linspace(0, 1, 100)
    text = coloured(["a"] * 100, list(values), steps)

    assert text.plain == "a" * 100
    assert not steps[0].style
    assert len({str(span.style) for span in text.spans}) == 3


@pytest.mark.parametrize("policy", ["error", "truncate"])
def test_classify_by_a_server_gives_the_records_of_classify(server, policy):
    server.model.prompts.overlong = policy
    lines = [(1, "x"), (2, InvalidData("no text", source="f", line=2)), (3, "y" * 2000), (4, "z")]

    here = [each.to_json() for each in classify_stream(server, lines)]
    there = list(classified_by_server(lines, "http://test", None, None))

    assert there == here
    assert ("truncated" in there[2]) == (policy == "truncate")


def test_control_characters_become_pictures() -> None:
    shown = coloured(["a\x1b[2J", "\x9b31m\r\n"], [1.0, 1.0], PROBABILITY).plain
    assert shown == "a\u241b[2J\ufffd31m\u240d\n"
