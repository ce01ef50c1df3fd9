"""``glassbox rollout``: started, held, asked why, ended; experiments planned and analysed."""

import json

import pytest

from glassbox.cli import main as shell
from glassbox.rollout.versions.registry import Registry
from glassbox.storage.database import open_database


@pytest.fixture
def registry(tmp_path, monkeypatch):
    url = f"sqlite:///{tmp_path}/glassbox.db"
    monkeypatch.setenv("GLASSBOX_STORAGE__URL", url)
    monkeypatch.setenv("GLASSBOX_PATHS__VERSIONS", str(tmp_path / "versions"))
    monkeypatch.chdir(tmp_path)
    registry = Registry(open_database(url))
    for number, name in enumerate(("old", "new"), start=1):
        registry.register("m", "callable", f"x:f{number}", f"{number:064x}", name=name)
    registry.move_alias("m", "champion", 1, expected=None, actor="t", reason="seed")
    return registry


def run(*words):
    return shell.main(["rollout", *words])


def test_a_rollout_is_started_held_and_aborted(registry, capsys):
    assert run("start", "new", "--model", "m", "--confirm", "--reason", "faster") == 0
    assert "old → new: Initialized" in capsys.readouterr().out
    assert registry.snapshot(is_fresh=True).aliases["m"]["challenger"] == 2
    assert run("pause", "--model", "m", "--reason", "lunch") == 0
    assert run("status", "--model", "m", "--json") == 0
    status = json.loads(capsys.readouterr().out.partition("\n")[2])
    assert status["paused"]
    assert status["plan"]["confirm"]
    assert run("resume", "--model", "m") == 0
    assert run("abort", "--model", "m", "--reason", "cold feet") == 0
    capsys.readouterr()
    assert run("why", "--model", "m") == 0
    story = capsys.readouterr().out
    for words in ("faster", "Paused: lunch", "Resumed.", "Aborted: cold feet."):
        assert words in story
    assert "challenger" not in registry.snapshot(is_fresh=True).aliases["m"]
    assert run("status", "--all") == 0
    assert "Failed" in capsys.readouterr().out
    assert run("status", "--all", "--model", "m") == 0
    assert "Failed" in capsys.readouterr().out
    assert run("status", "--all", "--model", "another") == 0
    assert "No rollouts yet" in capsys.readouterr().err


def test_promoting_in_doubt_takes_force(registry, capsys):
    assert run("start", "new", "--model", "m") == 0
    assert run("promote", "--model", "m") != 0
    assert "--force" in capsys.readouterr().err
    assert run("promote", "--model", "m", "--force", "--reason", "urgent") == 0
    assert registry.snapshot(is_fresh=True).aliases["m"]["champion"] == 2


def test_without_a_rollout_the_next_step_is_said(registry, capsys):
    assert run("status", "--model", "m") != 0
    assert "glassbox rollout start" in capsys.readouterr().err
    assert run("pause", "--model", "m") != 0
    assert "under way" in capsys.readouterr().err
    assert run("status", "--all") == 0
    assert "No rollouts yet" in capsys.readouterr().err


def test_the_plan_that_is_shown_is_one_that_can_be_read(registry, tmp_path, capsys):
    assert run("plan") == 0
    shown = capsys.readouterr().out
    (tmp_path / "plan.toml").write_text(shown)
    assert run("plan", str(tmp_path / "plan.toml")) == 0
    assert capsys.readouterr().out == shown
    (tmp_path / "plan.toml").write_text("steps = 3")
    assert run("plan", str(tmp_path / "plan.toml")) != 0
    assert "No key of a plan 'steps'" in capsys.readouterr().err


def test_what_is_watched_is_told_once_and_beside_json(registry, capsys):
    assert run("start", "new", "--model", "m") == 0
    assert run("abort", "--model", "m", "--reason", "slow") == 0
    capsys.readouterr()
    assert run("status", "--model", "m", "--watch") == 0
    assert capsys.readouterr().out.count("Aborted: slow.") == 1
    assert run("status", "--model", "m", "--watch", "--json") == 0
    printed = capsys.readouterr()
    assert json.loads(printed.out)["phase"] == "Failed"
    assert "old → new: Failed: Aborted: slow." in printed.err


def test_an_experiment_is_analysed_from_csv_and_json_lines(tmp_path, capsys):
    rows = [("a", int(n % 10 == 0)) for n in range(600)] + [
        ("b", int(n % 4 == 0)) for n in range(600)
    ]
    table = tmp_path / "rows.csv"
    table.write_text("arm,outcome\n" + "".join(f"{arm},{value}\n" for arm, value in rows))
    lines = tmp_path / "rows.jsonl"
    lines.write_text("".join(json.dumps({"arm": a, "outcome": v}) + "\n" for a, v in rows))
    found = []
    for file in (table, lines):
        assert run("experiment", "analyse", str(file), "--json") == 0
        found.append(json.loads(capsys.readouterr().out))
    assert found[0] == found[1]
    fixed, sequential = found[0]
    assert fixed["method"] == "fixed horizon, rates"
    assert fixed["difference"] == pytest.approx(0.15)
    assert sequential["low"] < fixed["low"] < fixed["high"] < sequential["high"]
    assert run("experiment", "analyse", str(table), "--planned", "1000") == 0
    assert "Only 600 of 1,000 planned rows" in capsys.readouterr().out


