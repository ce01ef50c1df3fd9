"""Who answers is known without asking a database; a new version answers once it is loaded."""

import threading

import pytest

from glassbox.errors import CapacityError, ConflictError, CorruptArtifact, UnknownName
from glassbox.rollout.answering import routing_view
from glassbox.rollout.answering.routing_view import RoutingView, View, split_uri
from glassbox.rollout.routing import Routing
from glassbox.rollout.version import Snapshot, Version
from tests.waiting import PATIENCE_S, until


def version(number, model="default"):
    name, digest = (f"v{number}", f"d{number}") if model == "default" else (f"{model}{number}",) * 2
    return Version(model, number, name, "callable", digest, "m:f", 0.0)


class World:
    """A registry and hosts that do as they are told."""

    def __init__(self):
        self.champion = 1
        self.standby = None
        self.revision = 1
        self.is_away = False
        self.broken = set()
        self.loaded = []
        self.kept = None
        self.adopted = []
        self.view = RoutingView(self.look, self, self.adopted.append)

    def look(self):
        if self.is_away:
            raise CapacityError("The database does not answer.")
        versions = tuple(version(each) for each in (1, 2, 3))
        snapshot = Snapshot(self.revision, versions, {"default": {"champion": self.champion}})
        standby = None if self.standby is None else version(self.standby)
        champion = version(self.champion)
        routing = Routing("default", champion, standby=standby, revision=self.revision)
        return View({"default": routing}, snapshot)

    def load(self, wanted):
        if wanted.number in self.broken:
            raise CorruptArtifact(wanted.name, "it is damaged")
        self.loaded.append(wanted.number)

    def keep(self, versions):
        self.kept = versions

    def move(self, number):
        self.champion, self.revision = number, self.revision + 1
        self.view.refresh()

    @property
    def answering(self):
        return self.view.of("default").routing.champion.number


@pytest.fixture
def world():
    world = World()
    world.view.refresh()
    return world


def test_a_version_is_loaded_before_anybody_is_sent_to_it(world):
    seen = []
    load = world.load
    world.load = lambda wanted: (seen.append(world.answering), load(wanted))
    world.move(2)
    assert seen == [1]
    assert world.answering == 2
    assert [each.champion.number for each in world.adopted] == [1, 2]


def test_a_version_that_cannot_be_loaded_does_not_take_over(world):
    world.broken = {2}
    world.move(2)
    assert world.answering == 1
    assert "v2 cannot be loaded" in world.view.failures["default"]
    world.broken = set()
    world.view.refresh()
    assert world.answering == 2
    assert world.view.failures == {}


def test_without_a_database_the_last_routing_holds(world):
    world.is_away = True
    world.move(2)
    assert world.answering == 1
    assert world.view.failures == {"": "The database does not answer."}
    world.is_away = False
    world.view.refresh()
    assert world.answering == 2
    assert world.view.failures == {}


def test_a_version_that_answers_no_more_stays_for_requests_on_their_way(world, monkeypatch):
    world.move(2)
    assert world.kept is None
    monkeypatch.setattr(routing_view, "GRACE_S", 0.0)
    world.view.refresh()
    monkeypatch.setattr(routing_view, "GRACE_S", 2.0)
    world.view.refresh()
    assert world.kept is not None
    assert "d1" not in world.kept


def test_a_version_is_not_freed_by_the_very_look_that_replaces_it_however_slow_it_was(
    world, monkeypatch
):
    now_s = routing_view.time.monotonic()
    monkeypatch.setattr(routing_view.time, "monotonic", lambda: now_s + 60.0)
    world.move(2)
    assert world.kept is None


class Pair:
    """Two models; of one of them no version loads before the test lets it."""

    def __init__(self):
        self.slow, self.weight, self.revision = 1, 0.5, 1
        self.loading, self.may_end = threading.Event(), threading.Event()
        self.kept = []
        self.view = RoutingView(self.look, self)

    def look(self):
        first = version(1, "other")
        canary = version(2, "other") if self.weight else None
        routings = {
            "slow": Routing("slow", version(self.slow, "slow"), revision=self.revision),
            "other": Routing(
                "other", first, canary=canary, canary_weight=self.weight, revision=self.revision
            ),
        }
        return View(routings, Snapshot(self.revision, (), {"slow": {}, "other": {}}))

    def load(self, wanted):
        if wanted.name == "slow2":
            self.loading.set()
            assert self.may_end.wait(PATIENCE_S)

    def keep(self, versions):
        self.kept.append(versions)


