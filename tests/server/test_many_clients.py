"""A thousand clients at once: each gets an answer or is told to come back; none is forgotten."""

import asyncio
import json
from collections import Counter

import anyio
import httpx

from glassbox.server.access.guards import Guards
from glassbox.server.app import create_app
from glassbox.server.serving import Serving
from glassbox.server.translation.speech import Speaker
from glassbox.testing import FakeEngine

N_CLIENTS = 1000
N_WAITING = 200


def test_a_thousand_clients_are_answered_or_told_to_come_back() -> None:
    engine = FakeEngine(max_waiting=N_WAITING)
    guards = Guards()
    app = create_app(Serving(Speaker(engine, "fake")), guards)
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)

    async def run() -> list[httpx.Response]:
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:

            def ask(number: int) -> object:
                asked = {"model": "fake", "prompt": f"number {number}", "seed": number}
                asked |= {"max_tokens": 1}
                return client.post(
                    "/v1/completions",
                    content=json.dumps(asked),
                    headers={
                        "content-type": "application/json",
                        "x-request-id": f"r{number}",
                    },
                )

            return await asyncio.gather(*(ask(number) for number in range(N_CLIENTS)))  # type: ignore[call-overload,no-any-return]

    answers = anyio.run(run)
    counted = Counter(answer.status_code for answer in answers)
    assert set(counted) <= {200, 429}
    assert counted[200] >= N_WAITING
    for number, answer in enumerate(answers):
        assert answer.headers["x-request-id"] == f"r{number}"
        if answer.status_code == 429:
            assert int(answer.headers["retry-after"]) >= 1
    ids = [answer.json()["id"] for answer in answers if answer.status_code == 200]
    assert len(set(ids)) == len(ids)
    assert guards.lifecycle.n_running == 0
    shown = guards.metrics.text().decode()
    finished = sum(
        float(line.rpartition(" ")[2])
        for line in shown.splitlines()
        if line.startswith("glassbox:request_success_total")
    )
    assert finished == counted[200]
    engine.close()
