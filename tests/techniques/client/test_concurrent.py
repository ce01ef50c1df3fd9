"""The client for event loops beside a small backend."""

import asyncio
import time
from collections import Counter

import pytest

from glassbox.errors import ConflictError, DeadlineExceeded, TechniqueFailed
from glassbox.techniques.client.concurrent import AsyncInterpClient
from tests.techniques.small_backend import MODEL_INFO, SmallBackend
from tests.waiting import PATIENCE_S, clock_of_this_process, until


def doubled(model, tokenizer, number):
    return 2 * number


def telling(model, tokenizer, seconds):
    model[0]("begun")
    time.sleep(seconds)
    model[0]("done")
    return seconds


def silent(model, tokenizer, seconds):
    time.sleep(seconds)


def failing(model, tokenizer):
    raise ValueError("not today")


def test_everything_a_client_does_can_be_awaited(tmp_path):
    backend = SmallBackend()
    (tmp_path / "mine.py").write_text("def tripled(model, tokenizer, x):\n    return 3 * x\n")

    async def work():
        async with AsyncInterpClient(backend=backend, quiet=True) as client:
            assert await client.run(doubled, 4) == 8
            assert client.last is not None
            assert client.last.name == "doubled"
            assert await client.map(doubled, [1, 2]) == [2, 4]
            assert await client.model_info() == MODEL_INFO
            assert (await client.environment()).python == backend.there.python
            await client.load_techniques_from_dir(tmp_path)
            assert await client.run("tripled", 2) == 6
            assert "tripled" in await client.techniques()
            async with await client.session() as session:
                assert await session.run(doubled, 1) == 2
            async with client.session() as session:
                kept = await session.keep(doubled, 4)
                assert await session.run(doubled, kept) == 16
                assert await session.get(await session.put("x")) == "x"
            with pytest.raises(ValueError, match="not today") as caught:
                await client.run(failing)
            assert isinstance(caught.value.__cause__, TechniqueFailed)

    asyncio.run(work())
    assert backend.is_closed
    assert not backend.sessions


def test_many_runs_are_waited_for_at_a_time():
    async def work():
        async with AsyncInterpClient(backend=SmallBackend(), quiet=True) as client:
            await client.start()
            with clock_of_this_process() as clock:
                results = await asyncio.gather(*(client.run(telling, 0.4) for _ in range(12)))
                assert clock() < 4
            assert results == [0.4] * 12

    asyncio.run(work())


def test_lines_come_while_it_runs_and_the_loop_never_stands_still():
    async def work():
        async with AsyncInterpClient(backend=SmallBackend(), quiet=True) as client:
            run = await client.submit(telling, 0.4)
            assert await run.status() == "running"
            assert [line async for line in run.lines()] == ["begun", "done"]
            assert await run.result(timeout_s=PATIENCE_S) == 0.4
            assert run.has_ended
            assert run.undone == ("1 forward hook removed",)
            assert run.timing.run_s > 0

    asyncio.run(work())


def test_cancelling_the_task_cancels_the_run():
    backend = SmallBackend()

    async def work():
        async with AsyncInterpClient(backend=backend, quiet=True) as client:
            await client.start()
            task = asyncio.create_task(client.run(telling, 600))
            await asyncio.to_thread(until, lambda: len(backend.runs) == 1)
            await asyncio.sleep(0.3)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            early = asyncio.create_task(client.submit(silent, 600))
            await asyncio.sleep(0.05)
            early.cancel()
            with pytest.raises(asyncio.CancelledError):
                await early
            await asyncio.to_thread(until, lambda: len(backend.cancelled) == 2)

    asyncio.run(work())
    assert len(backend.cancelled) == 2


def test_giving_up_a_hundred_runs_ends_them_all_at_once():
    backend = SmallBackend()

    async def work():
        async with AsyncInterpClient(backend=backend, quiet=True) as client:
            await client.start()
            with clock_of_this_process() as clock:
                with pytest.raises(TimeoutError):
                    await asyncio.wait_for(
                        asyncio.gather(*(client.run(silent, 600) for _ in range(100))), 1.0
                    )
                assert clock() < 5
            # Nobody stands in the way of the next call.
            assert await asyncio.wait_for(client.run(doubled, 4), PATIENCE_S) == 8

    asyncio.run(work())

    def statuses():
        return Counter(run.status for run in backend.runs.values())

    # What was still being handed in when its task ended is told a moment later.
    until(lambda: statuses() == {"succeeded": 1, "cancelled": len(backend.runs) - 1})


def test_a_task_that_stops_waiting_for_a_submitted_run_cancels_it():
    backend = SmallBackend()

    async def work():
        async with AsyncInterpClient(backend=backend, quiet=True) as client:
            run = await client.submit(silent, 600)
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(run.result(), 0.2)
            assert backend.cancelled == [run.id]

    asyncio.run(work())


def test_a_result_that_is_waited_for_in_vain_leaves_the_run_going_on():
    backend = SmallBackend()

    async def work():
        async with AsyncInterpClient(backend=backend, quiet=True) as client:
            run = await client.submit(telling, 1.0)
            with pytest.raises(DeadlineExceeded, match=r"has not ended within 0\.1 s"):
                await run.result(timeout_s=0.1)
            assert not await run.wait(timeout_s=0.1)
            assert not backend.cancelled
            assert await run.result() == 1.0

    asyncio.run(work())


def test_a_run_can_be_asked_about_and_cancelled_while_all_threads_wait():
    backend = SmallBackend()

    async def work():
        async with AsyncInterpClient(backend=backend, quiet=True) as client:
            run = await client.submit(silent, 600)
            waiting = [asyncio.create_task(run.wait()) for _ in range(80)]
            abandoned = asyncio.create_task(anext(run.lines()))
            await asyncio.sleep(0.2)
            abandoned.cancel()
            with clock_of_this_process() as clock:
                assert await run.status() == "running"
                await run.cancel()
                assert all(await asyncio.gather(*waiting))
                assert clock() < 3

    asyncio.run(work())


def test_a_closed_client_says_so():
    async def work():
        client = AsyncInterpClient(backend=SmallBackend(), quiet=True)
        run = await client.submit(silent, 600)
        waiting = asyncio.create_task(run.wait())
        await asyncio.sleep(0.1)
        await client.close()
        with pytest.raises(ConflictError, match="closed"):
            await waiting
        with pytest.raises(ConflictError, match="closed"):
            await client.run(doubled, 4)

    asyncio.run(work())
