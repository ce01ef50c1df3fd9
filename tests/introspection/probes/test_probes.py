"""From rows to a probe and back: states, files, readings along tokens, refusals."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest

from glassbox.engine.requests import Request, Sampling
from glassbox.errors import (
    AdapterMismatch,
    CorruptArtifact,
    InvalidData,
    InvalidHookPoint,
    InvalidValue,
    NotEnoughData,
    UnknownName,
)
from glassbox.introspection.probes.capture_cache import Place, capture_rows, plan_capture
from glassbox.introspection.probes.drawing import write_probe_charts
from glassbox.introspection.probes.evaluation import evaluate_probe, read_rows
from glassbox.introspection.probes.file import (
    PROBE_FILE,
    TENSOR_FILE,
    describe_probe,
    find_probes,
    load_probe,
    save_probe,
)
from glassbox.introspection.probes.norm_proxy import norm_proxy
from glassbox.introspection.probes.probe import LinearProbe, ProbeModel
from glassbox.introspection.probes.rows import ProbeColumns, ProbeRows, read_probe_rows
from glassbox.introspection.probes.training import ProbeJob, divide, train_probe
from glassbox.stats.calibrators.parametric import Temperature
from glassbox.stats.classification.linear_probe import LinearRule
from glassbox.testing import FakeEngine, tiny_engine
from glassbox.types import Capture, HookPoint

WORDS = ("posi", "negative", "the", "tore", "an", "bon", "wes")


@pytest.fixture(scope="module")
def engine():
    made = tiny_engine()
    yield made
    made.close()


def write_rows(path: Path, n: int = 160, *, responses: bool = False) -> Path:
    """Write rows whose target is the last word, so that the states know it."""
    rng = np.random.default_rng(0)
    with path.open("w") as file:
        for number in range(n):
            middle = " ".join(rng.choice(WORDS, size=4))
            target = int(rng.random() < 0.5)
            end = (" sun", " rain")[target]
            row = {"target": target, "who": f"e{number // 2}", "topic": "ab"[number % 2]}
            if responses:
                row |= {"prompt": f"{number} {middle}", "response": f" say{end}"}
            else:
                row |= {"text": f"{number} {middle}{end}", "n_words": len(middle.split())}
            file.write(json.dumps(row) + "\n")
    return path


def rows_of(tmp_path: Path, **choices: bool) -> ProbeRows:
    columns = ProbeColumns(group="who", domain="topic")
    return read_probe_rows(write_rows(tmp_path / "rows.jsonl", **choices), columns)


def a_probe(engine, **changes) -> LinearProbe:
    rng = np.random.default_rng(1)
    info = engine.info
    width = info.d_model
    probe = LinearProbe(
        name="sun",
        target="target = 1",
        model=ProbeModel(info.name, info.digest, width, info.n_layers),
        point=HookPoint(1),
        pooling="mean",
        scope="generated",
        kind="logistic",
        rule=LinearRule(
            rng.normal(size=width), 0.3, rng.normal(size=width), rng.uniform(0.5, 2, width)
        ),
        calibrator=Temperature(2, 2.0),
        threshold_logit=0.1,
        max_fpr=0.01,
        trained_on=frozenset({"abc"}),
    )
    return dataclasses.replace(probe, **changes)


@pytest.mark.parametrize("pooling", ["mean", "last"])
@pytest.mark.parametrize("scope", ["prompt", "generated", "all"])
@pytest.mark.parametrize("response", [None, " a rainy day"])
def test_reading_along_the_tokens_equals_reading_captured_states(engine, pooling, scope, response):
    probe = a_probe(engine, pooling=pooling, scope=scope)
    prompt, given = engine.codec.encode([" the weather"])[0], None
    if response is not None:
        given = engine.codec.encode([response], special=False)[0]
    request = Request(
        prompt,
        response=given,
        sampling=Sampling(max_tokens=6, temperature=0, stop_at_end=False),
        capture=Capture((HookPoint(1),), (pooling,), scope),
        readouts=(probe.readout(),),
    )
    (answer,) = engine.generate([request])
    along, captured = probe.read(answer), probe.read_states(answer.states[0])
    assert along.probe_logit == pytest.approx(captured.probe_logit, abs=1e-4)
    assert along.probe_prob == pytest.approx(captured.probe_prob, abs=1e-4)
    assert len(along.token_logits) == answer.states[0].n_positions
    assert along.threshold == captured.threshold
    assert along.flagged == (along.probe_logit >= 0.1)


def test_a_scope_without_positions_reads_nothing(engine):
    probe = a_probe(engine)
    prompt = engine.codec.encode(["the"])[0]
    (answer,) = engine.generate([Request(prompt, response=(), readouts=(probe.readout(),))])
    reading = probe.read(answer)
    assert (reading.probe_logit, reading.probe_prob, reading.flagged) == (None, None, None)


def test_readings_need_their_readout_and_enough_positions(engine):
    probe, prompt = a_probe(engine), engine.codec.encode(["the"])[0]
    (bare,) = engine.generate([Request(prompt, response=())])
    with pytest.raises(InvalidValue, match="'sun' among them"):
        probe.read(bare)
    (answer,) = engine.generate(
        [Request(prompt, response=(), readouts=(probe.readout(),), readout_scope="prompt")]
    )
    with pytest.raises(InvalidValue, match="'generated'"):
        probe.read(answer, covered="prompt")


def test_another_model_width_or_adapter_is_refused(engine):
    probe = a_probe(engine)
    probe.check(engine.info)
    other = dataclasses.replace(engine.info, digest="f" * 64, name="other")
    with pytest.raises(AdapterMismatch, match=f"{engine.info.digest}.*{'f' * 64}"):
        probe.check(other)
    with pytest.raises(AdapterMismatch, match="width 32; the model 'other' has width 8"):
        probe.check(dataclasses.replace(other, d_model=8))
    with pytest.raises(AdapterMismatch, match="the base model; adapter d1 answers"):
        probe.check(engine.info, "d1")
    tied = a_probe(engine, model=dataclasses.replace(probe.model, revision="v2"))
    with pytest.raises(AdapterMismatch, match="revision v2"):
        tied.check(other)


def test_a_saved_probe_comes_back_whole(engine, tmp_path):
    probe = a_probe(engine)
    folder = save_probe(probe, tmp_path / "deep" / "sun")
    back = load_probe(folder)
    values = np.linspace(-3, 3, 5)
    np.testing.assert_array_equal(back.rule.weight, probe.rule.weight)
    np.testing.assert_array_equal(back.probs(values), probe.probs(values))
    for field in ("name", "model", "point", "pooling", "scope", "threshold_logit", "trained_on"):
        assert getattr(back, field) == getattr(probe, field)
    assert find_probes(tmp_path) == [folder]
    assert load_probe(folder / PROBE_FILE).name == "sun"


def test_a_changed_damaged_or_absent_probe_is_refused(engine, tmp_path):
    folder = save_probe(a_probe(engine), tmp_path / "sun")
    with pytest.raises(UnknownName, match="probes train"):
        load_probe(tmp_path / "moon")
    tensors = (folder / TENSOR_FILE).read_bytes()
    (folder / TENSOR_FILE).write_bytes(tensors[:-4])
    with pytest.raises(CorruptArtifact, match="does not match the digest"):
        load_probe(folder)
    (folder / TENSOR_FILE).unlink()
    with pytest.raises(CorruptArtifact, match="missing"):
        load_probe(folder)
    text = (folder / PROBE_FILE).read_text()
    (folder / PROBE_FILE).write_text(text.replace('"sun"', '"moon"'))
    with pytest.raises(CorruptArtifact, match="edited or damaged"):
        describe_probe(folder)
    (folder / PROBE_FILE).write_text(text.replace('"schema_version": 1', '"schema_version": 9'))
    with pytest.raises(CorruptArtifact, match="schema_version is 9"):
        describe_probe(folder)


def test_captures_equal_the_engine_and_are_kept(engine, tmp_path, monkeypatch):
    rows = rows_of(tmp_path, n=12, responses=True)
    plan = plan_capture(engine, [-1, 0], ("mean", "last"), "generated")
    assert plan.layers == (0, 1)
    captured = capture_rows(engine, rows.rows, plan, tmp_path / "states")
    row = rows.rows[3]
    request = Request(
        engine.codec.encode([row.prompt])[0],
        response=engine.codec.encode([row.response], special=False)[0],
        capture=Capture((HookPoint(1),), ("mean", "last"), "generated"),
    )
    states = engine.generate([request])[0].states[0]
    np.testing.assert_allclose(captured.features(Place(1, "mean"))[3], states.mean, atol=1e-5)
    np.testing.assert_allclose(captured.features(Place(1, "last"))[3], states.last, atol=1e-5)

    top = Sampling(max_tokens=1, temperature=0, top_logprobs=1)
    tokens = engine.generate([dataclasses.replace(request, sampling=top)])[0].tokens
    beside = {name: values[3] for name, values in captured.readings().items()}
    assert beside["mean entropy"] == pytest.approx(tokens.entropies.mean(), abs=1e-5)
    assert beside["mean logprob"] == pytest.approx(tokens.logprobs.mean(), abs=1e-5)
    assert beside["mean top probability"] == pytest.approx(
        np.exp(tokens.top_logprobs[:, 0]).mean(), abs=1e-5
    )
    assert beside["number of tokens"] == len(request.response)
    assert np.isnan(beside["next entropy"]), "behind a response nothing is asked"

    def refuse(_requests):
        raise AssertionError("states are on disk already")

    monkeypatch.setattr(engine, "generate", refuse)
    again = capture_rows(engine, rows.rows, plan, tmp_path / "states")
    assert again.files == captured.files
    with pytest.raises(AssertionError, match="on disk already"):
        capture_rows(engine, rows.rows[:-1], plan, tmp_path / "states")


def test_a_file_of_states_that_is_cut_off_is_captured_anew(engine, tmp_path):
    rows = rows_of(tmp_path, n=12, responses=True)
    plan = plan_capture(engine, [0], ("mean",), "generated")
    captured = capture_rows(engine, rows.rows, plan, tmp_path / "states")
    before = captured.features(Place(0, "mean"))
    (file,) = captured.files
    file.write_bytes(file.read_bytes()[:-100])
    again = capture_rows(engine, rows.rows, plan, tmp_path / "states")
    np.testing.assert_array_equal(again.features(Place(0, "mean")), before)


def test_an_interrupted_capture_goes_on(engine, tmp_path, monkeypatch):
    monkeypatch.setattr("glassbox.introspection.probes.capture_cache.CHUNK_ROWS", 4)
    rows = rows_of(tmp_path, n=12, responses=True).rows
    plan, real, n_asked = plan_capture(engine, None, ("last",), "all"), engine.generate, []

    def breaks(requests):
        n_asked.append(len(requests))
        if len(n_asked) == 2:
            raise KeyboardInterrupt
        return real(requests)

    monkeypatch.setattr(engine, "generate", breaks)
    with pytest.raises(KeyboardInterrupt):
        capture_rows(engine, rows, plan, tmp_path / "states")
    whole = capture_rows(engine, rows, plan, tmp_path / "states")
    assert n_asked == [4, 4, 4, 4], "the first four rows were not asked again"
    assert whole.features(Place(0, "last")).shape == (12, 32)


def test_a_probe_finds_what_the_states_know_and_reads_it_like_the_server(engine, tmp_path):
    rows = rows_of(tmp_path)
    job = ProbeJob(name="sun", max_fpr=0.1, n_folds=3)
    trained = train_probe(engine, rows, job, tmp_path / "states")
    assert trained.test.auroc.estimate > 0.95
    assert trained.test.auroc.low <= trained.test.auroc.estimate <= trained.test.auroc.high
    assert trained.choice.n_tried == 2 * 2 * 6
    assert {each.name for each in trained.domains} == {"a", "b"}
    assert all(each.outside is not None for each in trained.domains)
    assert sum(n for n, _ in trained.parts.values()) == 160
    trivial = {each.name: each for each in trained.baselines}
    assert {"mean entropy", "number of tokens", "mean top probability"} < trivial.keys()
    for each in trivial.values():
        gained = trained.test.auroc.estimate - each.auroc.estimate
        assert each.probe_gain.estimate == pytest.approx(gained, abs=1e-6)
    files = write_probe_charts(trained, tmp_path / "charts")
    assert [each.png.stem for each in files] == ["probe_layers", "probe_roc", "probe_reliability"]

    loaded = load_probe(save_probe(trained.probe, tmp_path / "sun"))
    test = divide(rows, 0)["test"]
    read = read_rows(engine, loaded, [rows.rows[i] for i in test])
    logits = [each.probe_logit for each in read]
    np.testing.assert_allclose(logits, trained.readings.logits, atol=2e-3)
    found = evaluate_probe(engine, loaded, rows)
    assert found.n_seen == 160 - len(test)
    assert found.figures.auroc.estimate == pytest.approx(trained.test.auroc.estimate, abs=0.02)
    again = train_probe(engine, rows, job, tmp_path / "states")
    np.testing.assert_array_equal(again.probe.rule.weight, trained.probe.rule.weight)
    assert again.probe.made_from == trained.probe.made_from


def test_parts_never_share_a_group_and_too_few_rows_are_refused(engine, tmp_path):
    rows = rows_of(tmp_path, responses=True)
    parts = divide(rows, 0)
    groups = [{rows.groups[i] for i in part} for part in parts.values()]
    assert sum(map(len, groups)) == len(set.union(*groups))
    few = rows_of(tmp_path, n=40)
    with pytest.raises(NotEnoughData, match="rarer kind in the"):
        train_probe(engine, few, ProbeJob(), tmp_path / "states")


def test_what_cannot_become_a_probe_is_said_before_states_are_read(engine, tmp_path):
    rows = rows_of(tmp_path, n=160)
    few_groups = dataclasses.replace(
        rows,
        rows=tuple(
            dataclasses.replace(row, group=f"g{i // 2 % 9}") for i, row in enumerate(rows.rows)
        ),
    )
    with pytest.raises(NotEnoughData, match=r"8 folds \(groups\)"):
        train_probe(engine, few_groups, ProbeJob(n_folds=8), tmp_path / "unread")
    assert not (tmp_path / "unread").exists()

    for max_fpr in (0.0, 1.5, float("nan")):
        with pytest.raises(InvalidValue, match="max_fpr is"):
            ProbeJob(max_fpr=max_fpr)
    for name in ("", ".", "..", "../evil", "a/b", "/tmp/a", "norm_proxy"):
        with pytest.raises(InvalidValue, match="the probe's name is"):
            ProbeJob(name=name)


def test_states_without_the_target_leave_a_probe_at_chance(tmp_path):
    rows = rows_of(tmp_path, n=400)
    made = FakeEngine()
    trained = train_probe(made, rows, ProbeJob(layers=(0,), n_folds=3), tmp_path / "states")
    made.close()
    assert trained.test.auroc.low < 0.5 < trained.test.auroc.high + 0.1
    assert trained.choice.corrected_auroc < trained.choice.chosen.auroc
    assert trained.probe.threshold is None
    assert trained.negatives_needed == 99


def test_the_threshold_counts_groups_and_not_rows(engine, tmp_path):
    rows = rows_of(tmp_path)
    negative = [i for i in divide(rows, 0)["calibrator"] if not rows.is_positive[i]]
    n_groups = len({rows.groups[i] for i in negative})
    assert n_groups < len(negative)
    # As many rows as this rate takes are there, but not as many groups.
    job = ProbeJob(layers=(0,), pooling=("last",), n_folds=3, max_fpr=1 / (len(negative) + 1))
    trained = train_probe(engine, rows, job, tmp_path / "states")
    assert trained.probe.threshold is None
    assert trained.negatives_needed == len(negative)
    enough = dataclasses.replace(job, max_fpr=1 / (n_groups + 1))
    assert train_probe(engine, rows, enough, tmp_path / "states").probe.threshold is not None


def test_layers_that_do_not_exist_are_named(engine):
    with pytest.raises(InvalidHookPoint, match="layer 2: the model has layers 0 to 1"):
        plan_capture(engine, [2], ("mean",), "all")
    with pytest.raises(InvalidValue, match="at least one"):
        plan_capture(engine, [0], (), "all")


def test_texts_alone_have_no_response_to_read(engine, tmp_path):
    rows = rows_of(tmp_path)
    plan = plan_capture(engine, None, ("last",), "generated")
    with pytest.raises(InvalidData, match="line 1: is a text alone"):
        capture_rows(engine, rows.rows, plan, tmp_path / "states")


@pytest.mark.parametrize(
    ("content", "error", "match"),
    [
        ('{"text": "a", "target": 1}\n{"text": "b"}\n', UnknownName, "column 'target'"),
        ('{"text": "a", "target": 1}\nnot json\n', InvalidData, "line 2: not valid JSON"),
        ('{"text": "a", "target": 1}\n\n[1]\n', InvalidData, "line 3: not a JSON object"),
        ('{"text": " ", "target": 1}\n', InvalidData, "line 1: the column 'text' is empty"),
        ('{"text": "a", "target": 1}\n', InvalidData, "nothing to find"),
        (
            "".join(f'{{"text": "a", "target": {each}}}\n' for each in (0, 1, 2)),
            InvalidData,
            "line 3: the target 'target' holds a third value, '2'",
        ),
        (
            '{"text": "a", "target": "known"}\n{"text": "b", "target": "new"}\n',
            InvalidValue,
            "--positive",
        ),
        ('{"words": "a", "target": 1}\n', UnknownName, "Rows need 'text', or 'prompt'"),
        ("", InvalidData, "no rows"),
    ],
)  # fmt: skip
def test_rows_that_cannot_be_used_are_refused_by_line(tmp_path, content, error, match):
    path = tmp_path / "rows.jsonl"
    path.write_text(content)
    with pytest.raises(error, match=match):
        read_probe_rows(path, ProbeColumns())


def test_tables_and_folders_are_read_and_names_say_what_is_found(tmp_path):
    (tmp_path / "birds.csv").write_text('\ufeffstatement,label\n"A, b.",yes\nC.,no\n')
    (tmp_path / "fish.jsonl").write_text('{"statement": "D.", "label": true, "n": 3}\n')
    columns = ProbeColumns(text="statement", target="label")
    birds = read_probe_rows(tmp_path / "birds.csv", columns)
    assert [row.prompt for row in birds.rows] == ["A, b.", "C."]
    assert birds.is_positive.tolist() == [True, False]
    assert birds.target == "label = yes"
    named = read_probe_rows(tmp_path / "birds.csv", dataclasses.replace(columns, positive="no"))
    assert named.is_positive.tolist() == [False, True]
    with pytest.raises(InvalidData, match="third value, 'true'"):
        read_probe_rows(tmp_path, columns)
    (tmp_path / "fish.jsonl").write_text('{"statement": "D.", "label": "yes"}\n')
    assert read_probe_rows(tmp_path, columns).domains == ["birds", "birds", "fish"]
    (tmp_path / "bad.csv").write_bytes(b"statement,label\n\xff,yes\n")
    with pytest.raises(InvalidData, match="line 2: not valid UTF-8"):
        read_probe_rows(tmp_path / "bad.csv", columns)
    with pytest.raises(UnknownName, match="format of rows"):
        read_probe_rows(Path(__file__), columns)


def test_the_norm_proxy_is_marked_as_what_it_is(engine):
    prompt = engine.codec.encode(["the day"])[0]
    capture = Capture((HookPoint(0), HookPoint(1)), ("norm",), "prompt")
    (answer,) = engine.generate([Request(prompt, response=(), capture=capture)])
    found = norm_proxy(answer.states)
    mean = np.mean([each.norm for each in answer.states])
    assert found.uncertainty == pytest.approx(1 / (1 + mean))
    assert found.validated is False
    assert "Unvalidated" in found.note
    assert norm_proxy(()).uncertainty == 1
    bare = dataclasses.replace(answer.states[0], norm=None)
    with pytest.raises(InvalidValue, match="norm among them"):
        norm_proxy([bare])


@pytest.mark.data
def test_statements_are_read_at_chance_by_a_small_model(data_dir, tmp_path):
    """The embedded model knows none of these facts: an interval that holds one half is right."""
    from glassbox.engine.resident import load_engine
    from glassbox.types import ModelSpec

    folder = data_dir / "true-false" / "azaria-mitchell"
    columns = ProbeColumns(text="statement", target="label")
    rows = read_probe_rows(folder / "facts_true_false.csv", columns)
    made = load_engine(ModelSpec("tiny"), threads=1)
    job = ProbeJob(layers=(3,), pooling=("last",), max_fpr=0.05)
    trained = train_probe(made, rows, job, tmp_path)
    made.close()
    assert trained.test.auroc.low <= 0.55
    assert trained.test.auroc.high - trained.test.auroc.low < 0.25
