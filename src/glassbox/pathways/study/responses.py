"""The response logs of a patching study, all of them, read into columns with every fault.

Texts are not kept: a row knows its file and its place there, the length of its response, and
digests of prompt and response, so that a million responses take some tens of megabytes.
"""

import hashlib
import math
from array import array
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from jaxtyping import Bool, Float, Int

from glassbox.pathways.study.checkpoints import kind_of, named_latent
from glassbox.pathways.study.conditions import CONDITIONS, DECISION, decision_outcome
from glassbox.pathways.study.faults import Fault, FaultList
from glassbox.pathways.study.json_stream import stream_records
from glassbox.progress import Progress
from glassbox.types import is_number

PATTERN: Final = "*.json"
"""Names of the log files. Source: the study's plan, "Verify response logs"."""

REQUIRED: Final = ("feature", "condition", "response")
"""Fields of every record. Source: the study's plan, "Check required fields in response"."""

NO_TRIAL: Final = -1
"""Stands for a record that does not number its trial."""


@dataclass(frozen=True, eq=False)
class Responses:
    """All usable responses of a study, one row each, in the order of files and records."""

    names: tuple[str, ...]
    """Latents, in the order they were met."""
    latent: Int[np.ndarray, " rows"]
    """Place in ``names``."""
    condition: Int[np.ndarray, " rows"]
    """Place in ``CONDITIONS``."""
    trial: Int[np.ndarray, " rows"]
    """Number of the trial; ``NO_TRIAL`` where the record has none."""
    outcome: Float[np.ndarray, " rows"]
    """What the trial came to; NaN where the response does not say."""
    length: Int[np.ndarray, " rows"]
    """Characters of the response."""
    prompt: Int[np.ndarray, " rows"]
    """Digest of the prompt, 64 bits; 0 where the record has none."""
    text: Int[np.ndarray, " rows"]
    """Digest of the response, 64 bits."""
    file: Int[np.ndarray, " rows"]
    """Place in ``files``."""
    record: Int[np.ndarray, " rows"]
    """Number of the record in its file, 0-based."""
    first: Bool[np.ndarray, " rows"]
    """Whether the row is the first of its latent, condition and trial; the others do not count."""
    files: tuple[Path, ...]
    """The files, in order of their names."""
    n_records: int
    """Records in the files, whatever they hold."""
    n_bytes: int
    """Size of the files together."""
    outcomes: Mapping[str, str]
    """Log field that each latent's outcome was read from, where it is not ``decision``."""


def response_files(folder: Path) -> tuple[Path, ...]:
    """Return the log files of a folder, in order of their names."""
    return tuple(sorted(each for each in folder.glob(PATTERN) if each.is_file()))


def read_responses(
    folder: Path,
    errors: FaultList,
    warnings: FaultList,
    *,
    outcome: str = DECISION,
    outcomes: Mapping[str, str] | None = None,
    progress: Progress | None = None,
) -> Responses:
    """Return every usable response; every fault goes to the lists.

    Args:
        folder: Where the logs are.
        errors: Takes what makes a response unusable.
        warnings: Takes what is odd.
        outcome: Field that says what a trial came to.
        outcomes: The same for some latents by name, where the study says otherwise.
        progress: Called after each file.
    """
    files = response_files(folder)
    if not files:
        errors.add(Fault("no-response-logs", f"no {PATTERN} in {folder}"))
    sizes = [path.stat().st_size for path in files]
    reading = _Reading(errors, warnings, outcome, outcomes or {})
    n_done = 0
    for place, path in enumerate(files):
        before, n_errors = reading.n_records, len(errors)

        def tell(code: str, words: str, name: str = path.name) -> None:
            errors.add(Fault(code, words, source=name))

        for number, value in stream_records(path, tell):
            reading.take(value, path.name, place, number)
        if reading.n_records == before and len(errors) == n_errors:
            warnings.add(Fault("no-records", "its list is empty", source=path.name))
        n_done += sizes[place]
        if progress is not None:
            progress(n_done, sum(sizes))
    return reading.table(files, sum(sizes))


