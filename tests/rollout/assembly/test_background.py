"""Work beside requests: again and again, by one of several servers, whatever a turn raises."""

import threading

from glassbox.errors import CapacityError, InvalidValue
from glassbox.rollout.assembly.background import Background, Job
from tests.waiting import PATIENCE_S, until


def test_every_job_is_done_again_and_again_until_the_end():
    done = {"a": threading.Semaphore(0), "b": threading.Semaphore(0)}
    jobs = [Job(name, 0.001, done[name].release) for name in done]
    background = Background(jobs, lambda _job: True)
    background.start()
    for each in done.values():
        for _ in range(5):
            assert each.acquire(timeout=PATIENCE_S)
    background.close()
    n_threads = [each.name for each in threading.enumerate()]
    assert "glassbox-a" not in n_threads
    assert all(each.is_ours and not each.failure for each in background.status())


def test_only_the_holder_of_the_lease_works_but_everybody_does_their_own():
    done = []
    shared = Job("shared", 9, lambda: done.append("shared"))
    own = Job("own", 9, lambda: done.append("own"), is_shared=False)
    background = Background([shared, own], lambda _job: False, clock=lambda: 7.0)
    background.turn(shared)
    background.turn(own)
    assert done == ["own"]
    assert [(each.is_ours, each.last_s) for each in background.status()] == [
        (False, None),
        (True, 7.0),
    ]


def test_a_turn_that_fails_is_shown_and_the_next_one_comes():
    words = [CapacityError("The database does not answer."), RuntimeError("a secret"), None]

    def work():
        error = words.pop(0)
        if error is not None:
            raise error

    job = Job("job", 9, work)
    background = Background([job], lambda _job: True)
    background.turn(job)
    assert background.status()[0].failure == "The database does not answer."
    background.turn(job)
    assert background.status()[0].failure == "RuntimeError"
    background.turn(job)
    assert background.status()[0].failure == ""


def test_a_lease_that_cannot_be_asked_for_ends_no_thread():
    def away(_job):
        raise CapacityError("The database does not answer.")

    job = Job("job", 9, lambda: None)
    background = Background([job], away)
    background.turn(job)
    assert background.status()[0].failure == "The database does not answer."


def test_a_server_that_ends_gives_its_jobs_back():
    given = []
    shared, own = Job("shared", 0.001, lambda: None), Job("own", 0.001, lambda: None, False)
    background = Background([shared, own], lambda _job: True, lambda job: given.append(job.name))
    background.start()
    until(lambda: background.status()[0].last_s is not None)
    background.close()
    assert given == ["shared"]


def test_the_end_does_not_wait_for_ever():
    begun, gate, ended = threading.Event(), threading.Event(), []

    def slow():
        begun.set()
        ended.append(gate.wait(PATIENCE_S))

    background = Background([Job("slow", 0.001, slow)], lambda _job: True)
    background.start()
    assert begun.wait(PATIENCE_S)
    from glassbox.rollout.assembly import background as module

    patience, module.JOIN_S = module.JOIN_S, 0.05
    try:
        background.close()
        assert not ended
    finally:
        module.JOIN_S = patience
        gate.set()


def test_a_failure_is_not_shown_in_words_that_may_quote_a_record():
    def work():
        raise InvalidValue("segment", "a customer's name", "another one")

    job = Job("job", 9, work)
    background = Background([job], lambda _job: True)
    background.turn(job)
    assert background.status()[0].failure == "invalid-value"
