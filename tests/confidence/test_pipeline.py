"""What a job says about its data reaches the reader."""

import pytest

from glassbox.confidence.asking.prompts import PromptBuilder
from glassbox.confidence.job import DataChoice, Job
from glassbox.confidence.labels import default_labels
from glassbox.confidence.material import prepare
from glassbox.confidence.pipeline import MainJob, Outcome
from glassbox.confidence.reporting import sentences
from glassbox.confidence.reporting.report import report_of
from glassbox.confidence.run import RunFolder
from glassbox.engine.model.codec import TokenizerCodec
from glassbox.engine.protocol import AdapterFit, AdapterRecipe
from glassbox.errors import AdapterMismatch, ConflictError, InvalidData, OutOfMemory
from glassbox.testing.tiny import CONTEXT, tiny_engine, tiny_tokenizer
from glassbox.types import ModelSpec
from tests.e2e.jobs import silent


def test_format_encoding_and_bad_rows_are_as_asked(tmp_path):
    path = tmp_path / "texts.dat"
    rows = [
        f"Number {i} était {('bon', 'mal')[i % 2]},{('good', 'bad')[i % 2]}" for i in range(200)
    ]
    path.write_bytes("\n".join(["text,label", *rows, ",good"]).encode("cp850"))
    choice = DataChoice(str(path), data_format="csv", encoding="cp850", bad_rows="drop")
    texts = prepare(Job(ModelSpec("tiny"), choice, tmp_path / "run")).texts
    assert len(texts) == 200
    assert texts.texts[0] == "Number 0 était bon"
    assert texts.encoding == "cp850 (given)"
    assert [each.reason for each in texts.dropped] == ["empty text"]


def asked_of(folder, out):
    """A job whose texts are an empty file."""
    (folder / "empty.csv").write_text("")
    job = Job(ModelSpec("tiny"), DataChoice(str(folder / "empty.csv")), out)
    return MainJob(job, tiny_engine, silent, print)


def test_data_that_cannot_be_used_leave_no_folder_behind(tmp_path):
    with pytest.raises(InvalidData, match="the file is empty"):
        asked_of(tmp_path, tmp_path / "run").evaluate()
    assert not (tmp_path / "run").exists()


def test_a_file_in_the_place_of_the_folder_is_told_before_the_texts_are_read(tmp_path):
    (tmp_path / "run").write_text("years of work")
    with pytest.raises(InvalidData, match="a run needs a folder, this is a file"):
        asked_of(tmp_path, tmp_path / "run").evaluate()


def begun(folder, seed=0, name="texts.csv"):
    """What a run says before its model is loaded, for which there is no memory here."""

    def no_memory(_spec):
        raise OutOfMemory("no memory")

    said: list[str] = []
    job = Job(ModelSpec("tiny"), DataChoice(str(folder / name)), folder / "run", seed=seed)
    with pytest.raises(OutOfMemory, match="no memory"):
        MainJob(job, no_memory, silent, said.append).evaluate()
    return prepare(job).rows, said


def test_a_folder_that_holds_a_run_on_other_rows_says_so(tmp_path):
    rows = [f"Number {i} is fine,{'ab'[i % 2]}\n" for i in range(200)]
    (tmp_path / "texts.csv").write_text("text,label\n" + "".join(rows))
    (tmp_path / "more.csv").write_text("text,label\n" + "".join(rows) + "One more is fine,a\n")
    held_out, said = begun(tmp_path)
    assert not any("holds a run" in line for line in said)
    test_set = tmp_path / "run" / "test_set.json"
    held_out.save(test_set)
    assert begun(tmp_path)[1] == said
    assert "run holds a run on another split (seed 0, 40" in begun(tmp_path, seed=1)[1][0]
    assert "run holds a run on other data (seed 0, 40" in begun(tmp_path, name="more.csv")[1][0]
    test_set.write_text("{")
    assert "test_set.json is damaged and is written anew" in begun(tmp_path)[1][0]


@pytest.mark.parametrize("name", ["run.json", "test_set.json"])
def test_the_run_of_a_newer_glassbox_is_not_overwritten(tmp_path, name):
    rows = [f"Number {i} is fine,{'ab'[i % 2]}\n" for i in range(200)]
    (tmp_path / "texts.csv").write_text("text,label\n" + "".join(rows))
    (tmp_path / "run").mkdir()
    kept = tmp_path / "run" / name
    kept.write_text('{"schema_version": 2, "later": 1}')
    job = Job(ModelSpec("tiny"), DataChoice(str(tmp_path / "texts.csv")), tmp_path / "run")
    with pytest.raises(ConflictError, match=rf"{name} was written by a newer Glassbox\. Upgrade"):
        MainJob(job, lambda _spec: tiny_engine(), silent, [].append).evaluate()
    assert kept.read_text() == '{"schema_version": 2, "later": 1}'


def sized(folder, policy) -> tuple[Outcome, list[str]]:
    """A run over texts about as long as the context, tuned and reworded, and what it says."""
    rows = [f"{'x' * (160 + 7 * i % 90)} {i},{'ab'[i * i % 7 % 2]}\n" for i in range(400)]
    (folder / "texts.csv").write_text("text,label\n" + "".join(rows))
    job = Job(
        ModelSpec("random"), DataChoice(str(folder / "texts.csv")), folder / "run",
        tuning="missing", recipe=AdapterRecipe(epochs=1), rank=2, overlong=policy, samples=5,
        paraphrases=True, charts=False,
    )  # fmt: skip
    said: list[str] = []
    engine = tiny_engine()
    try:
        return MainJob(job, lambda _spec: engine, silent, said.append).evaluate(), said
    finally:
        engine.close()


