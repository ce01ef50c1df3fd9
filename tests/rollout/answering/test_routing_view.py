"""Who answers is known without asking a database; a new version answers once it is loaded."""

import pytest

from glassbox.errors import CapacityError, ConflictError, CorruptArtifact, UnknownName
from glassbox.rollout.answering import routing_view
from glassbox.rollout.answering.routing_view import RoutingView, View, split_uri
from glassbox.rollout.routing import Routing
from glassbox.rollout.version import Snapshot, Version


def version(number):
    return Version("default", number, f"v{number}", "callable", f"d{number}", "m:f", 0.0)


class World:
    """A registry and hosts that do as they are told."""

    def __init__(self):
        self.champion = 1
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
        routing = Routing("default", version(self.champion), revision=self.revision)
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
