"""The two halves of a carried backend, without anything between them."""

import gc
import threading
import time
import weakref

import orjson
import pytest

from glassbox.engine.model import lent_weights
from glassbox.engine.resident import ResidentEngine
from glassbox.errors import (
    ConflictError,
    GlassboxError,
    IntegrityError,
    InvalidValue,
    QueueFull,
    TechniqueFailed,
    UnknownName,
)
from glassbox.techniques.calls import Packed
from glassbox.techniques.carrying.far_side import FarBackend, Residence, is_gone
from glassbox.techniques.running.open_desk import desk_of
from glassbox.techniques.worker_spec import WorkerSpec
from glassbox.testing import tiny_engine, tiny_loaded
from tests.contracts.backend_world import answer, call_of, ended, fresh, until, untold
from tests.untyped import outcomes
from tests.waiting import PATIENCE_S


def opened(_progress):
    return desk_of(tiny_engine(), WorkerSpec())


@pytest.fixture
def residence():
    made = Residence(opened)
    yield made
    made.close()


def test_loading_is_told_and_its_errors_can_be_tried_again():
    go_on, tries = threading.Event(), []

    def slowly(progress):
        tries.append(1)
        progress("reading weights", 0.5)
        go_on.wait(PATIENCE_S)
        if len(tries) == 1:
            raise UnknownName("model", "nix", ["tiny"])
        return opened(progress)

    residence = Residence(slowly)
    told = []

    def tell(doing, share):
        told.append((doing, share))
        go_on.set()

    backend = FarBackend(residence.answer)
    with pytest.raises(UnknownName, match="No model 'nix'") as caught:
        backend.start(tell)
    assert ("reading weights", 0.5) in told
    assert (caught.value.kind, caught.value.name) == ("model", "nix")
    backend.start(untold)
    assert answer(backend, fresh("return 5")) is not None
    residence.close()


def test_nothing_is_loaded_to_say_that_a_run_is_lost(residence):
    backend = FarBackend(residence.answer)
    assert backend.run("run-of-old").status == "lost"
    backend.cancel("run-of-old")
    backend.close_session("session-of-old")
    assert backend.n_under_way() == 0
    assert residence._desk is None


def test_an_idle_residence_ends_and_then_sends_every_question_back(residence):
    backend = FarBackend(residence.answer)
    assert not residence.end_if_idle(60.0)
    answer(backend, fresh())
    session = backend.open_session()
    assert not residence.end_if_idle(0.05)
    backend.close_session(session)
    until(lambda: residence.end_if_idle(0.05), 5.0)
    assert is_gone(residence.answer(Packed(orjson.dumps({"ask": "load"}))))


def test_a_running_residence_does_not_end(residence):
    backend = FarBackend(residence.answer)
    run = backend.submit(call_of(fresh("import time; time.sleep(0.5)")))
    time.sleep(0.2)
    assert not residence.end_if_idle(0.05)
    assert backend.n_under_way() == 1
    assert ended(backend, run)[0].status == "succeeded"


def test_a_desk_that_failed_is_replaced(residence):
    backend = FarBackend(residence.answer)
    answer(backend, fresh())
    first = residence.desk()
    first.close()
    assert first.failure
    assert answer(backend, fresh("return 'again'")) == "again"
    assert residence.desk() is not first


def test_what_harmed_the_model_is_told_and_two_models_are_never_there(monkeypatch):
    monkeypatch.setattr(lent_weights, "COPY_BYTES", 0)
    models = []

    def opened_here(_progress):
        assert not any(each() for each in models), "the former model is still there"
        loaded = tiny_loaded()
        models.append(weakref.ref(loaded.model))
        engine = ResidentEngine(loaded)
        return desk_of(engine, WorkerSpec(), on_close=engine.close)

    residence = Residence(opened_here)
    backend = FarBackend(residence.answer)
    session = backend.open_session()
    spoil = fresh("import torch; torch.nn.init.zeros_(model.lm_head.weight)")
    run = backend.submit(call_of(spoil))
    until(lambda: residence._desk.result().failure, 10.0)
    backend.cancel(run.id)
    backend.close_session(session)
    backend.environment()
    backend.model_info()
    with pytest.raises(ConflictError, match="has failed"):
        backend.result(run.id)
    assert "changed weight" in ended(backend, run)[0].error.message
    assert len(models) == 1
    backend.start(untold)
    assert [each() is not None for each in models] == [False, True]
    assert "changed weight" in backend.run(run.id).error.message, "it is still known"
    assert answer(backend, fresh("return 'again'")) == "again"
    residence.close()
    gc.collect()
    assert not any(each() for each in models)


@pytest.mark.parametrize(
    "error",
    [QueueFull(3, 1.5), InvalidValue("n", 3, "1 or 2"), UnknownName("thing", "a", ["b"])],
)
def test_errors_of_ours_come_as_they_were(error):
    class Refusing:
        failure = ""

        def start(self, _progress):
            """It is there."""

        def model_info(self):
            raise error

    residence = Residence(lambda _progress: Refusing())
    with pytest.raises(type(error)) as caught:
        FarBackend(residence.answer).model_info()
    assert str(caught.value) == str(error)
    plain = {name: value for name, value in vars(error).items() if not isinstance(value, tuple)}
    assert {name: vars(caught.value)[name] for name in plain} == plain


def test_an_error_of_another_version_is_still_an_error():
    told = orjson.dumps({"refused": {"code": "from-mars", "message": "no", "attributes": {}}})
    with pytest.raises(IntegrityError, match="unknown code 'from-mars'"):
        FarBackend(lambda _asked: Packed(told)).model_info()


def test_a_far_half_that_went_away_leaves_lost_runs():
    def gone(_asked):
        raise TechniqueFailed("It went away: killed.")

    backend = FarBackend(gone)
    run = backend.submit(call_of(fresh()))
    assert (run.status, run.error.message) == ("lost", "It went away: killed.")
    assert backend.run("run-1").id == "run-1"
    assert backend.run("run-1").status == "lost"
    backend.cancel("run-1")
    backend.close_session("session-1")
    with pytest.raises(GlassboxError, match="killed"):
        backend.model_info()


def test_errors_are_of_the_public_tree_whatever_else_is_imported():
    setup = """
import glassbox.engine.lora.tiers, glassbox.techniques.local.connections
from glassbox.errors import CapacityError, Unreachable
from glassbox.techniques.carrying.far_side import _error_fields, _error_of

def again(error):
    return type(_error_of(_error_fields(error))).__name__
"""
    found = outcomes(setup, ["again(CapacityError('full'))", "again(Unreachable('away'))"])
    assert [text for _, text in found] == ["'CapacityError'", "'Unreachable'"]
