"""What a notebook's cell gets wrong is told at once, and what it prints can be read."""

import asyncio

import pytest

from glassbox.errors import InvalidValue
from glassbox.techniques.client.blocking import InterpClient
from glassbox.techniques.client.concurrent import AsyncInterpClient
from tests.techniques.small_backend import SmallBackend
from tests.untyped import outcomes


def doubled(model, tokenizer, number):
    return 2 * number


@pytest.fixture
def client():
    with InterpClient("mine", "tiny", backend=SmallBackend(), quiet=True) as made:
        yield made


def test_inputs_that_can_be_gone_through_once_are_all_mapped(client):
    assert client.map(doubled, (n for n in (1, 2, 3))) == [2, 4, 6]
    assert client.map(doubled, ({"number": n} for n in (1, 2, 3))) == [2, 4, 6]
    assert client.map(doubled, range(3)) == [0, 2, 4]
    assert client.map(doubled, []) == []

    async def work():
        async with AsyncInterpClient(backend=SmallBackend(), quiet=True) as other:
            return await other.map(doubled, (n for n in (1, 2, 3)))

    assert asyncio.run(work()) == [2, 4, 6]


@pytest.mark.parametrize("inputs", ["one text", b"bytes", {"number": 1}], ids=repr)
def test_a_single_input_is_not_taken_for_several(client, inputs):
    with pytest.raises(InvalidValue, match=r"^inputs is .*Put a single one into square brackets"):
        client.map(doubled, inputs)


def test_what_is_shown_of_clients_runs_and_sessions_says_which(client):
    assert repr(client) == "InterpClient('mine', 'tiny', backend='SmallBackend')"
    assert repr(client.options(quiet=False)) == repr(client)
    run = client.submit(doubled, 2)
    assert run.wait(60)
    assert repr(run) == f"TechniqueRun('doubled', {run.id!r}, last heard: succeeded)"
    with client.session() as session:
        assert repr(session) == f"RemoteSession({session.id!r})"
    made = AsyncInterpClient("mine", backend=SmallBackend(), quiet=True)
    assert repr(made) == "AsyncInterpClient('mine', None, backend='SmallBackend')"


SCRIPT = """
from glassbox import InterpClient
from tests.techniques.small_backend import SmallBackend

def doubled(model, tokenizer, number):
    return 2 * number

client = InterpClient(backend=SmallBackend(), quiet=True)
session = client.session()
"""


def test_what_has_the_wrong_type_is_refused_by_name():
    cases = {
        "client.run(doubled(None, None, 3))": "technique is 6; allowed: a function, or the name",
        "client.map(doubled, 3)": "inputs is 3; allowed: a list",
        "session.get(3)": "reference is 3; allowed: what put or keep of this session returned",
        "client.options(limits=3)": "limits is 3; allowed: glassbox.techniques.Limits",
        "InterpClient(backend=SmallBackend(), limits={'wall_s': 3})": "limits is {'wall_s': 3}",
        "InterpClient(backend=SmallBackend(), on_line='x')": "on_line is 'x'; allowed: a function",
    }
    for (case, words), (kind, text) in zip(cases.items(), outcomes(SCRIPT, cases), strict=True):
        assert (kind, text[: len(words)]) == ("InvalidValue", words), case
