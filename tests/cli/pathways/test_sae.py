"""``glassbox sae inspect``: files described, dictionaries measured, the implausible refused."""

import json

import pytest

from glassbox.cli.main import main
from glassbox.cli.pathways.sae_texts import read_plain_texts
from glassbox.cli.terminal.exit_codes import ExitCode
from glassbox.errors import InvalidData, UnknownName
from glassbox.pathways.saes.writing import save_sae
from tests.pathways.saes.making import write_saes
from tests.pathways.saes.test_inspecting import explaining
from tests.pathways.saes.test_llama_scope import Checkpoint


def test_a_folder_of_any_format_is_described_without_a_model(tmp_path, capsys):
    write_saes(tmp_path / "ours", (0, 1))
    Checkpoint().write(tmp_path / "theirs")
    assert main(["sae", "inspect", str(tmp_path), "--json"]) == ExitCode.OK
    first, second, third = json.loads(capsys.readouterr().out)["saes"]
    assert (first["layer"], second["layer"], third["layer"]) == (0, 1, 15)
    assert (first["format"], first["convention"]) == ("saelens", "file")
    assert (third["format"], third["convention"], third["d_sae"]) == ("llama_scope", "openmoss", 48)
    assert third["decoder_norm_min"] < 1 < third["decoder_norm_max"]
    assert len(third["digest"]) == 64
    assert main(["sae", "inspect", str(tmp_path)]) == ExitCode.OK
    shown = capsys.readouterr().out
    assert "llama_scope" in shown
    assert "block's output" in shown


def test_a_layer_may_be_given_and_may_be_unknown(tmp_path, capsys):
    write_saes(tmp_path, (3,))
    config = tmp_path / "layer_3" / "cfg.json"
    config.write_text(config.read_text().replace("blocks.3.hook_resid_post", ""))
    assert main(["sae", "inspect", str(tmp_path), "--json"]) == ExitCode.OK
    assert json.loads(capsys.readouterr().out)["saes"][0]["layer"] is None
    assert main(["sae", "inspect", str(tmp_path), "--layer", "3", "--json"]) == ExitCode.OK
    assert json.loads(capsys.readouterr().out)["saes"][0]["layer"] == 3


def test_good_dictionaries_are_plausible_on_the_embedded_model(tmp_path, capsys):
    for layer in (0, 7):
        save_sae(explaining(layer, 128), tmp_path / str(layer))
    arguments = ["--model", "tiny", "--tokens", "200"]
    assert main(["sae", "inspect", str(tmp_path), *arguments, "--json"]) == ExitCode.OK
    found = json.loads(capsys.readouterr().out)["saes"]
    assert [each["measured"]["layer"] for each in found] == [0, 7]
    for each in found:
        assert each["measured"]["explained_variance"] == pytest.approx(1, abs=1e-5)
        assert each["measured"]["problems"] == []


def test_an_implausible_dictionary_is_shown_and_refused(tmp_path, capsys):
    save_sae(explaining(2, 128, aimed=3), tmp_path)
    (tmp_path / "texts.txt").write_text("A line of text to be read by the model.\n" * 20)
    arguments = ["--model", "tiny", "--texts", str(tmp_path / "texts.txt")]
    assert main(["sae", "inspect", str(tmp_path), *arguments]) == ExitCode.USAGE
    said = capsys.readouterr()
    assert "128.0 ± 0.0" in said.out
    assert "layer 2: 128.0 latents fire on a token" in " ".join(said.err.split())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--texts", "tiny"], "--model is None"),
        (["--model", "tiny", "--convention", "mine"], "No convention 'mine'"),
    ],
)
def test_options_that_make_no_sense_are_refused(tmp_path, capsys, arguments, message):
    write_saes(tmp_path, (0,))
    assert main(["sae", "inspect", str(tmp_path), *arguments]) == ExitCode.USAGE
    assert message in capsys.readouterr().err


def test_another_models_dictionary_is_refused(tmp_path, capsys):
    write_saes(tmp_path, (0,))
    assert main(["sae", "inspect", str(tmp_path), "--model", "tiny"]) == ExitCode.USAGE
    assert "made for another model" in capsys.readouterr().err


def test_a_folder_without_saes_says_what_is_missing(tmp_path, capsys):
    assert main(["sae", "inspect", str(tmp_path)]) == ExitCode.INTEGRITY
    assert "holds no SAE of a known format" in capsys.readouterr().err


def test_texts_are_lines_or_fields_of_objects(tmp_path):
    lines = tmp_path / "a.txt"
    lines.write_text("one\n\n  \ntwo\n")
    assert read_plain_texts(str(lines)) == ["one", "two"]
    objects = tmp_path / "a.jsonl"
    objects.write_text('{"text": "one"}\n\n{"prompt": "two", "n": 1}\n')
    assert read_plain_texts(str(objects)) == ["one", "two"]
    assert len(read_plain_texts("tiny")) > 100
    # A line is what a line feed ends, whatever else Unicode calls a line end.
    lines.write_bytes("one\u2028still\x0bone\r\ntwo\x85\n".encode())
    assert read_plain_texts(str(lines)) == ["one\u2028still\x0bone", "two\x85"]
    lines.write_bytes(b"one\ntw\xff\n")
    with pytest.raises(InvalidData, match=r"line 2: byte 0xff is not UTF-8"):
        read_plain_texts(str(lines))


@pytest.mark.parametrize("name", ["a.json", "a.CSV", "a.parquet"])
def test_lines_of_a_table_are_not_taken_for_texts(tmp_path, name):
    (tmp_path / name).write_text('["One day,",\n"a dog"]\n')
    with pytest.raises(InvalidData, match=r"or JSON Lines \(\.jsonl\) with a field 'text' or"):
        read_plain_texts(str(tmp_path / name))


def test_texts_that_are_none_are_refused_by_line(tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_text('{"text": "one"}\n{"n": 1}\n')
    with pytest.raises(InvalidData, match=r"line 2: expected an object with a field 'text'"):
        read_plain_texts(str(path))
    path.write_text("{")
    with pytest.raises(InvalidData, match=r"line 1: not valid JSON"):
        read_plain_texts(str(path))
    path.write_text("\n")
    with pytest.raises(InvalidData, match="no text is in it"):
        read_plain_texts(str(path))
    with pytest.raises(UnknownName, match="No file of texts"):
        read_plain_texts(str(tmp_path / "nothing"))
