"""The other side goes away: what may be made again is, once and no more."""

import pytest

from glassbox.errors import TechniqueFailed, Unreachable
from glassbox.techniques.calls import RemoteError, Run

WAIT_S = 60.0


def doubled(model, tokenizer, number, *, plus=0):
    return 2 * number + plus


def test_a_side_that_went_away_is_started_again(client, backend):
    client.run(doubled, 1)
    real, n_failures = backend.submit, []

    def gone_once(call, *, wait_s=0.0):
        if not n_failures:
            n_failures.append(1)
            backend.known.clear()
            raise refused
        return real(call, wait_s=wait_s)

    refused = Unreachable("nobody there")
    refused.never_arrived = True
    backend.submit = gone_once
    assert client.run(doubled, 2) == 4
    assert backend.n_started == 2


def test_a_call_that_may_have_been_taken_is_not_made_again(client, backend):
    client.run(doubled, 1)
    real, asked = backend.submit, []

    def broken_once(call, *, wait_s=0.0):
        asked.append(call)
        if len(asked) == 1:
            raise Unreachable("the connection broke off")
        return real(call, wait_s=wait_s)

    backend.submit = broken_once
    with pytest.raises(Unreachable, match="broke off"):
        client.run(doubled, 2)
    assert len(asked) == 1
    # The next one begins anew: what was resident may have gone.
    assert client.run(doubled, 2) == 4
    assert backend.n_started == 2


def test_a_call_that_had_not_begun_when_its_worker_ended_is_made_again(client, backend):
    real, n_lost = backend.submit, []

    def lost_once(call, *, wait_s=0.0):
        if not n_lost:
            n_lost.append(1)
            error = RemoteError("x.Y", "gone", "", code="never-started")
            return Run("lost-1", "lost", error=error)
        return real(call, wait_s=wait_s)

    backend.submit = lost_once
    assert client.run(doubled, 2) == 4


def lost_while_waiting(backend, n_times):
    """Have so many calls wait, and their worker end before they begin."""
    real_submit, real_run, submitted = backend.submit, backend.run, []

    def submit(call, *, wait_s=0.0):
        submitted.append(f"waiting-{len(submitted)}")
        if len(submitted) > n_times:
            return real_submit(call, wait_s=wait_s)
        return Run(submitted[-1], "queued")

    def run(run_id, *, after=0, wait_s=0.0):
        if run_id in submitted:
            return Run(run_id, "lost", error=RemoteError("x.Y", "gone", "", code="never-started"))
        return real_run(run_id, after=after, wait_s=wait_s)

    backend.submit, backend.run = submit, run
    backend.cancel = lambda run_id: backend.cancelled.append(run_id)
    return submitted


def test_a_run_whose_worker_ended_while_it_waited_is_submitted_again(client, backend):
    submitted = lost_while_waiting(backend, 1)
    run = client.submit(doubled, 2)
    before = run.id
    assert run.result(WAIT_S) == 4
    assert submitted[0] == before
    assert run.id not in submitted
    assert run.status == "succeeded"


def test_what_loses_its_worker_again_and_again_is_lost_in_the_end(client, backend):
    submitted = lost_while_waiting(backend, 99)
    run = client.submit(doubled, 2)
    with pytest.raises(TechniqueFailed, match="gone"):
        run.result(WAIT_S)
    assert len(submitted) == 3


def test_what_was_cancelled_is_not_submitted_again(client, backend):
    submitted = lost_while_waiting(backend, 1)
    run = client.submit(doubled, 2)
    run.cancel()
    with pytest.raises(TechniqueFailed, match="gone"):
        run.result(WAIT_S)
    assert (len(submitted), backend.cancelled) == (1, ["waiting-0"])


def test_a_call_of_a_session_is_not_submitted_again(client, backend):
    with client.session() as session:
        submitted = lost_while_waiting(backend, 1)
        run = session.submit(doubled, 2)
        with pytest.raises(TechniqueFailed, match="gone"):
            run.result(WAIT_S)
    assert len(submitted) == 1
