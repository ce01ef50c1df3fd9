"""The watch: the latest records against the current reference, into a report that is kept.

Reads through two small protocols and computes with the modules beside it. Where and when it runs
is not its concern.
"""

import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from typing import Final, Protocol

import numpy as np

from glassbox.audit.records import Arm, InferenceRecord, PredictionStatus
from glassbox.errors import ConflictError, DependencyMissing, InvalidValue
from glassbox.rollout.drift.comparison import compare_windows
from glassbox.rollout.drift.dependence import importance
from glassbox.rollout.drift.drift_store import DriftStore
from glassbox.rollout.drift.fairness import segment_gaps
from glassbox.rollout.drift.quality import estimated, realised
from glassbox.rollout.drift.recorded import window_of
from glassbox.rollout.drift.reference import MOST_ROWS, Reference
from glassbox.rollout.drift.report import DriftReport, Seasonality, SegmentGap
from glassbox.rollout.drift.windows import Window
from glassbox.rollout.version import DEFAULT_MODEL, option_of
from glassbox.settings import DriftSettings
from glassbox.stats.drift.seasonality import Season, detect_season, same_hours
from glassbox.wording import counted

PAGE: Final = 1000
"""Records read at a time."""

LOOKED_AT: Final = 100
"""Latest answers of a model among which one of its champion is looked for."""


class Records(Protocol):
    """The durable log, as far as the watch reads it."""

    def recent(
        self,
        limit: int = 100,
        *,
        before: int | None = None,
        model: str | None = None,
        model_version: str | None = None,
        status: PredictionStatus | None = None,
    ) -> list[InferenceRecord]:
        """Return a page of the latest records, newest first."""
        ...

    def range(
        self, since_s: float, until_s: float, *, model_version: str | None = None
    ) -> Iterable[InferenceRecord]:
        """Return the records of some time, oldest first."""
        ...


