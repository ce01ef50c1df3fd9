"""Versions of every misbehaviour, brought to life in a process of their own by the tests."""

import ctypes
import math
import os
import resource
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from glassbox.errors import CorruptArtifact, InvalidValue
from glassbox.rollout.prediction import Prediction
from glassbox.rollout.version import Version

KEPT: list[bytearray] = []


def honest(row: dict[str, Any]) -> Prediction:
    total = math.fsum(float(each) for each in row.values()) % 1.0
    return Prediction(total, max(total, 1.0 - total))


def near(row: dict[str, Any]) -> Prediction:
    return Prediction(honest(row).prediction + 0.125, 0.5)


def classes(row: dict[str, Any]) -> Prediction:
    total = honest(row).prediction
    return Prediction(total, None, "a", {"a": total, "b": 1.0 - total}, {"n_tokens": 3.0})


def slow(row: dict[str, Any]) -> Prediction:
    time.sleep(0.15)
    return honest(row)


def refuse(row: dict[str, Any]) -> Prediction:
    raise InvalidValue("x", row["x"], "something else")


def crash(row: dict[str, Any]) -> Prediction:
    raise ZeroDivisionError("by nothing")


def hang(row: dict[str, Any]) -> Prediction:
    for each in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(each, signal.SIG_IGN)
    while True:
        time.sleep(60)


def spin(row: dict[str, Any]) -> Prediction:
    while True:
        pass


def leak(row: dict[str, Any]) -> Prediction:
    KEPT.append(bytearray(os.urandom(2**20)) * 32)
    return honest(row)


def kill_itself(row: dict[str, Any]) -> Prediction:
    os.kill(os.getpid(), signal.SIGKILL)
    return honest(row)


def kill_its_group(row: dict[str, Any]) -> Prediction:
    os.killpg(0, signal.SIGKILL)
    return honest(row)


def stop_itself(row: dict[str, Any]) -> Prediction:
    os.kill(os.getpid(), signal.SIGSTOP)
    return honest(row)


def leave(row: dict[str, Any]) -> Prediction:
    os._exit(0)


def leave_politely(row: dict[str, Any]) -> Prediction:
    sys.exit("enough")


def segfault(row: dict[str, Any]) -> Prediction:
    ctypes.string_at(0)
    return honest(row)


def shout(row: dict[str, Any]) -> Prediction:
    for stream in (sys.stdout, sys.stderr):
        stream.write('{"id": 1, "answers": []}\n' * 10_000)
        stream.flush()
    os.write(1, b"\0" * 100_000)
    return honest(row)


def scribble(row: dict[str, Any]) -> Prediction:
    for descriptor in range(3, 1024):
        try:
            os.write(descriptor, b"\xff" * 4096)
        except OSError:
            continue
    return honest(row)


def shut_all(row: dict[str, Any]) -> Prediction:
    os.closerange(0, 1024)
    return honest(row)


def not_a_number(row: dict[str, Any]) -> Prediction:
    return Prediction(math.nan, 0.5)


def infinite(row: dict[str, Any]) -> Prediction:
    return Prediction(0.5, 0.5, "a", {"a": math.inf})


def mutate(row: dict[str, Any]) -> Prediction:
    answer = honest(row)
    for name in list(row):
        row[name] = 0.0
    row["new"] = 1.0
    row.clear()
    return answer


def nonsense(row: dict[str, Any]) -> Prediction:
    return "yes"  # type: ignore[return-value]


def too_many(row: dict[str, Any]) -> Prediction:
    raise AssertionError("never asked row by row")


def breed(row: dict[str, Any]) -> Prediction:
    subprocess.Popen(["sleep", "600"])
    while True:
        time.sleep(60)


def breed_and_leave(row: dict[str, Any]) -> Prediction:
    subprocess.Popen(["sleep", "600"])
    os._exit(7)


def run_on(row: dict[str, Any]) -> Prediction:
    threading.Thread(target=spin, args=(row,), daemon=False).start()
    return honest(row)


def recurse(row: dict[str, Any]) -> Prediction:
    return recurse(row)


def no_memory(row: dict[str, Any]) -> Prediction:
    raise MemoryError


def huge(row: dict[str, Any]) -> Prediction:
    return Prediction(0.5, 0.5, "x" * (80 * 2**20))


def many_files(row: dict[str, Any]) -> Prediction:
    KEPT.extend(bytearray(1) for _ in range(3))
    for _ in range(resource.getrlimit(resource.RLIMIT_NOFILE)[0] + 10):
        os.open(os.devnull, os.O_RDONLY)
    return honest(row)


def honest_then_leave(row: dict[str, Any]) -> Prediction:
    if row["x"] > 0.5:
        os._exit(1)
    return honest(row)


def as_told(row: dict[str, Any]) -> Prediction:
    raise AssertionError("each request says which one it means")


BEHAVIOURS: dict[str, Callable[[dict[str, Any]], Prediction]] = {
    name: value
    for name, value in list(globals().items())
    if callable(value) and getattr(value, "__module__", "") == __name__ and name.islower()
}


class Challenger:
    """Answers each row as its function says."""

    def __init__(self, behave: Callable[[dict[str, Any]], Prediction]) -> None:
        self._behave = behave

    def predict(self, rows: Sequence[Mapping[str, Any]]) -> list[Prediction]:
        behave = BEHAVIOURS[rows[0]["how"]] if self._behave is as_told else self._behave
        if behave is too_many:
            return [honest({})] * (len(rows) + 1)
        return [behave(each) for each in rows]  # type: ignore[arg-type]

    def close(self) -> None:
        """Nothing is held."""


def load(told: Mapping[str, Any], overrides: Mapping[str, Any]) -> Challenger:
    how = told["metadata"]["how"]
    if how == "exit_at_import":
        sys.exit("not today")
    if how == "leave_at_import":
        os._exit(3)
    if how == "hang_at_import":
        time.sleep(600)
    if how == "corrupt":
        raise CorruptArtifact("weights.bin", "its digest is another one")
    if how == "raise_at_import":
        raise RuntimeError("no weights")
    if how == "overridden":
        return Challenger(lambda row: Prediction(float(overrides["answer"])))
    if how == "scheduling":
        return Challenger(lambda row: Prediction(float(os.sched_getscheduler(0))))
    return Challenger(BEHAVIOURS[how])


def version(how: str, number: int = 2) -> Version:
    """Return a version that behaves so."""
    return Version(
        "default", number, f"v{number}-{how}", "callable", f"{number:064x}", "", 0.0, {"how": how}
    )
