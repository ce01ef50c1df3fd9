"""The registry: versions never change, aliases move by compare-and-set, the history is whole."""

import multiprocessing
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from glassbox.errors import CapacityError, ConflictError, InvalidValue, UnknownName
from glassbox.rollout.version import AliasMove, Version
from glassbox.rollout.versions.alias_rules import replayed
from glassbox.rollout.versions.registry import Registry
from glassbox.storage.database import Database, open_database
from tests.waiting import PATIENCE_S


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    opened = open_database(database_url)
    yield opened
    opened.close()


@pytest.fixture
def registry() -> Iterator[Registry]:
    opened = open_database("sqlite://")
    yield Registry(opened, clock=lambda: 1_000_000.0)
    opened.close()


def add(registry: Registry, content: str, **more: object) -> Version:
    more = {"actor": "ann", **more}
    return registry.register("default", "callable", f"models:{content}", content, **more)


def crown(registry: Registry, number: int, expected: int | None) -> AliasMove:
    return registry.promote(
        "default", number, expected_champion=expected, actor="ann", reason="it is better"
    )


def test_versions_are_numbered_and_named_in_order(database: Database) -> None:
    registry = Registry(database, clock=lambda: 5.0)
    first = add(registry, "a", metadata={"labels": ["no", "yes"]})
    second = add(registry, "b", name="enhanced_model_v2")
    other = registry.register("other", "sklearn", "x", "a")
    assert (first.number, first.name, first.uri) == (1, "default_model_v1", "models:/default/1")
    assert (second.number, second.name) == (2, "enhanced_model_v2")
    assert (other.number, other.name) == (1, "other_model_v1")
    assert registry.snapshot().versions == (first, second, other)
    assert registry.snapshot().versions[0].metadata == {"labels": ["no", "yes"]}
    assert first.created_s == 5.0


def test_the_same_content_is_the_same_version(registry: Registry) -> None:
    first = add(registry, "a", metadata={"n": 1})
    revision = registry.snapshot().revision
    assert add(registry, "a", metadata={"n": 2}) == first
    assert registry.snapshot().revision == revision
    with pytest.raises(ConflictError, match="registered already, as 'default_model_v1'"):
        add(registry, "a", name="better")


def test_a_name_belongs_to_one_version(registry: Registry) -> None:
    add(registry, "a", name="mine")
    with pytest.raises(ConflictError, match="'mine' is that of models:/default/1"):
        add(registry, "b", name="mine")


@pytest.mark.parametrize(
    ("alias", "problem"),
    [("latest", "not 'latest'"), ("v3", "not 'latest'"), ("challenger-1", "challenger-2"),
     ("challenger-x", "challenger-2"), ("", "letters"), ("two words", "letters")],
)  # fmt: skip
def test_aliases_that_would_mislead_are_refused(
    registry: Registry, alias: str, problem: str
) -> None:
    add(registry, "a")
    with pytest.raises(InvalidValue, match=problem):
        registry.move_alias("default", alias, 1, expected=None, actor="ann", reason="try")


@pytest.mark.parametrize("name", ["", "a/b", "models:/x", "ü", "-a", "a" * 101])
def test_names_that_could_not_stand_in_an_address_are_refused(
    registry: Registry, name: str
) -> None:
    with pytest.raises(InvalidValue, match="letters, digits"):
        registry.register(name, "callable", "x:y", "d")
    with pytest.raises(InvalidValue, match="letters, digits"):
        registry.register("default", "callable", "x:y", "d", name=name)


def test_a_new_champion_takes_the_old_ones_place_in_one_step(database: Database) -> None:
    registry = Registry(database)
    one, two = add(registry, "a"), add(registry, "b")
    crown(registry, 1, None)
    registry.move_alias("default", "challenger", 2, expected=None, actor="ann", reason="try")
    assert registry.snapshot().challengers() == (two,)
    line = registry.promote(
        "default", 2, expected_champion=1, actor="rollout", reason="gates", evidence={"n": 900}
    )
    now = registry.snapshot()
    assert now.aliases == {"default": {"champion": 2, "previous_champion": 1}}
    assert now.aliased("champion") == two
    assert now.aliased("previous_champion") == one
    assert (line.alias, line.before, line.after, line.evidence) == ("champion", 1, 2, {"n": 900})
    assert [each.alias for each in registry.history("default", 3)] == [
        "challenger",
        "previous_champion",
        "champion",
    ]


