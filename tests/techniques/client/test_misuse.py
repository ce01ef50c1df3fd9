"""What a notebook's cell gets wrong is told at once, and what it prints can be read."""

import asyncio
from pathlib import Path

import pandas as pd
import pytest

from glassbox.errors import InvalidValue
from glassbox.techniques.calls import Limits
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


def test_the_names_of_an_input_are_those_of_parameters(client):
    words = r"a key of inputs\[1\] is 3; allowed: the name of a parameter"
    with pytest.raises(InvalidValue, match=words):
        client.map(doubled, [{"number": 1}, {3: 1}])


def test_the_columns_of_a_frame_are_not_taken_for_its_rows(client):
    frame = pd.DataFrame({"number": [1, 2]})
    with pytest.raises(InvalidValue, match=r"inputs is 'DataFrame'.* Give \.to_dict\('records'\)"):
        client.map(doubled, frame)
    assert client.map(doubled, frame.to_dict("records")) == [2, 4]
    assert client.map(doubled, frame["number"]) == [2, 4]


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
import numpy as np
from glassbox import InterpClient, convert_technique_to_standalone
from glassbox.techniques import Limits
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
        "InterpClient(backend=None)": "backend is None; allowed: local, ray, modal, http://…",
        "InterpClient(backend=object)": "backend is <class 'object'>; allowed: local, ray",
        "InterpClient(backend='http://127.0.0.1:a')": "url is 'http://127.0.0.1:a'; allowed: an a",
        "InterpClient(backend='http://me:secret@127.0.0.1:1')": "url is 'http://…@127.0.0.1:1'",
        "InterpClient(app_name=None)": "app_name is None; allowed: a name that is not empty",
        "InterpClient(model_name=5)": "model_name is 5; allowed: a folder, a hub name",
        "InterpClient(model_name='')": "model_name is ''; allowed: a folder, a hub name",
        "InterpClient(gpu=['A100'])": "gpu is ['A100']; allowed: one name",
        "InterpClient(keep_warm='2')": "min_containers is '2'; allowed: 0 or more",
        "InterpClient(dtype=np.float32)": "dtype is <class 'numpy.float32'>; allowed: auto",
        "InterpClient(hidden_system_prompt=5)": "hidden_system_prompt is 'int'; allowed: one",
        "client.options(limits=Limits(wall_s='5'))": "wall_s is '5'; allowed: a number of seconds",
        "client.load_techniques_from_dir(None)": "path is None; allowed: a folder",
        "client.submit(doubled, 1).result('5')": "timeout_s is '5'; allowed: a number of seconds",
        "convert_technique_to_standalone(b'def f(self): 1')": "source is b'def f(self): 1'; allo",
    }
    for (case, words), (kind, text) in zip(cases.items(), outcomes(SCRIPT, cases), strict=True):
        assert (kind, text[: len(words)]) == ("InvalidValue", words), case


def test_a_key_that_is_no_text_is_not_shown():
    case = "InterpClient(backend='http://127.0.0.1:1', api_key=b'secret')"
    refused = ("UsageError", "The API key is text, not of type bytes.")
    assert outcomes(SCRIPT, [case]) == [refused]


@pytest.mark.parametrize(
    ("name", "value"),
    [("wall_s", 0), ("wall_s", float("nan")), ("cpu_s", -1.0), ("memory_bytes", 0)],
)
def test_what_is_no_limit_is_refused_before_anything_travels(name, value):
    with pytest.raises(InvalidValue, match=rf"^{name} is .*; allowed: a number of .* above 0"):
        Limits(**{name: value})


def test_a_folder_may_be_given_as_a_path(tmp_path, monkeypatch):
    monkeypatch.setenv("GLASSBOX_PATHS__WORKERS", str(tmp_path / "workers"))
    client = InterpClient(model_name=tmp_path, quiet=True)
    assert client.backend.spec.model == str(tmp_path)
    client = InterpClient(model_name="adapter", base_model=Path("base"), is_peft=True, quiet=True)
    assert client.backend.spec.model == "base"


def test_options_that_do_nothing_at_a_place_are_said():
    client = InterpClient(backend=SmallBackend(), deploy=True, address="a", api_key="b", quiet=True)
    assert [note.partition(" ")[0] for note in client.notes] == ["deploy", "address", "api_key"]
    server = InterpClient(backend="http://127.0.0.1:1", api_key="b", device="cpu", quiet=True)
    assert server.notes == (
        "dtype and device do nothing with a server, which has its model already.",
    )
