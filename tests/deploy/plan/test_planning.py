"""A whole plan: decided, written down, drawn, and printed by the command."""

import dataclasses
import json

import pytest

from glassbox.cli import main as shell
from glassbox.deploy.plan import sizing
from glassbox.deploy.plan.autoscaling import Spike
from glassbox.deploy.plan.capacity import write_capacity
from glassbox.deploy.plan.files import PAGE_FILE, plan_charts, plan_values, write_plan
from glassbox.deploy.plan.planning import Aims, make_plan
from glassbox.deploy.plan.traffic import Traffic
from glassbox.deploy.plan.words import money, plan_rows, seconds, verdict
from glassbox.deploy.prices import price_of
from glassbox.errors import CapacityError, InvalidValue
from tests.deploy.plan.worlds import SLOW

TRAFFIC = Traffic(20_000, 8.64, 1.5)


@pytest.fixture(scope="module", autouse=True)
def _small_samples():
    """Fewer requests behind each percentile: here it matters how parts are put together."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sizing, "N_LANES", 64)
        patch.setattr(sizing, "N_ROUTED", 5000)
        yield


@pytest.fixture(scope="module")
def plan(_small_samples):
    return make_plan(
        SLOW,
        SLOW.works["verify"],
        TRAFFIC,
        Aims(limit_s=10.0, discount=0.36),
        price_of("ml.g5.2xlarge"),
    )


def test_a_plan_keeps_both_aims(plan):
    assert plan.instances == max(plan.for_target, plan.for_latency)
    assert plan.at_random.utilisation <= 0.8
    assert plan.at_random.p99_s <= 10.0
    assert plan.least_busy.p99_s < plan.at_random.p99_s
    assert plan.cost.fixed_discounted == pytest.approx(0.64 * plan.cost.fixed)
    assert plan.cost.scaled > 0
    assert plan.day.n_requests == pytest.approx(172_800, rel=0.02)


def test_notes_say_what_the_plan_stands_on(plan):
    text = " ".join(plan.notes)
    assert "Measured on two cores, priced as ml.g5.2xlarge" in text
    assert "off by +25 % to +25 %" in text
    assert "$1.515 an hour in us-east-1, 2026-11-21" in text


def test_the_utilisation_decides_where_times_are_no_matter():
    plan = make_plan(SLOW, SLOW.works["verify"], TRAFFIC, Aims(limit_s=600.0))
    assert (plan.by, plan.instances) == ("utilisation", plan.for_target)
    assert plan.cost is None
    assert "No cost" in plan.notes[0]


def test_an_aim_that_no_fleet_keeps_is_said_and_the_utilisation_decides():
    plan = make_plan(SLOW, SLOW.works["verify"], TRAFFIC, Aims(limit_s=0.5, least=9))
    assert plan.for_latency is None
    assert (plan.by, plan.instances) == ("fewest", 9)
    assert any("No number of instances" in note for note in plan.notes)
    assert "does not stay within 500 ms" in verdict(plan)


def test_more_instances_than_allowed_are_refused_with_what_to_do():
    with pytest.raises(CapacityError, match=r"4 instances.*2 are allowed.*--max-instances"):
        make_plan(SLOW, SLOW.works["verify"], TRAFFIC, Aims(limit_s=600.0, most=2))


def test_a_plan_is_written_as_values_pictures_and_a_page(plan, tmp_path):
    page = write_plan(plan, tmp_path)
    assert page == tmp_path / PAGE_FILE
    values = json.loads((tmp_path / "plan.json").read_text())
    assert values["instances"] == plan.instances
    assert values["usd_per_month"]["fixed"] == pytest.approx(plan.cost.fixed)
    assert len(values["day"]["hours"]) == 24
    html = page.read_text()
    assert verdict(plan).split(",")[0] in html
    for figure in ("$130K", "$276,488", "least busy</th>", "$85,775"):
        assert figure in html, figure
    for name in ("fleet_day", "fleet_spike", "simulation_check"):
        stem = tmp_path / "capacity" / name
        assert stem.with_suffix(".png").read_bytes().startswith(b"\x89PNG")
        assert json.loads(stem.with_suffix(".json").read_text())["chart"] == name
    drawn = json.loads((tmp_path / "capacity" / "fleet_day.json").read_text())["values"]
    assert drawn["p99_s"] == [hour.p99_s for hour in plan.day.hours]


def test_without_a_comparison_none_is_drawn(plan):
    bare = dataclasses.replace(plan, capacity=dataclasses.replace(SLOW, compared=()))
    assert set(plan_charts(bare)) == {"fleet_day", "fleet_spike"}
    assert plan_values(bare)["compared"] == []


def test_rows_tell_the_instances_the_times_and_the_money(plan):
    rows = dict(plan_rows(plan))
    assert rows["instances"].startswith(f"{plan.instances}, by ")
    assert "with 36 % off" in rows["a month"]
    assert "requests simulated" in rows["the whole day"]


def test_money_and_times_are_written_for_people():
    assert (money(912.5), money(12.5), money(275_000)) == ("$912", "$12.50", "$275,000")
    times = [seconds(each) for each in (0.1234, 0.9999, 12.34, 1234.0, float("nan"))]
    assert times == ["123 ms", "1 s", "12.3 s", "1,234 s", "–"]


@pytest.fixture
def capacity_file(tmp_path, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    path = tmp_path / "capacity.json"
    write_capacity(path, SLOW)
    return path


def test_the_command_plans_and_writes_a_page(capacity_file, tmp_path, capsys):
    options = ["--users", "5000", "--p99-s", "10", "--usd-per-hour", "1", "--out", str(tmp_path)]
    assert shell.main(["plan", str(capacity_file), *options]) == 0
    shown = capsys.readouterr()
    assert "a month: at the busiest moment" in shown.out
    assert str(tmp_path / PAGE_FILE) in shown.out.replace("\n", "")
    assert "the simulated 99th percentile was off" in shown.err


def test_the_command_makes_work_of_tokens_and_prints_json(capacity_file, capsys):
    tokens = ["--read-tokens", "30", "--written-tokens", "4"]
    options = ["--users", "2000", "--p99-s", "90", "--metric", "utilisation", "--json"]
    assert shell.main(["plan", str(capacity_file), *tokens, *options]) == 0
    values = json.loads(capsys.readouterr().out)
    assert values["work"]["name"] == "tokens"
    assert values["usd_per_month"] is None
    assert values["aims"]["metric"] == "utilisation"


@pytest.mark.parametrize(
    ("options", "what"),
    [
        (["--work", "classify"], "verify, write 8"),
        (["--work", "verify", "--read-tokens", "3"], "give one of them"),
        (["--metric", "queue"], "concurrency or utilisation"),
        (["--instance-type", "ml.none"], "No price of the instance type"),
        (["--discount", "36"], "0.36 takes 36"),
        (["--peak-factor", "3"], "peak_factor"),
        (["--users", "1e12"], "--max-instances"),
    ],
)
def test_the_command_refuses_what_makes_no_sense(capacity_file, capsys, options, what):
    assert shell.main(["plan", str(capacity_file), *options]) != 0
    assert what in capsys.readouterr().err.replace("\n", " ")


def test_without_a_file_the_designs_tables_are_computed_again(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    assert shell.main(["plan"]) == 0
    shown = capsys.readouterr().out
    assert "$273,750" in shown
    assert "$912,500" in shown
    assert shell.main(["plan", "--json"]) == 0
    assert len(json.loads(capsys.readouterr().out)["rows"]) == 3


def test_a_page_needs_a_capacity_file(tmp_path, capsys):
    assert shell.main(["plan", "--out", str(tmp_path)]) != 0
    assert "a capacity file too" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"discount": 36.0}, "discount"),
        ({"limit_s": 0.0}, r"limit_s is 0\.0; allowed: seconds above 0"),
        ({"limit_s": float("nan")}, "limit_s is nan"),
        ({"least": 10, "most": 5}, r"instances is \(10, 5\); allowed: 1 <= fewest <= most"),
        ({"cold_start_s": -1.0}, r"cold_start_s is -1\.0; allowed: seconds, 0 or more"),
    ],
)
def test_aims_that_make_no_sense_are_refused_before_a_day_is_simulated(given, words):
    with pytest.raises(InvalidValue, match=words):
        Aims(**given)


def test_a_spike_ends_with_its_day():
    with pytest.raises(InvalidValue, match=r"1000 minutes from 15 h on.*0 to 540 minutes"):
        Spike(length_s=60_000.0)


def test_few_requests_are_not_said_to_be_none():
    few = make_plan(SLOW, SLOW.works["verify"], Traffic(0.5, 8.64), Aims(limit_s=600.0))
    assert dict(plan_rows(few))["requests"].startswith("5e-05/s on average")


def test_a_seed_below_0_is_refused_as_an_option(capsys):
    assert shell.main(["plan", "--seed", "-1"]) == 2
    assert "--seed" in capsys.readouterr().err