class DriftWatch:
    """Compares what comes with what came.

    Args:
        records: The durable log.
        store: References and reports.
        settings: Size of the window, and how much is chance.
        clock: Unix time in seconds.
    """

    def __init__(
        self,
        records: Records,
        store: DriftStore,
        settings: DriftSettings,
        *,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._records = records
        self._store = store
        self._settings = settings
        self._clock = clock

    def freeze(
        self,
        *,
        model: str = DEFAULT_MODEL,
        model_version: str | None = None,
        last_n: int | None = None,
        since_s: float | None = None,
        until_s: float | None = None,
        actor: str = "unknown",
    ) -> Reference:
        """Return a new reference, the current one from now on.

        Args:
            model: Registered model.
            model_version: Version whose answers it holds; None is the one that answers now.
            last_n: So many latest records, twice the window by default.
            since_s: Records from this Unix time on, instead of the latest.
            until_s: Records before this Unix time; None is now.
            actor: Who makes it.

        Raises:
            InvalidValue: Both a number and a time were asked for, or an end without a beginning.
            NotEnoughData: Fewer than 100 answers.
        """
        if since_s is not None and last_n is not None:
            raise InvalidValue("last_n", last_n, "unset where since_s is given")
        if since_s is None and until_s is not None:
            raise InvalidValue("until_s", until_s, "unset where since_s is not given")
        if since_s is None:
            few = _Even()
            for each in self._latest(last_n or 2 * self._settings.window, model, model_version):
                few.add(each)
            found = few.kept
        else:
            end = self._clock() if until_s is None else until_s
            spanned = self._records.range(since_s, end, model_version=model_version)
            found = _of_one_version(each for each in spanned if _is_of(each, model))
        return self._store.freeze(window_of(found), model=model, actor=actor)

    def run(self, *, model: str = DEFAULT_MODEL, model_version: str | None = None) -> DriftReport:
        """Return the report on the latest records, kept from now on.

        Args:
            model: Registered model.
            model_version: Version whose answers are looked at; None is the one that answers now.

        Raises:
            ConflictError: There is no reference.
        """
        reference = self._store.reference(model)
        if reference is None:
            raise ConflictError(
                f"The model {model!r} has no drift reference to compare with. Make one first: "
                f"glassbox drift reference create{option_of(model)}"
            )
        window = window_of(self._latest(self._settings.window, model, model_version))
        return self._store.keep(self.compare(reference, window))

    def compare(self, reference: Reference, window: Window) -> DriftReport:
        """Return the report on a window, not kept."""
        return compared(
            reference.window,
            window,
            self._settings,
            model=reference.model,
            reference_id=reference.reference_id,
            time_s=self._clock(),
        )

    def _latest(
        self, limit: int, model: str, model_version: str | None
    ) -> Iterator[InferenceRecord]:
        if model_version is None:
            newest = [each.primary for each in self._records.recent(LOOKED_AT, model=model)]
            if not newest:
                return
            # A challenger that answers a share is not what the reference stands for.
            usual = next((each for each in newest if each.arm == "champion"), newest[0])
            model_version = usual.model_version
        n_left, before = limit, None
        while n_left > 0:
            page = self._records.recent(
                min(PAGE, n_left), before=before, model_version=model_version, status="success"
            )
            if not page:
                break
            # A version belongs to one model only.
            yield from page
            n_left -= len(page)
            before = page[-1].sequence


def compared(
    reference: Window,
    window: Window,
    settings: DriftSettings,
    *,
    model: str = "",
    reference_id: str = "",
    time_s: float = 0.0,
) -> DriftReport:
    """Return the report on a window against the rows of a reference; nothing is kept.

    Args:
        reference: Rows of then.
        window: Rows of now.
        settings: How many rows are enough, and how much is chance.
        model: Registered model, for the report.
        reference_id: Of the reference, for the report.
        time_s: Unix time, for the report.
    """
    started = time.perf_counter()
    head = DriftReport(
        report_id="",
        time_s=time_s,
        model=model,
        model_version=window.model_version,
        reference_id=reference_id,
        n_reference=reference.n_rows,
        n_current=window.n_rows,
        verdict="not_enough_data",
        since_s=float(window.times_s[0]) if window.n_rows else None,
        until_s=float(window.times_s[-1]) if window.n_rows else None,
    )
    least = min(settings.min_rows, reference.n_rows)
    if window.n_rows < least:
        note = f"{counted(window.n_rows, 'answer')}; {least:,} are needed to judge."
        return replace(head, notes=(note,))
    season, before, now, notes = _same_hours(reference, window, least)
    features, left_out = compare_windows(before, now, fdr=settings.fdr)
    notes += left_out
    gaps, missing = _gaps(window)
    estimates, truths = estimated(reference, window), realised(reference, window)
    has_fallen = any(each.fell for each in (*estimates, *truths))
    has_drifted = any(each.drifted for each in features)
    return replace(
        head,
        verdict="drift" if has_drifted or has_fallen else "no_drift",
        features=features,
        estimate=estimates[0] if estimates else None,
        realised=truths[0] if truths else None,
        further=(*estimates[1:], *truths[1:]),
        importance=importance(before, now),
        gaps=gaps,
        seasonality=season,
        notes=(*notes, *missing),
        wall_s=time.perf_counter() - started,
    )


def _is_of(record: InferenceRecord, model: str) -> bool:
    return record.primary.model == model and record.primary.status == "success"


class _Even:
    """Some of the records that come, spread evenly over all, however many these are."""

    def __init__(self) -> None:
        self.kept: list[InferenceRecord] = []
        self._n, self._stride = 0, 1

    def add(self, record: InferenceRecord) -> None:
        if self._n % self._stride == 0:
            self.kept.append(record)
        self._n += 1
        if len(self.kept) > 2 * MOST_ROWS:
            # A reference holds half of them at most: weeks of records need not fit into memory.
            self.kept, self._stride = self.kept[::2], 2 * self._stride


def _of_one_version(records: Iterable[InferenceRecord]) -> list[InferenceRecord]:
    """Return those of the champion that answered last: answers of two versions are no reference."""
    found: dict[str, _Even] = {}
    last: dict[Arm, _Even] = {}
    for each in records:
        answer = each.primary
        last[answer.arm] = found.setdefault(answer.model_version, _Even())
        last[answer.arm].add(each)
    return (last.get("champion") or last.get("challenger") or _Even()).kept


def _same_hours(
    reference: Window, window: Window, least: int
) -> tuple[Seasonality | None, Window, Window, tuple[str, ...]]:
    """Return the rows to compare: those of the window's hours, where a pattern returns."""
    found: tuple[Season, str] | None = None
    for column in reference.columns:
        there = column.is_there
        if column.kind == "categorical" or there.mean() < 0.5:
            continue
        season = detect_season(reference.times_s[there], column.values[there])
        if season is not None and (found is None or season.effect > found[0].effect):
            found = season, column.name
    if found is None:
        return None, reference, window, ()
    season, name = found
    rows, is_covered = same_hours(reference.times_s, window.times_s, season.period)
    is_applied = rows.size >= least and int(is_covered.sum()) >= least
    said = Seasonality(
        season.period,
        name,
        season.effect,
        season.n_cycles,
        is_applied,
        int(rows.size) if is_applied else reference.n_rows,
        float(is_covered.mean()),
    )
    if not is_applied:
        note = (
            f"{name} follows the {season.period}, but the reference has only {rows.size} rows of "
            "the window's hours: compared with all of it."
        )
        return said, reference, window, (note,)
    return said, reference.rows(rows), window.rows(np.flatnonzero(is_covered)), ()


def _gaps(window: Window) -> tuple[tuple[SegmentGap, ...], tuple[str, ...]]:
    try:
        return segment_gaps(window), ()
    except DependencyMissing as error:
        return (), (f"Gaps between segments were not computed: {error}",)
