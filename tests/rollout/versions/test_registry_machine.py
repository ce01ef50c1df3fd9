"""The registry as a state machine: whatever is done to it, exactly one version answers."""

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, initialize, invariant, rule

from glassbox.errors import ConflictError, InvalidValue, UnknownName
from glassbox.rollout.version import CHAMPION, PREVIOUS_CHAMPION, Version, is_challenger
from glassbox.rollout.versions.alias_rules import replayed
from glassbox.rollout.versions.registry import Registry
from glassbox.storage.database import open_database

ALIASES = st.sampled_from(["champion", "challenger", "challenger-2", "previous_champion", "canary"])
SAID = {"actor": "machine", "reason": "a step"}


class RegistryMachine(RuleBasedStateMachine):
    """Registers, moves, promotes and rolls back, also under stale expectations."""

    versions = Bundle("versions")

    @initialize(target=versions)
    def begin(self) -> int:
        self.database = open_database("sqlite://")
        self.registry = Registry(self.database)
        self.known: list[Version] = []
        self.reigned: list[int] = []
        first = self.register("0")
        self.registry.promote("default", first, expected_champion=None, **SAID)
        return first

    @rule(target=versions, content=st.sampled_from("0123456789"))
    def register(self, content: str) -> int:
        there = next((each for each in self.known if each.digest == content), None)
        version = self.registry.register("default", "callable", "m:f", content)
        assert there in (None, version)
        if there is None:
            assert version.number == len(self.known) + 1
            self.known.append(version)
        return version.number

    @rule(alias=ALIASES, to=st.none() | versions, stale=st.booleans())
    def move(self, alias: str, to: int | None, stale: bool) -> None:
        before = self.now
        expected = before.get(alias)
        if stale:
            expected = 99 if expected is None else None
        try:
            line = self.registry.move_alias("default", alias, to, expected=expected, **SAID)
        except ConflictError:
            assert stale
            assert self.now == before
        except InvalidValue:
            assert not stale
            assert self.now == before
        else:
            assert not stale
            assert (line.before, line.after) == (before.get(alias), to)
            assert self.now.get(alias) == to

    @rule(to=versions)
    def promote(self, to: int) -> None:
        before = self.now
        try:
            self.registry.promote("default", to, expected_champion=before[CHAMPION], **SAID)
        except InvalidValue:
            assert to == before[CHAMPION]
        else:
            assert self.now[CHAMPION] == to
            assert self.now[PREVIOUS_CHAMPION] == before[CHAMPION]

    @rule(to=st.integers(50, 60))
    def promote_what_is_not_there(self, to: int) -> None:
        before = self.now
        try:
            self.registry.promote("default", to, expected_champion=before[CHAMPION], **SAID)
        except UnknownName:
            assert self.now == before
        else:
            raise AssertionError("an unknown version was promoted")

    @rule()
    def rollback(self) -> None:
        before = self.now
        try:
            self.registry.rollback("default", expected_champion=before[CHAMPION], **SAID)
        except ConflictError:
            previous = before.get(PREVIOUS_CHAMPION)
            assert previous in (None, before[CHAMPION])
        else:
            assert self.now[CHAMPION] == before[PREVIOUS_CHAMPION]
            assert self.now.get(PREVIOUS_CHAMPION) != self.now[CHAMPION]

    @rule()
    def rolling_back_ends(self) -> None:
        for _ in range(len(self.registry.history(alias=CHAMPION)) + 1):
            before = self.now
            if before.get(PREVIOUS_CHAMPION) in (None, before[CHAMPION]):
                return
            self.rollback()
        raise AssertionError("going back went on for ever")

    @property
    def now(self) -> dict[str, int]:
        return dict(self.registry.snapshot().aliases["default"])

    @invariant()
    def exactly_one_champion(self) -> None:
        if not getattr(self, "known", None):
            return
        snapshot = self.registry.snapshot()
        champion = snapshot.aliased(CHAMPION)
        assert champion is not None
        challengers = snapshot.challengers()
        assert champion not in challengers
        assert len({each.number for each in challengers}) == len(challengers)
        assert len(challengers) == sum(is_challenger(each) for each in self.now)

    @invariant()
    def history_leads_to_the_present(self) -> None:
        if not getattr(self, "known", None):
            return
        lines = self.registry.history(limit=1000)[::-1]
        assert [each.sequence for each in lines] == list(range(1, len(lines) + 1))
        assert replayed(lines) == self.registry.snapshot().aliases
        assert list(self.registry.snapshot().versions) == self.known

    def teardown(self) -> None:
        if hasattr(self, "database"):
            self.database.close()


RegistryMachine.TestCase.settings = settings(max_examples=40, stateful_step_count=25, deadline=None)
TestRegistry = RegistryMachine.TestCase
