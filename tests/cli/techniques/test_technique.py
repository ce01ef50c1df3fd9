"""``glassbox technique`` on the embedded model, as a newcomer would type it."""

import textwrap

import numpy as np
import orjson
import pytest
from safetensors.numpy import load_file

from glassbox.charts.panels import Bars, HeatMap, Lines, Passages, TokenColouring
from glassbox.cli.main import main
from glassbox.cli.techniques.panels import print_view
from glassbox.cli.terminal.exit_codes import ExitCode
from glassbox.engine.resident import load_engine
from glassbox.techniques.running.desk import Desk
from glassbox.types import ModelSpec

MINE = '''\
import torch


def ranks(model, tokenizer, text, top=3):
    """The most probable next tokens.

    Args:
        text: What is read.
        top: How many.
    """
    inputs = tokenizer(text, return_tensors="pt").to(model.device)
    print("reading", text)
    with torch.no_grad():
        best = model(**inputs).logits[0, -1].softmax(-1).topk(top)
    model.train()
    return {"ids": best.indices.tolist(), "probs": best.values}


def broken(model, tokenizer, n=0):
    return 1 / n


def bare(model, tokenizer):
    return torch.arange(3.0)
'''


@pytest.fixture(scope="module")
def desk():
    engine = load_engine(ModelSpec("tiny", dtype="float32"))
    desk = Desk(engine)
    close = desk.close
    # A command lets go of its backend; this one is for all tests.
    desk.close = lambda: None
    yield desk
    close()
    engine.close()


