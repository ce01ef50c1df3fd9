"""``glassbox bundle``: what it prints, writes, and how it ends."""

import json
import re
from pathlib import Path

import pytest

from glassbox.cli import main as shell
from glassbox.cli.server.serve import for_platform, in_force, packed_in, together
from glassbox.deploy.bundle import opened, read_bundle
from glassbox.server.start import Wanted
from glassbox.wording import files_of, size_of
from tests.bundles import ADAPTER, make


def test_a_bundle_is_made_inspected_and_verified(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "b.tar.gz"
    words = ["bundle", "make", "--out", str(out), "--base", "tiny", "--name", "ours"]
    words += ["--adapter", f"support={ADAPTER}", "--classifier", "sentiment=shipped"]
    words += ["--set", "engine.threads=2", "--set", "engine.dtype=float32"]
    assert shell.main(words) == 0
    shown = capsys.readouterr()
    assert re.search(r"classifier\s+sentiment\s+[0-9a-f]{12}\s+classifiers/sentiment", shown.out)
    assert re.search(r"setting\s+engine.threads\s+2", shown.out)
    assert f"glassbox serve --bundle {out}" in shown.err
    bundle = read_bundle(out)
    assert bundle.digest in shown.err
    assert dict(bundle.settings) == {"engine.dtype": "float32", "engine.threads": 2}
    assert shell.main(["bundle", "inspect", str(out), "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == bundle.to_json()
    assert shell.main(["bundle", "inspect", str(out)]) == 0
    assert "ours: " in capsys.readouterr().out
    assert shell.main(["bundle", "verify", str(out)]) == 0
    assert "every hash as described" in capsys.readouterr().err
    assert shell.main([*words, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["digest"] == bundle.digest


def test_faults_are_a_table_and_a_code(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder, _ = make(tmp_path, adapters={"support": ADAPTER}, classifiers={}, verifier=None)
    (folder / "adapters" / "support" / "adapter_config.json").write_bytes(b"{}")
    assert shell.main(["bundle", "verify", str(folder)]) == 5
    shown = capsys.readouterr()
    assert "adapters/support/adapter_config.json" in shown.out
    assert "fetch it again" in shown.err
    assert shell.main(["bundle", "verify", str(folder), "--json"]) == 5
    found = json.loads(capsys.readouterr().out)
    assert (found["whole"], len(found["faults"])) == (False, 1)


@pytest.mark.parametrize(
    ("words", "code", "match"),
    [
        (["inspect", "nowhere"], 2, "No bundle 'nowhere'"),
        (["make", "--out", "b", "--adapter", "support"], 2, "NAME=PATH"),
        (["make", "--out", "b", "--set", "engine.model=x"], 2, "belongs to each of them"),
        (["make", "--out", "b", "--adapter", "a=x", "--adapter", "a=y"], 2, "'a' once"),
        (["make"], 2, "--out"),
    ],
)
def test_what_is_wrong_is_said(
    words: list[str],
    code: int,
    match: str,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert shell.main(["bundle", *words]) == code
    assert match in capsys.readouterr().err
    assert not (tmp_path / "b").exists()


def test_sizes_are_shown_as_people_say_them() -> None:
    sizes = [0, 999, 1000, 25 * 10**6, 10**13]
    assert [size_of(each) for each in sizes] == [
        "0 bytes", "999 bytes", "1.0 kB", "25.0 MB", "10,000.0 GB",
    ]  # fmt: skip
    files = [files_of(each, 450) for each in range(3)]
    assert files == ["no files of its own", "1 file, 450 bytes", "2 files, 450 bytes"]


def test_the_command_line_wins_over_the_bundle_and_the_bundle_over_the_usual(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = {"server.max_deadline_s": 20.0, "server.drain_s": 9.0, "engine.threads": 1}
    place, bundle = make(tmp_path, classifiers={}, verifier=None, settings=settings)
    given = {"server.drain_s": 3.0, "server.port": None, "engine.model": None}
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MODEL_PATH", str(place))
    monkeypatch.setenv("GLASSBOX_ENGINE__THREADS", "2")
    usual = for_platform(given)
    packed = packed_in(None, None, in_force(usual, None, given))
    assert packed is not None
    assert packed.bundle == bundle
    found = in_force(usual, packed, given)
    assert found["server.max_deadline_s"] == 20.0, "the bundle's, not the platform's 55"
    assert found["server.drain_s"] == 3.0, "the command line's"
    assert "engine.threads" not in found, "the environment's"
    assert found["server.port"] == 8080
    assert found["engine.model"] == "tiny"
    assert packed_in(None, None, {"engine.model": str(tmp_path)}) is None, "a bare model"
    assert packed_in(None, None) is None


def test_what_the_command_line_names_is_added_or_takes_the_place(tmp_path: Path) -> None:
    place, bundle = make(tmp_path)
    packed = opened(place).wanted
    asked = Wanted(
        name="mine",
        adapters=(("support", "elsewhere"), ("third", "there")),
        classifiers=(("more", "runs/more"),),
        address="http://here",
    )
    found = together(packed, asked)
    assert (found.name, found.model, found.address) == ("mine", "tiny", "http://here")
    assert dict(found.adapters)["support"] == "elsewhere"
    assert sorted(name for name, _ in found.adapters) == ["other", "support", "third"]
    assert [name for name, _ in found.classifiers] == ["sentiment", "more"]
    assert found.verifier == packed.verifier
    assert (found.bundle_digest, found.base_digest) == (bundle.digest, bundle.base.digest)
