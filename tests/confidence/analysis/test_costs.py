"""What decisions cost, as a small file says it."""

import pytest

from glassbox.confidence.analysis.costs import load_costs
from glassbox.errors import GlassboxError
from glassbox.stats.selective.business import Costs


def test_amounts_are_read_whole_or_not(tmp_path):
    path = tmp_path / "costs.toml"
    path.write_text("wrong_automated = 20\nhuman_review = 1.5\n", encoding="utf-8")
    assert load_costs(path) == Costs(20.0, 1.5, 0.0)


@pytest.mark.parametrize(
    ("amount", "message"),
    [
        ('"5"', "costs.toml: 'wrong_automated' cannot be used: input should be a valid number"),
        ("true", "costs.toml: 'wrong_automated' cannot be used: input should be a valid number"),
        ("-1", "wrong_automated is -1.0; allowed: a finite amount of at least 0"),
        ("nan", "wrong_automated is nan; allowed: a finite amount of at least 0"),
        ("", "not valid TOML"),
        ("5\nreview = 2", "'review' is not a known setting"),
    ],
)
def test_what_is_no_amount_is_refused(amount, message, tmp_path):
    path = tmp_path / "costs.toml"
    path.write_text(f"human_review = 1\nwrong_automated = {amount}\n", encoding="utf-8")
    with pytest.raises(GlassboxError) as refused:
        load_costs(path)
    assert message in str(refused.value)