def test_setting_the_champion_by_alias_does_the_same(registry: Registry) -> None:
    add(registry, "a"), add(registry, "b")
    for to, expected in ((1, None), (2, 1)):
        registry.move_alias("default", "champion", to, expected=expected, actor="a", reason="b")
    assert registry.snapshot().aliases["default"] == {"champion": 2, "previous_champion": 1}


def test_going_back_never_leads_forward(registry: Registry) -> None:
    for each in "abc":
        add(registry, each)
    for number, expected in ((1, None), (2, 1), (3, 2)):
        crown(registry, number, expected)
    back = {"actor": "ann", "reason": "errors"}
    registry.rollback("default", expected_champion=3, **back)
    assert registry.snapshot().aliases["default"] == {"champion": 2, "previous_champion": 1}
    registry.rollback("default", expected_champion=2, **back)
    assert registry.snapshot().aliases["default"] == {"champion": 1}
    with pytest.raises(ConflictError, match="no previous champion"):
        registry.rollback("default", expected_champion=1, **back)


def test_a_stale_move_says_who_was_faster(registry: Registry) -> None:
    add(registry, "a"), add(registry, "b"), add(registry, "c")
    crown(registry, 1, None)
    registry.promote("default", 2, expected_champion=1, actor="bob", reason="he was faster")
    with pytest.raises(
        ConflictError,
        match=r"champion of 'default' is version 2 now, not version 1 .* bob moved it at "
        r"1970-01-12 .* \(he was faster\)\. Nothing was changed",
    ):
        crown(registry, 3, 1)
    with pytest.raises(ConflictError, match="is version 1 now, not unset as you expected"):
        registry.move_alias("default", "previous_champion", 3, expected=None, actor="a", reason="b")


def test_a_champion_cannot_be_missing_nor_its_own_challenger(registry: Registry) -> None:
    add(registry, "a"), add(registry, "b")
    crown(registry, 1, None)
    move = {"actor": "ann", "reason": "try"}
    with pytest.raises(InvalidValue, match="has one champion"):
        registry.move_alias("default", "champion", None, expected=1, **move)
    with pytest.raises(InvalidValue, match="not the champion"):
        registry.move_alias("default", "challenger", 1, expected=None, **move)
    registry.move_alias("default", "challenger", 2, expected=None, **move)
    with pytest.raises(InvalidValue, match="it is challenger"):
        registry.move_alias("default", "challenger-2", 2, expected=None, **move)
    with pytest.raises(InvalidValue, match="version 2 already"):
        registry.move_alias("default", "challenger", 2, expected=2, **move)
    with pytest.raises(InvalidValue, match="not set"):
        registry.move_alias("default", "candidate", None, expected=None, **move)


def test_unknown_versions_are_named_with_those_that_are_known(registry: Registry) -> None:
    add(registry, "a"), add(registry, "b", name="enhanced_model_v2")
    with pytest.raises(UnknownName, match=r"No version of 'default' '7'\. Known: 1, 2"):
        crown(registry, 7, None)
    assert registry.snapshot().aliases == {}
    with pytest.raises(UnknownName, match="Did you mean 'enhanced_model_v2'"):
        registry.version("enhanced_model_v3")


def test_a_version_answers_to_name_address_number_and_alias(registry: Registry) -> None:
    add(registry, "a"), add(registry, "b", name="mine")
    crown(registry, 1, None)
    addresses = ["models:/default/1", "models:/default@champion"]
    for each in ("default_model_v1", *addresses, "1", "champion"):
        assert registry.version(each).number == 1
    assert registry.version("mine").number == 2
    for wrong in ("models:/default/9", "models:/other@champion", "models:/default", "models:/"):
        with pytest.raises(UnknownName, match="registered version"):
            registry.version(wrong)


def test_history_can_be_paged_and_leads_to_the_present(database: Database) -> None:
    registry = Registry(database)
    for each in "abcd":
        add(registry, each)
    crown(registry, 1, None)
    for number in (2, 3, 4):
        crown(registry, number, number - 1)
    whole = registry.history()
    assert [each.sequence for each in whole] == sorted(
        (each.sequence for each in whole), reverse=True
    )
    first = registry.history(limit=3)
    assert first + registry.history(before=first[-1].sequence) == whole
    assert registry.history("default", alias="champion")[0].after == 4
    assert registry.history("other") == []
    assert replayed(reversed(whole)) == registry.snapshot().aliases
    with pytest.raises(ConflictError, match="moves champion of"):
        replayed(reversed(whole[:-1]))