class _Reading:
    """Rows as they come in."""

    def __init__(
        self, errors: FaultList, warnings: FaultList, outcome: str, outcomes: Mapping[str, str]
    ) -> None:
        self.errors, self.warnings = errors, warnings
        self.outcome, self.outcomes = outcome, outcomes
        self.places: dict[str, int] = {}
        self.condition_places = {name: place for place, name in enumerate(CONDITIONS)}
        self.n_records = 0
        self.small = {name: array("i") for name in ("latent", "condition", "trial", "length")}
        self.where = {name: array("i") for name in ("file", "record")}
        self.digests = {name: array("q") for name in ("prompt", "text")}
        self.values = array("d")

    def take(self, value: Any, source: str, file: int, number: int) -> None:
        """Take note of one record and of all that is wrong with it."""
        self.n_records += 1
        if not isinstance(value, dict):
            words = f"a record is an object; this is {kind_of(value)}"
            self.errors.add(Fault("not-an-object", words, source, number))
            return
        name, condition = value.get("feature"), value.get("condition")
        shown = name if isinstance(name, str) else None
        under = condition if isinstance(condition, str) else None
        problems = self._problems(value)
        for code, words in problems:
            self.errors.add(Fault(code, words, source, number, shown, under))
        if problems:
            return
        trial, problem = _trial(value.get("trial"))
        if problem:
            self.warnings.add(Fault("bad-trial", problem, source, number, shown, under))
        outcome, problem = self._outcome(value, value["feature"])
        if problem:
            self.errors.add(Fault("bad-outcome", problem, source, number, shown, under))
        prompt = value.get("prompt")
        self.small["latent"].append(self.places.setdefault(value["feature"], len(self.places)))
        self.small["condition"].append(self.condition_places[value["condition"]])
        self.small["trial"].append(trial)
        self.small["length"].append(len(value["response"]))
        self.where["file"].append(file)
        self.where["record"].append(number)
        self.digests["prompt"].append(_digest(prompt) if isinstance(prompt, str) else 0)
        self.digests["text"].append(_digest(value["response"]))
        self.values.append(outcome)

    def table(self, files: tuple[Path, ...], n_bytes: int) -> Responses:
        """Return the rows; trials that stand there twice are told and marked."""
        columns = {
            name: np.array(column, dtype=np.int64 if column.typecode == "q" else np.int32)
            for name, column in {**self.small, **self.where, **self.digests}.items()
        }
        table = Responses(
            names=tuple(self.places),
            outcome=np.array(self.values, dtype=np.float64),
            first=np.ones(len(self.values), dtype=np.bool_),
            files=files,
            n_records=self.n_records,
            n_bytes=n_bytes,
            outcomes=dict(self.outcomes),
            **columns,
        )
        _mark_repeated(table, self.errors, self.warnings)
        return table

    def _problems(self, value: Mapping[str, Any]) -> list[tuple[str, str]]:
        problems = []
        missing = [field for field in REQUIRED if field not in value]
        if missing:
            problems.append(("missing-field", f"{', '.join(missing)} missing"))
        # Names repeat by the thousand: those seen to be right are not parsed again.
        name = value.get("feature")
        if "feature" in value and not (isinstance(name, str) and name in self.places):
            _, problem = named_latent(name)
            if problem is not None:
                problems.append(problem)
        condition = value.get("condition", CONDITIONS[0])
        if not isinstance(condition, str):
            problems.append(("wrong-type", f"condition is {kind_of(condition)}, not text"))
        elif condition not in self.condition_places:
            problems.append(("unknown-condition", f"condition {condition!r} is none of the six"))
        if "response" in value:
            text = value["response"]
            if text is None or (isinstance(text, str) and not text.strip()):
                problems.append(("empty-response", "the response is empty"))
            elif not isinstance(text, str):
                problems.append(("wrong-type", f"response is {kind_of(text)}, not text"))
        return problems

    def _outcome(self, value: Mapping[str, Any], name: str) -> tuple[float, str]:
        field = self.outcomes.get(name, self.outcome)
        given = value.get(field)
        if field == DECISION:
            found = decision_outcome(given)
            return (math.nan if found is None else found), ""
        if given is None:
            return math.nan, ""
        if not is_number(given):
            return math.nan, f"{field} is {kind_of(given)}, not a number"
        try:
            outcome = float(given)
        except OverflowError:
            return math.nan, f"{field} is {kind_of(given)}, too large for any outcome"
        return (outcome, "") if math.isfinite(outcome) else (math.nan, f"{field} is {given}")


def _trial(given: Any) -> tuple[int, str]:
    if given is None:
        return NO_TRIAL, ""
    if isinstance(given, int) and not isinstance(given, bool) and 0 <= given < 1 << 31:
        return given, ""
    return NO_TRIAL, f"trial is {kind_of(given)}, not a whole number from 0"


def _digest(text: str) -> int:
    content = text.encode("utf-8", "surrogatepass")
    value = int.from_bytes(hashlib.blake2b(content, digest_size=8).digest(), "little", signed=True)
    return value or 1


def _mark_repeated(table: Responses, errors: FaultList, warnings: FaultList) -> None:
    """Tell of rows that repeat a latent's trial, and mark all but the first."""
    order = np.lexsort((np.arange(table.trial.size), table.trial, table.condition, table.latent))
    keys = np.stack([table.latent[order], table.condition[order], table.trial[order]])
    if keys.shape[1] < 2:
        return
    same_key = (keys[:, 1:] == keys[:, :-1]).all(axis=0) & (keys[2, 1:] != NO_TRIAL)
    again = np.concatenate([[False], same_key])
    table.first[order[again]] = False
    places = np.arange(order.size)
    leaders = order[np.maximum.accumulate(np.where(again, 0, places))]
    for position in np.flatnonzero(again):
        row, leader = int(order[position]), int(leaders[position])
        name, condition = table.names[table.latent[row]], CONDITIONS[table.condition[row]]
        same = bool(table.text[row] == table.text[leader])
        where = f"{table.files[table.file[leader]].name}, record {table.record[leader]}"
        words = f"{name}, {condition}, trial {table.trial[row]} stands in {where} too"
        fault = Fault(
            "repeated-response" if same else "contradictory-response",
            words if same else f"{words}, with another response",
            table.files[table.file[row]].name,
            int(table.record[row]),
            name,
            condition,
        )
        (warnings if same else errors).add(fault)