@pytest.fixture(autouse=True)
def _in_this_process(monkeypatch, request, tmp_path):
    """Every backend is a desk of this process; files are written where nobody minds."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.py").write_text(MINE, encoding="utf-8")
    if "desk" in request.fixturenames:
        desk = request.getfixturevalue("desk")
        monkeypatch.setattr(
            "glassbox.techniques.client.blocking.open_backend", lambda *_given: (desk, ())
        )


def answer(capsys, *words):
    assert main(["technique", *words, "--json"]) == 0
    return orjson.loads(capsys.readouterr().out)


def test_the_list_names_every_built_in_technique(capsys):
    found = {each["name"]: each for each in answer(capsys, "list")}
    assert len(found) >= 13
    assert found["logit_lens"]["arguments"][0] == {
        "name": "text",
        "type": "str",
        "required": True,
        "default": None,
        "meaning": "Read token by token.",
    }
    assert all(each["summary"] and each["paper"] and each["result"] for each in found.values())
    assert main(["technique", "list"]) == 0
    assert "token_surprisal" in capsys.readouterr().out


def test_a_folder_with_a_broken_file_lists_the_others_and_names_it(capsys, tmp_path):
    (tmp_path / "bad.py").write_text("def oops(:\n", encoding="utf-8")
    assert main(["technique", "list", "."]) == ExitCode.INCOMPLETE
    shown = capsys.readouterr()
    assert "ranks" in shown.out
    assert "bad.py could not be read" in shown.err


def test_a_technique_explains_itself(capsys):
    assert main(["technique", "show", "logit_lens"]) == 0
    shown = capsys.readouterr().out
    for words in ("Logit lens", "nostalgebraist", "required", "entropy", "logit_lens --arg text="):
        assert words in shown
    assert main(["technique", "show", "mine.py:ranks"]) == 0
    assert "run mine.py:ranks --arg text=…" in capsys.readouterr().out
    assert main(["technique", "show", "steer"]) == 0
    assert "--json > vector.json\n" in capsys.readouterr().out
    assert answer(capsys, "show", "mine.py:ranks")["arguments"][1]["default"] == 3


def test_a_built_in_technique_runs_and_draws(desk, capsys, tmp_path):
    words = ("run", "logit_lens", "--arg", "text=The cook", "--arg", "top_k=2")
    told = answer(capsys, *words, "--png", "a.png", "--html", "a.html")
    assert told["run"]["status"] == "succeeded"
    assert np.shape(told["result"]["top_logprobs"])[::2] == (8, 2)
    assert told["files"] == ["a.png", "a.html"]
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")
    assert "<html" in (tmp_path / "a.html").read_text(encoding="utf-8").lower()


def test_the_view_is_shown_without_json(desk, capsys):
    assert main(["technique", "run", "logit_lens", "-a", "text=The cook"]) == 0
    shown = capsys.readouterr()
    assert shown.out.startswith("Logit lens\n")
    assert "Layer <|bos|>" in shown.out
    assert "logit_lens: " in shown.err
    words = ("technique", "run", "token_surprisal", "-a", "text=A cook", "-a", "text=The soup")
    assert main(words) == 0
    shown = capsys.readouterr().out
    assert shown.index("1. Surprisal, nats") < shown.index("2. Surprisal, nats")
    assert "nats per token on average. 2. " in " ".join(shown.split())


def test_a_function_of_a_file_runs_prints_and_is_undone(desk, capsys, tmp_path):
    assert main(["technique", "run", "mine.py:ranks", "-a", "text=The", "--tensors",
                 "t.safetensors"]) == 0  # fmt: skip
    shown = capsys.readouterr()
    assert "float32 [3]" in shown.out
    assert "reading The" in shown.err
    assert "reading" not in shown.out
    assert "Undone: training mode" in shown.err
    assert load_file(tmp_path / "t.safetensors")["probs"].shape == (3,)


def test_a_bare_tensor_is_shown_though_it_has_a_view_of_another_kind(desk, capsys):
    assert main(["technique", "run", "mine.py:bare"]) == 0
    assert "float32 [3], 0.0 to 2.0" in capsys.readouterr().out
    assert answer(capsys, "run", "mine.py:bare")["result"] == [0.0, 1.0, 2.0]
    assert main(["technique", "run", "mine.py:bare", "--html", "a.html"]) == ExitCode.USAGE
    assert "has a view(); this is a Tensor" in " ".join(capsys.readouterr().err.split())


def test_an_error_shows_the_technique_s_own_line(desk, capsys):
    assert main(["technique", "run", "mine.py:broken", "--json"]) == ExitCode.CONFLICT
    shown = capsys.readouterr()
    error = orjson.loads(shown.out)["error"]
    assert error["code"] == "technique-failed"
    assert error["message"].startswith("ZeroDivisionError: division by zero (line 2")
    assert "return 1 / n" in shown.err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["run", "logit-len"], "Did you mean 'logit_lens'"),
        (["run", "mine.py"], "mine.py:ranks or mine.py:broken or mine.py:bare"),
        (["run", "mine.py:rank"], "No function 'rank'"),
        (["run", "absent.py:ranks"], "absent.py"),
        (["run", "mine.py:ranks", "-a", "txet=a"], "Did you mean 'text'"),
        (["run", "mine.py:ranks", "-a", "text"], "name=value"),
        (["run", "mine.py:ranks"], "text as well"),
        (["run", "mine.py:ranks", "-a", "text=a", "--png", "a.png"], "has a view"),
        (["run", "mine.py:ranks", "-a", "text=a", "--tensors", "a.pt"], ".safetensors"),
        (["check", "logit_lens"], "Give FILE.py"),
        (["list", "nowhere"], "No folder of techniques 'nowhere'"),
    ],
)
def test_what_is_wrong_is_said(desk, capsys, words, message):
    assert main(["technique", *words]) == ExitCode.USAGE
    assert message in " ".join(capsys.readouterr().err.split())


def test_methods_become_functions(capsys, tmp_path):
    (tmp_path / "old.py").write_text(
        textwrap.dedent(
            """\
            class Service:
                def size(self, text):
                    # How many tokens.
                    return len(self.tokenizer(text)["input_ids"])
            """
        ),
        encoding="utf-8",
    )
    code = main(["technique", "convert", "old.py", "--out", "new.py"])
    assert code in (ExitCode.OK, ExitCode.INCOMPLETE)
    text = (tmp_path / "new.py").read_text(encoding="utf-8")
    assert "def size(model, tokenizer, text):" in text
    assert "# How many tokens." in text
    assert main(["technique", "convert", "absent.py"]) == ExitCode.USAGE


def test_the_journey_is_rehearsed(capsys, tmp_path):
    (tmp_path / "loud.py").write_text(
        "import threading\nwire = threading.Lock()\n\n"
        "def listens(model, tokenizer):\n    return wire.locked()\n\n"
        "def fine(model, tokenizer):\n    return 1\n",
        encoding="utf-8",
    )
    found = answer(capsys, "check", "mine.py:broken")
    assert found[0]["problem"] == ""
    assert len(found[0]["digest"]) == 64
    assert main(["technique", "check", "loud.py"]) == ExitCode.INCOMPLETE
    shown = capsys.readouterr()
    assert "READY" in shown.out
    assert "wire" in shown.err
    assert main(["technique", "check", "loud.py:listens"]) == ExitCode.USAGE


def test_every_panel_has_a_form_without_colours(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "60")
    panels = (
        HeatMap("Weights", np.linspace(-1, 1, 30).reshape(2, 15), ("1", "0"),
                tuple(f" t{each}" for each in range(15)), middle=0.0),
        TokenColouring("Surprise", ("a", " \x1b[31mb"), np.array([0.5, np.nan])),
        Lines("Norms", np.arange(100.0), {"mean": np.arange(100.0)}, "layer", "length"),
        Bars("Effects", ("up", "down"), np.array([2.0, -1.0])),
        Passages("Texts", ("at 1",), ("one\ntwo",), after="zero"),
    )  # fmt: skip
    print_view("All", panels, "Read it so.")
    shown = capsys.readouterr().out
    assert max(len(line) for line in shown.splitlines()) <= 60
    assert "\x1b[31m" not in shown
    for words in ("·t14", "-1.00", "one row in 3", "█", "one\ntwo", "Read it so."):
        assert words in shown, words