def test_arms_that_are_not_as_large_as_asked_are_told(tmp_path, capsys):
    table = tmp_path / "rows.csv"
    table.write_text("arm,outcome\n" + "a,1\na,0\n" * 450 + "b,1\nb,0\n" * 50)
    assert run("experiment", "analyse", str(table)) == 0
    told = capsys.readouterr().err
    assert "Sample ratio mismatch (p < 0.0001): a has 90.0 % of the rows" in told
    assert "was to get 50.0 %" in told
    nine_to_one = ("--share", "b=0.1", "--share", "a=0.9")
    assert run("experiment", "analyse", str(table), *nine_to_one) == 0
    assert "mismatch" not in capsys.readouterr().err
    assert run("experiment", "analyse", str(table), *nine_to_one, "--json") == 0
    assert {each["sample_ratio_p_value"] for each in json.loads(capsys.readouterr().out)} == {1.0}


@pytest.mark.parametrize(
    ("shares", "words"),
    [
        (["c=0.5"], "No arm 'c'"),
        (["a"], "a share in (0, 1)"),
        (["a=half"], "a share in (0, 1)"),
        (["a=1"], "a share in (0, 1)"),
        (["a=0.5"], "a share of each of a, b, together 1"),
        (["a=0.5", "b=0.6"], "together 1"),
    ],
)
def test_shares_that_are_none_are_refused(tmp_path, capsys, shares, words):
    (tmp_path / "rows.csv").write_text("arm,outcome\na,1\na,0\nb,1\nb,0\n")
    given = [each for share in shares for each in ("--share", share)]
    assert run("experiment", "analyse", str(tmp_path / "rows.csv"), *given) == 2
    assert words in capsys.readouterr().err


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("arm,outcome\na,2\n", "a number from 0 to 1 is needed"),
        ("arm,outcome\na,x\n", "line 2"),
        ("arm,other\na,1\n", "No column 'outcome'"),
        ("arm,outcome\n", "there are no rows"),
        ("arm,outcome\na,1\na,0\n", "one arm only"),
        ("arm,outcome\na,1\nb\n", "line 3: it has 1 cell where the header has 2"),
        ('arm,outcome\n"a,1\n', "cannot be read as CSV"),
        ("arm,outcome\na,1\nb\udcff,1\n", "line 3: byte 0xff is not UTF-8"),
    ],
)
def test_a_table_that_is_no_experiment_is_refused(tmp_path, capsys, text, words):
    (tmp_path / "rows.csv").write_bytes(text.encode(errors="surrogateescape"))
    assert run("experiment", "analyse", str(tmp_path / "rows.csv")) == 2
    assert words in capsys.readouterr().err


def test_a_row_of_an_experiment_ends_where_its_line_does(tmp_path, capsys):
    odd = "\u2028".join("ab")
    texts = {
        "rows.csv": f'arm,outcome,said\n"{odd}",1,"x\ny"\n"{odd}",0,\x0b\nc,1,\nc,0,\n',
        "rows.jsonl": "".join(
            f'{{"arm": "{arm}", "outcome": {n}}}\n' for arm in (odd, "c") for n in (1, 0)
        ),
    }
    for name, text in texts.items():
        (tmp_path / name).write_text(text, encoding="utf-8")
        assert run("experiment", "analyse", str(tmp_path / name), "--json") == 0
        fixed, _ = json.loads(capsys.readouterr().out)
        assert (fixed["control"], fixed["treatment"], fixed["n_control"]) == (odd, "c", 2)


def test_the_size_of_an_experiment_says_what_its_power_is_of(capsys):
    assert run("experiment", "size", "--rate", "0.2", "--change", "0.2", "--power", "0.9") == 0
    printed = capsys.readouterr()
    assert "half of all runs end by" in printed.out
    assert "fixed horizon finds a rate of 0.4 instead of 0.2 with probability 0.9." in printed.err


def test_the_rows_an_experiment_takes(capsys):
    assert run("experiment", "size", "--rate", "0.2", "--change", "0.2", "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert found["fixed"] == 82
    assert found["sequential_median"] <= found["sequential_80"]
    numbers = ("experiment", "size", "--deviation", "1", "--change", "0.5")
    assert run(*numbers, "--json") == 0
    assert json.loads(capsys.readouterr().out) == {"fixed": 63}
    assert run(*numbers, "--rate", "0.2") == 2
    assert "--rate or --deviation" in capsys.readouterr().err
