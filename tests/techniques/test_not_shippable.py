"""What cannot travel is refused by the name of the variable that holds it."""

import functools
import socket
import threading

import pytest
import torch

from glassbox.errors import NotShippable
from glassbox.techniques import transport


def there_and_back(function):
    return transport.receive(transport.ship(function))


def capture(value):
    def captured_it(model, tokenizer):
        return value

    return captured_it


class Holder:
    def __init__(self, value):
        self.inside = value


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (
            torch.nn.Linear(1, 1),
            "'value' of captured_it is a model.*parameters model and tokenizer",
        ),
        ([{"a": threading.Lock()}], "'value' of captured_it is a lock"),
        (Holder(threading.RLock()), "'inside' in captured variable 'value'.* is a lock"),
        ((x for x in "ab"), "'value' of captured_it is a generator"),
    ],
    ids=["model", "lock", "object", "generator"],
)
def test_live_things_are_refused_by_the_name_of_the_variable(value, words):
    with pytest.raises(NotShippable, match=words):
        transport.ship(capture(value))


def test_sockets_files_tokenizers_and_defaults_are_refused_by_name(tmp_path):
    with socket.socket() as live, (tmp_path / "x").open("w") as file:
        with pytest.raises(NotShippable, match="'value' of captured_it is a socket"):
            transport.ship(capture(live))

        def spoken(model, tokenizer, out=file):
            return out

        with pytest.raises(NotShippable, match="default of parameter 'out' of spoken is an open"):
            transport.ship(spoken)
    fake = type(
        "PreTrainedTokenizerBase", (), {"__module__": "transformers.tokenization_utils_base"}
    )
    with pytest.raises(NotShippable, match="'value' of captured_it is a tokenizer"):
        transport.ship(capture(fake()))
    with pytest.raises(NotShippable, match="the object whose method it is"):
        transport.ship(Holder(threading.Lock()).__init__)


def test_what_pickle_alone_refuses_is_named_too():
    class Stubborn:
        def __reduce__(self):
            raise TypeError("no way")

    with pytest.raises(NotShippable, match="'value' of captured_it cannot travel: no way"):
        transport.ship(capture(Stubborn()))


def test_large_captured_values_are_refused_with_name_and_size():
    def greedy(model, tokenizer):
        return table.sum(), text[:1], small

    table = torch.zeros(2 * 2**20)
    text = "x" * (3 * 2**20)
    small = [1, 2]
    with pytest.raises(
        NotShippable,
        match=r"captures 11\.0 MiB.*'table' of greedy: 8\.0 MiB; .*'text' of greedy: 3\.0 MiB",
    ) as caught:
        transport.ship(greedy)
    assert "small" not in str(caught.value)
    with pytest.raises(NotShippable, match="'value' of captured_it"):
        transport.ship(capture({i: str(i) for i in range(400_000)}))
    assert there_and_back(capture(torch.ones(2**20)))(None, None).sum() == 2**20


def test_what_yields_or_waits_is_refused_with_the_reason():
    def stream(model, tokenizer):
        yield 1

    async def wait(model, tokenizer):
        return 1

    with pytest.raises(NotShippable, match=r"stream is a generator function.*Return a list"):
        transport.ship(stream)
    with pytest.raises(NotShippable, match="wait is an async function"):
        transport.ship(wait)
    with pytest.raises(NotShippable, match="generator function"):
        transport.ship(functools.partial(stream, 1))
    with pytest.raises(NotShippable, match="Holder is no function"):
        transport.ship(Holder)


def test_values_nested_too_deeply_are_named():
    deep = []
    for _ in range(3000):
        deep = [deep]
    with pytest.raises(NotShippable, match="'value' of captured_it is nested too deeply"):
        transport.ship(capture(deep))