@pytest.mark.parametrize(
    ("policy", "field", "words"),
    [
        ("truncate", "n_truncated", "were cut to fit"),
        ("skip", "n_skipped", "were left out because they do not fit"),
    ],
)
def test_texts_over_the_context_are_counted_wherever_they_are_read(tmp_path, policy, field, words):
    outcome, said = sized(tmp_path, policy)
    material = prepare(Job(ModelSpec("random"), DataChoice(str(tmp_path / "texts.csv")), tmp_path))
    prompts = PromptBuilder(default_labels(["a", "b"]), TokenizerCodec(tiny_tokenizer()), CONTEXT)
    split, texts = material.split, material.texts.texts
    n_asked, n_tuned = (
        prompts.n_overlong([texts[i] for i in rows])
        for rows in (split.held_out, (*split.train, *split.validation))
    )
    record = RunFolder(tmp_path / "run").read_run()
    counts = {name: each[field] for name, each in record["overlong"].items()}
    assert {name: counts[name] for name in ("base", "tuned", "tuning")} == {
        "base": n_asked,
        "tuned": n_asked,
        "tuning": n_tuned,
    }
    # Another wording is of another length, so that other texts fit it.
    assert set(counts.values()) > {n_asked, n_tuned}
    told = [line for line in said if words in line]
    assert f"For tuning {n_tuned} texts {words}" in " ".join(told)
    again, said_again = sized(tmp_path, policy)
    assert [line for line in said_again if words in line] == told
    assert again.analysis.consistency == outcome.analysis.consistency
    report = report_of(outcome.analysis, record, ())
    paragraphs = " ".join(each for section in report.sections for each in section.paragraphs)
    (off_task,) = sentences.off_task(outcome.analysis)
    assert report.summary[0] == off_task
    assert "of 100 draws of threshold rows, at most 10 give, on average, a threshold" in paragraphs
    assert "exact binomial (Clopper-Pearson)" in dict(report.provenance)["Intervals"]
    assert "Texts that did not fit the model's context: " in paragraphs
    assert "Mean label mass " in paragraphs


def test_what_cannot_be_said_after_the_prompt_is_named(tmp_path):
    rows = [f"Number {i} is fine,{'ab'[i % 2]}\n" for i in range(200)]
    (tmp_path / "texts.csv").write_text("text,label\n" + "".join(rows))
    (tmp_path / "labels.toml").write_text(
        'template = "{text}\\nIt is pos"\n'
        '[classes.a]\nverbalisers = ["itive", " sure"]\n[classes.b]\nverbalisers = [" no"]\n'
    )
    choice = DataChoice(str(tmp_path / "texts.csv"), labels_file=tmp_path / "labels.toml")
    job = Job(ModelSpec("random"), choice, tmp_path / "run", samples=0, charts=False)
    said: list[str] = []
    engine = tiny_engine()
    MainJob(job, lambda _spec: engine, silent, said.append).evaluate()
    engine.close()
    assert any(
        line.startswith("Not counted as answers") and line.endswith("prompt: 'itive'.")
        for line in said
    )


def tuned(folder, *, name="texts.csv", tuning="missing", **recipe) -> tuple[AdapterFit, list[str]]:
    """The adapter that a run folder has after tuning a small random model, and what was said."""
    job = Job(
        ModelSpec("random"), DataChoice(str(folder / name)), folder / "run", tuning=tuning,
        recipe=AdapterRecipe(**{"epochs": 1} | recipe), rank=2,
    )  # fmt: skip
    said: list[str] = []
    engine = tiny_engine()
    try:
        return MainJob(job, lambda _spec: engine, silent, said.append).tune(), said
    finally:
        engine.close()


def test_a_finished_adapter_is_replaced_only_where_that_is_asked_for(tmp_path):
    rows = [f"Number {i} is fine,{'ab'[i % 2]}\n" for i in range(200)]
    (tmp_path / "texts.csv").write_text("text,label\n" + "".join(rows))
    (tmp_path / "more.csv").write_text("text,label\n" + "".join(rows) + "One more is fine,a\n")
    first, said = tuned(tmp_path)
    assert any(line.startswith("Tuning trains ") and " of memory." in line for line in said)
    assert any(line.startswith("Trained ") and "%)" in line for line in said)
    run = tmp_path / "run"
    before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    assert tuned(tmp_path)[0] == first
    for changes, words in (
        ({"epochs": 2}, r"was tuned otherwise \(epochs 1 instead of 2\)"),
        ({"name": "more.csv"}, "other texts, labels or prompt"),
    ):
        with pytest.raises(AdapterMismatch, match=words) as refused:
            tuned(tmp_path, **changes)
        assert "--retune replaces it; --out with another folder keeps it" in str(refused.value)
    # Nothing of the run is another: it was refused before anything was written.
    assert {path: path.read_bytes() for path in run.rglob("*") if path.is_file()} == before
    again, _ = tuned(tmp_path, epochs=2, tuning="again")
    assert again.digest != first.digest
    (run / "adapter" / "glassbox.json").unlink()
    with pytest.raises(AdapterMismatch, match="it comes from another program"):
        tuned(tmp_path, epochs=2)
    assert tuned(tmp_path, epochs=2, tuning="again")[0].digest == again.digest
