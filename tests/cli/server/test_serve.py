"""``glassbox serve``: what is refused before anything is loaded."""

from pathlib import Path

import pytest

from glassbox.cli import main as shell
from tests.bundles import ADAPTER


@pytest.mark.parametrize(
    ("words", "match"),
    [
        (["--adapter", "support={0}/nowhere"], "No adapter folder '{0}/nowhere'"),
        (["--adapter", "support"], "NAME=PATH"),
        (["--classifier", "mood={0}/nowhere"], "No finished run '{0}/nowhere'"),
        (["--classifier", "shipped", "--classifier", "shipped"], "the name 'shipped' once"),
        (["--probe", "{0}/nowhere"], "No probe '{0}/nowhere'"),
        (["--verifier", "{0}/nowhere"], "No verifier '{0}/nowhere'"),
    ],
)
def test_what_is_not_there_is_refused_before_the_model_is_loaded(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], words: list[str], match: str
) -> None:
    given = [each.format(tmp_path) for each in words]
    also = ["--adapter", f"there={ADAPTER}"]
    assert shell.main(["serve", "--model", "tiny", "--port", "0", *also, *given]) == 2
    told = capsys.readouterr().err
    assert match.format(tmp_path) in told
    assert "Listening" not in told
