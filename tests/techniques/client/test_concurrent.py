"""The client for event loops beside a small backend."""

import asyncio
import time

import pytest

from glassbox.errors import TechniqueFailed
from glassbox.techniques.client.concurrent import AsyncInterpClient
from tests.techniques.small_backend import MODEL_INFO, SmallBackend


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
            begun = time.monotonic()
            results = await asyncio.gather(*(client.run(telling, 0.4) for _ in range(12)))
            assert results == [0.4] * 12
            assert time.monotonic() - begun < 4

    asyncio.run(work())


def test_lines_come_while_it_runs_and_the_loop_never_stands_still():
    async def work():
        async with AsyncInterpClient(backend=SmallBackend(), quiet=True) as client:
            run = await client.submit(telling, 0.4)
            assert await run.status() == "running"
            assert [line async for line in run.lines()] == ["begun", "done"]
            assert await run.result(timeout_s=5) == 0.4
            assert run.has_ended
            assert run.undone.notes == ("1 forward hook removed",)
            assert run.timing.run_s > 0

    asyncio.run(work())


def test_cancelling_the_task_cancels_the_run():
    backend = SmallBackend()

    async def work():
        async with AsyncInterpClient(backend=backend, quiet=True) as client:
            await client.start()
            task = asyncio.create_task(client.run(telling, 30))
            await asyncio.sleep(0.6)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            early = asyncio.create_task(client.submit(silent, 30))
            await asyncio.sleep(0.05)
            early.cancel()
            with pytest.raises(asyncio.CancelledError):
                await early
            for _ in range(100):
                if len(backend.cancelled) == 2:
                    break
                await asyncio.sleep(0.02)

    asyncio.run(work())
    assert len(backend.cancelled) == 2
