"""A step is done once, under one configuration, by one process."""

import multiprocessing
from dataclasses import replace

import pytest

from glassbox.engine.resident import load_engine
from glassbox.errors import ConflictError, InvalidData, UnknownName
from glassbox.pathways.config import StudyConfig
from glassbox.pathways.layout import STEPS, StudyFolder
from glassbox.pathways.orchestration.running import Done, Step, file_inputs, run_step
from glassbox.pathways.orchestration.steps import TABLE, do_step, steps_of
from glassbox.pathways.orchestration.workplace import Workplace
from glassbox.testing import tiny_engine
from glassbox.types import ModelSpec
from tests.waiting import PATIENCE_S


def no_engine(spec):
    raise AssertionError("nobody needs a model here")


def place_in(folder, **sections):
    config = StudyConfig.from_json({"study": {"out": str(folder)}, **sections})
    return Workplace(config, no_engine)


def counting_step(calls):
    def work(place, key):
        calls.append(key.digest)
        output = place.folder.audit / "out.json"
        output.parent.mkdir(parents=True, exist_ok=True)
        output.write_text(str(place.config.audit.q))
        return Done([output], {"n": 1}, "counted")

    return Step(
        "audit", ("audit",), lambda _place: {}, work, lambda folder: [folder.audit / "out.json"]
    )


def test_a_finished_step_is_not_done_again(tmp_path):
    calls = []
    step = counting_step(calls)
    first = run_step(place_in(tmp_path), step)
    second = run_step(place_in(tmp_path), step)
    assert len(calls) == 1
    assert (first.was_there, second.was_there) == (False, True)
    assert second.words == "counted"
    assert second.figures == {"n": 1}


def test_a_finished_step_is_told_without_the_model(tmp_path):
    def work(place, key):
        calls.append(key.inputs)
        return Done([], {}, "")

    calls = []
    step = Step("validate", (), lambda place: place.model_inputs(), work, lambda _folder: [])
    place = place_in(tmp_path, model={"dtype": "float32", "device": "cpu"})
    place.__dict__["engine"] = load_engine(ModelSpec("tiny", dtype="float32", device="cpu"))
    assert not run_step(place, step).was_there
    place.engine.close()

    again = place_in(tmp_path, model={"dtype": "float32", "device": "cpu"})
    assert run_step(again, step).was_there
    assert len(calls) == 1
    assert set(calls[0]) == {"model", "saes"}


def test_dictionaries_of_another_model_are_refused_before_a_step_begins(tmp_path):
    def work(place, key):
        raise AssertionError("it never begins")

    step = Step("validate", (), lambda place: place.model_inputs(), work, lambda _folder: [])
    place = place_in(tmp_path, model={"dtype": "float32", "device": "cpu"})
    place.open_engine = lambda _spec: tiny_engine()
    with pytest.raises(InvalidData, match="made for another model"):
        run_step(place, step)
    place.close()
    assert not list(tmp_path.rglob(".step.json"))


def test_what_changes_no_result_does_not_have_it_made_again(tmp_path):
    calls = []
    run_step(place_in(tmp_path), counting_step(calls))
    run_step(place_in(tmp_path, parallel={"workers": 3}), counting_step(calls))
    assert len(calls) == 1


def test_another_configuration_is_refused_by_name_unless_it_is_to_be_made_anew(tmp_path):
    calls = []
    step = counting_step(calls)
    run_step(place_in(tmp_path), step)
    other = place_in(tmp_path, audit={"q": 0.1})
    with pytest.raises(ConflictError, match=r"audit\.q was 0\.05 and is 0\.1"):
        run_step(other, step)
    assert run_step(other, step, fresh=True).was_there is False
    assert (tmp_path / "results" / "audit" / "out.json").read_text() == "0.1"


def test_a_step_that_failed_before_its_first_file_may_begin_under_other_settings(tmp_path):
    def work(place, key):
        if place.config.audit.q == 0.05:
            raise InvalidData("nothing holds at this level")
        return counting_step([]).work(place, key)

    step = replace(counting_step([]), work=work)
    with pytest.raises(InvalidData, match="nothing holds"):
        run_step(place_in(tmp_path), step)
    assert run_step(place_in(tmp_path, audit={"q": 0.1}), step).was_there is False
    with pytest.raises(ConflictError, match="'glassbox pathways audit' with --fresh"):
        run_step(place_in(tmp_path), step)


def _hold(root, held, done):
    with place_in(root).alone():
        held.set()
        done.wait(PATIENCE_S)


def test_two_processes_do_not_work_in_one_folder(tmp_path):
    context = multiprocessing.get_context("fork")
    held, done = context.Event(), context.Event()
    other = context.Process(target=_hold, args=(tmp_path, held, done))
    other.start()
    try:
        assert held.wait(PATIENCE_S)
        with pytest.raises(ConflictError, match="Another process works in"):
            run_step(place_in(tmp_path), counting_step([]))
    finally:
        done.set()
        other.join(PATIENCE_S)
    assert run_step(place_in(tmp_path), counting_step([])).was_there is False


def test_a_step_that_comes_too_early_says_what_to_run_first(tmp_path):
    with pytest.raises(InvalidData, match="run 'glassbox pathways select' first"):
        file_inputs({tmp_path / "causal_features.json": "select"})
    with pytest.raises(InvalidData, match="glassbox pathways experiment"):
        do_step(place_in(tmp_path), "audit")


def test_every_step_has_a_row_and_a_folder(tmp_path):
    assert tuple(TABLE) == STEPS
    folder = StudyFolder(tmp_path)
    for name, step in TABLE.items():
        assert tmp_path in folder.of_step(name).parents
        assert all(tmp_path in each.parents for each in step.remains(folder))


def test_a_study_that_is_there_needs_no_experiment(tmp_path):
    assert steps_of(place_in(tmp_path)) == STEPS
    there = {"checkpoints": str(tmp_path / "c"), "response_logs": str(tmp_path / "l")}
    assert steps_of(place_in(tmp_path, data=there)) == STEPS[1:]


def test_an_unknown_step_is_named(tmp_path):
    with pytest.raises(UnknownName, match="'replay'"):
        do_step(place_in(tmp_path), "replay")