def test_evidence_and_metadata_must_be_json(registry: Registry) -> None:
    add(registry, "a")
    with pytest.raises(InvalidValue, match="evidence"):
        registry.promote("default", 1, expected_champion=None, actor="a", reason="b",
                         evidence={"x": object()})  # fmt: skip
    with pytest.raises(InvalidValue, match="metadata"):
        add(registry, "b", metadata={"x": object()})
    with pytest.raises(InvalidValue, match="actor and reason"):
        registry.promote("default", 1, expected_champion=None, actor="", reason="b")
    assert registry.snapshot().aliases == {}


def test_moves_of_another_process_are_seen_soon_and_own_ones_at_once(database_url: str) -> None:
    here, there = open_database(database_url), open_database(database_url)
    ours, theirs = Registry(here), Registry(there)
    add(ours, "a"), add(ours, "b")
    crown(ours, 1, None)
    assert ours.snapshot() is ours.snapshot()
    assert theirs.snapshot().aliases["default"] == {"champion": 1}
    crown(ours, 2, 1)
    assert ours.snapshot().aliases["default"]["champion"] == 2
    assert theirs.snapshot(is_fresh=True).aliases["default"]["champion"] == 2
    crown(theirs, 1, 2)
    deadline = time.monotonic() + PATIENCE_S
    while ours.snapshot().aliases["default"]["champion"] != 1:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    here.close(), there.close()


def test_requests_go_on_under_what_was_last_known(monkeypatch: pytest.MonkeyPatch) -> None:
    database = open_database("sqlite://")
    registry = Registry(database)
    add(registry, "a")
    known = registry.snapshot()

    def refuse() -> None:
        raise CapacityError("The database did not answer: it is being restarted.")

    monkeypatch.setattr("glassbox.rollout.versions.registry.SNAPSHOT_S", 0.0)
    monkeypatch.setattr(database, "reading", refuse)
    assert registry.snapshot() == known
    with pytest.raises(CapacityError, match="being restarted"):
        registry.snapshot(is_fresh=True)
    with pytest.raises(CapacityError, match="being restarted"):
        Registry(database).snapshot()
    database.close()


def test_a_snapshot_is_whole_while_others_move_aliases(database: Database) -> None:
    registry = Registry(database)
    for each in "ab":
        add(registry, each)
    crown(registry, 1, None)

    def swap(n: int) -> None:
        for _ in range(n):
            now = registry.snapshot(is_fresh=True).aliases["default"]["champion"]
            crown(registry, 3 - now, now)

    with ThreadPoolExecutor(1) as pool:
        swapping = pool.submit(swap, 40)
        while not swapping.done():
            seen = Registry(database).snapshot().aliases["default"]
            assert {seen["champion"], seen.get("previous_champion", 3 - seen["champion"])} == {1, 2}
        swapping.result()


def _race(url: str, number: int, start: object, answers: object) -> None:
    opened = open_database(url)
    start.wait()
    try:
        crown(Registry(opened), number, 1)
        answers.put((number, "won"))
    except ConflictError as error:
        answers.put((number, str(error)))
    opened.close()


def test_of_two_processes_that_move_an_alias_at_once_exactly_one_wins(database_url: str) -> None:
    opened = open_database(database_url)
    registry = Registry(opened)
    for each in "abcde":
        add(registry, each)
    crown(registry, 1, None)
    context = multiprocessing.get_context("spawn")
    numbers = (2, 3, 4)
    start, answers = context.Barrier(len(numbers)), context.Queue()
    racers = [
        context.Process(target=_race, args=(database_url, each, start, answers), daemon=True)
        for each in numbers
    ]
    for each in racers:
        each.start()
    said = dict(answers.get(timeout=PATIENCE_S) for _ in racers)
    for each in racers:
        each.join(PATIENCE_S)
    winners = [number for number, word in said.items() if word == "won"]
    assert len(winners) == 1
    assert all("Nothing was changed" in said[each] for each in numbers if each not in winners)
    assert registry.snapshot(is_fresh=True).aliases["default"]["champion"] == winners[0]
    assert len(registry.history(alias="champion")) == 2
    opened.close()