def test_no_way_back_waits_until_another_models_version_is_loaded():
    pair = Pair()
    pair.view.refresh()
    pair.view.start()
    try:
        pair.slow, pair.revision = 2, 2
        assert pair.loading.wait(PATIENCE_S)
        # Somebody on another machine takes the other model's challenger back.
        pair.weight, pair.revision = 0.0, 3
        until(lambda: pair.view.of("other").routing.canary is None)
        assert not pair.may_end.is_set()
        assert pair.view.of("slow").routing.champion.number == 1
        # Nor does who does the same here wait for it.
        pair.weight, pair.revision = 0.5, 4
        pair.view.refresh("other")
        assert pair.view.of("other").routing.canary_weight == 0.5
        # Nor does the same model, where it is given another version than the slow one.
        pair.slow, pair.revision = 3, 5
        until(lambda: pair.view.of("slow").routing.champion.number == 3)
        pair.slow, pair.revision = 2, 6
        pair.may_end.set()
        until(lambda: pair.view.of("slow").routing.champion.number == 2)
        assert pair.view.failures == {}
    finally:
        pair.may_end.set()
        pair.view.close()


def test_what_is_being_loaded_is_not_freed_before_anybody_has_it(monkeypatch):
    pair = Pair()
    pair.view.refresh()
    pair.slow, pair.revision = 2, 2
    loader = threading.Thread(target=pair.view.refresh, args=("slow",))
    loader.start()
    try:
        assert pair.loading.wait(PATIENCE_S)
        # By now nobody wants it, and all that answered before may go.
        pair.slow, pair.revision = 3, 3
        monkeypatch.setattr(routing_view, "GRACE_S", 0.0)
        pair.view.refresh("other")
        assert "slow2" in pair.kept[-1]
    finally:
        pair.may_end.set()
        loader.join()
    pair.view.refresh("other")
    assert "slow2" not in pair.kept[-1]


def test_a_version_that_cannot_be_loaded_is_left_alone_for_a_while(world, monkeypatch):
    tries, looks = [], []
    look = world.look

    def load(wanted):
        tries.append(wanted.number)
        raise CorruptArtifact(wanted.name, "it is damaged")

    monkeypatch.setattr(world, "load", load)
    world.view = RoutingView(lambda: (looks.append(1), look())[1], world)
    monkeypatch.setattr(routing_view, "LOOK_S", 0.01)
    monkeypatch.setattr(routing_view, "FIRST_PAUSE_S", 0.1)
    monkeypatch.setattr(routing_view, "LONGEST_PAUSE_S", 3600.0)
    world.view.start()
    try:
        until(lambda: len(tries) >= 3, "and tried again")
        monkeypatch.setattr(routing_view, "LOOK_S", 0.001)
        until(lambda: len(looks) > 20 * len(tries))
        n_tries = len(tries)
        assert "v1 cannot be loaded" in world.view.failures["default"]
        world.view.refresh()
        assert len(tries) > n_tries, "who asks is not kept waiting"
    finally:
        world.view.close()


def test_the_champion_of_before_stays_loaded_as_long_as_it_stands_by(world, monkeypatch):
    now_s = routing_view.time.monotonic()
    world.standby = 1
    world.move(2)
    for later_s in (60.0, 120.0):
        monkeypatch.setattr(routing_view.time, "monotonic", lambda s=now_s + later_s: s)
        world.view.refresh()
    assert world.kept is None
    world.standby = None
    world.view.refresh()
    monkeypatch.setattr(routing_view.time, "monotonic", lambda: now_s + 180.0)
    world.view.refresh()
    assert world.kept == {"d2"}


def test_one_that_stands_by_is_loaded_beside_and_keeps_nobody_from_answering(world):
    world.broken, world.standby = {3}, 3
    world.move(2)
    assert world.answering == 2
    assert world.view.failures == {}
    world.view.start()
    try:
        until(lambda: "v3 cannot be loaded" in world.view.failures.get("default", ""))
        assert world.answering == 2
        with pytest.raises(ConflictError, match="answers no requests"):
            world.view.of("v3")
        world.broken, world.standby = set(), 1
        until(lambda: world.view.failures == {})
    finally:
        world.view.close()


def test_only_versions_that_answer_can_be_named(world):
    assert not world.view.of("default").is_pinned
    assert not world.view.of("models:/default@champion").is_pinned
    assert world.view.of("models:/default/1").is_pinned
    assert world.view.of("v1").routing.champion.number == 1
    for name in ("v2", "models:/default/2"):
        with pytest.raises(ConflictError, match="answers no requests"):
            world.view.of(name)
    for name in ("nobody", "models:/default/7", "models:/default@nobody"):
        with pytest.raises(UnknownName):
            world.view.of(name)


@pytest.mark.parametrize(
    ("uri", "parts"),
    [
        ("models:/a/3", ("a", 3, "")),
        ("models:/a@b", ("a", None, "b")),
        ("models:/a/b/3", ("a/b", 3, "")),
    ],
)
def test_versions_are_named_in_the_words_of_mlflow(uri, parts):
    assert split_uri(uri) == parts


@pytest.mark.parametrize(
    "uri", ["models:/", "models:/a", "models:/a/x", "models:/@b", "models:/a@"]
)
def test_what_names_no_version_says_how_one_is_named(uri):
    with pytest.raises(UnknownName, match="@champion"):
        split_uri(uri)
