"""What recording costs: on the request path, in the writer, and when it is looked at again.

Baselines of the same run: the same rows put into a bare SQLite table in commits of a hundred,
without chain, index or queue, and one commit for every row.

    python -m benchmarks.audit --records 1000000
"""

import argparse
import random
import sqlite3
import statistics
import tempfile
import threading
import time
import uuid
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from glassbox.audit import AuditRing, FeatureHasher, InferenceStore, new_request_id
from glassbox.audit.records import InferenceEvent, PrimaryEvent, ShadowEvent
from glassbox.storage.database import open_database

N_FEATURES = 20
ROUNDS = 5
PACE = 10_000


def _features() -> dict[str, float]:
    return {f"feature_{number}": random.gauss(0, 1) for number in range(N_FEATURES)}


def primary_event(request_id: str, feature_hash: str, *, model: str = "default") -> PrimaryEvent:
    """Return the record of an answer of a two-class classifier, as a server would make it."""
    prob = random.random()
    return PrimaryEvent(
        request_id=request_id,
        time_s=time.time(),
        model=model,
        model_version=f"{model}_model_v1",
        feature_hash=feature_hash,
        latency_ms=1.234567,
        status="success" if prob > 0.001 else "error",
        prediction=prob,
        confidence=max(prob, 1 - prob),
        label="positive" if prob > 0.5 else "negative",
        label_probs={"positive": prob, "negative": 1 - prob},
        revision=3,
    )


def bare_rows(folder: Path, n_records: int, per_commit: int) -> float:
    """Return rows per second of a bare table."""
    connection = sqlite3.connect(folder / f"bare{per_commit}.db", isolation_level=None)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("CREATE TABLE rows (a INTEGER PRIMARY KEY, b, c, d, e, f, g, h)")
    started = time.perf_counter()
    for first in range(0, n_records, per_commit):
        connection.execute("BEGIN IMMEDIATE")
        rows = [
            (first + at, 1.5, "primary", new_request_id(), "default_model_v1", 0.5, 0.7, "success")
            for at in range(per_commit)
        ]
        connection.executemany("INSERT INTO rows VALUES (?,?,?,?,?,?,?,?)", rows)
        connection.execute("COMMIT")
    rate = n_records / (time.perf_counter() - started)
    connection.close()
    return rate


def request_path(store: InferenceStore, hasher: FeatureHasher) -> dict[str, float]:
    """Return microseconds of what happens to a request before it is answered, the median."""
    ring = AuditRing(1000)
    whole, hashing = [], []
    for _ in range(20_000):
        features, request_id = _features(), new_request_id()
        primary = primary_event(request_id, "")
        # A model that takes 0.3 ms: 3,000 requests a second, and a writer that has its turn.
        until = time.perf_counter() + 0.0003
        while time.perf_counter() < until:
            pass
        started = time.perf_counter_ns()
        feature_hash = hasher.hash(features)
        hashed = time.perf_counter_ns()
        event = replace(primary, feature_hash=feature_hash)
        made = time.perf_counter_ns()
        ring.add(event)
        store.record(event)
        ended = time.perf_counter_ns()
        hashing.append(hashed - started)
        whole.append(ended - made + hashed - started)
    store.flush()
    return {
        "hash": statistics.median(hashing) / 1000,
        "whole": statistics.median(whole) / 1000,
        "whole_p99": statistics.quantiles(whole, n=100)[98] / 1000,
    }


def sustained(store: InferenceStore, n_records: int, *, new_id: Callable[[], str]) -> float:
    """Return records per second from the first call to the last commit, hashing not included.

    The events are made before the clock starts, a piece at a time: a benchmark that makes them
    meanwhile measures its own making.
    """
    piece, spent, done = 50_000, 0.0, 0
    while done < n_records:
        events = [
            primary_event(new_id(), "v1:k1:" + "a" * 32)
            for _ in range(min(piece, n_records - done))
        ]
        started = time.perf_counter()
        for event in events:
            store.record(event)
        store.flush(120)
        spent += time.perf_counter() - started
        done += len(events)
    return n_records / spent


def longest_waits(store: InferenceStore, *, seconds: float) -> list[float]:
    """Return milliseconds of the longest wait for the disk in each fifth of a second, sorted.

    PACE records come in a second, a few at a time, as from a server with many connections.
    """
    events = [
        primary_event(new_request_id(), "v1:k1:" + "a" * 32) for _ in range(int(PACE * seconds))
    ]
    found, looked = [], 0.0
    started = time.perf_counter()
    for number, event in enumerate(events):
        store.record(event)
        spent = time.perf_counter() - started
        if spent - looked > 0.2:
            looked = spent
            found.append(1000 * store.status().longest_wait_s)
        if number / PACE - spent > 0.001:
            time.sleep(number / PACE - spent)
    store.flush()
    return sorted(found)


def beside_busy_thread(store: InferenceStore, n_records: int) -> float:
    """Return records per second while another thread computes all the time."""
    is_over = threading.Event()

    def compute() -> None:
        while not is_over.is_set():
            sum(range(1000))

    busy = threading.Thread(target=compute)
    busy.start()
    try:
        return sustained(store, n_records, new_id=new_request_id)
    finally:
        is_over.set()
        busy.join()


def _median_ms(call: Callable[[], object]) -> float:
    times = []
    for _ in range(21):
        started = time.perf_counter()
        call()
        times.append(time.perf_counter() - started)
    return statistics.median(times) * 1000


def looking(store: InferenceStore, ring: AuditRing) -> dict[str, float]:
    """Return milliseconds of what is asked, medians of 21 calls."""
    some = store.recent(50)[-1].primary.request_id
    return {
        "summary of a full window": _median_ms(ring.summary),
        "recent(100)": _median_ms(lambda: store.recent(100)),
        "recent(100), errors": _median_ms(lambda: store.recent(100, status="error")),
        "recent(100), one label": _median_ms(lambda: store.recent(100, label="negative")),
        "recent(100), the model of all but 100": _median_ms(
            lambda: store.recent(100, model="default")
        ),
        "recent(100), the model of the first 100": _median_ms(
            lambda: store.recent(100, model="rare")
        ),
        "recent(100), differences from 0.5": _median_ms(lambda: store.recent(100, min_diff=0.5)),
        "find one": _median_ms(lambda: store.find(some)),
        "counts": _median_ms(store.counts),
    }


def _with_shadows(store: InferenceStore, n_records: int) -> float:
    events: list[InferenceEvent] = []
    for _ in range(n_records // 2):
        primary = primary_event(new_request_id(), "v1:k1:" + "a" * 32)
        shadow = ShadowEvent(
            primary.request_id,
            primary.time_s,
            "v2",
            "ok",
            prediction=0.5,
            diff=random.expovariate(20),
            latency_ms=30.0,
        )
        events += [primary, shadow]
    started = time.perf_counter()
    for event in events:
        store.record(event)
    store.flush(120)
    return len(events) / (time.perf_counter() - started)


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--records", type=int, default=1_000_000)
    asked = parser.parse_args()
    random.seed(0)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        hundred, one = bare_rows(folder, 200_000, 100), bare_rows(folder, 2_000, 1)
        print(f"bare rows, a commit for 100: {hundred:,.0f}/s; for each: {one:,.0f}/s")
        hasher = FeatureHasher("hmac", key=bytes(32), key_id="k1")
        database = open_database(f"sqlite:///{folder}/audit.db")
        store = InferenceStore(database)
        for _ in range(100):
            store.record(primary_event(new_request_id(), "v1:k1:" + "a" * 32, model="rare"))
        path = request_path(store, hasher)
        print(
            f"request path: {path['whole']:.1f} us (p99 {path['whole_p99']:.1f}), "
            f"of which the hash of {N_FEATURES} floats {path['hash']:.1f} us"
        )
        waits = longest_waits(store, seconds=10.0)
        n_late = sum(each > 50.0 for each in waits)
        print(
            f"waits for the disk at {PACE:,} records/s: half of the time below "
            f"{statistics.median(waits):.0f} ms, longest {waits[-1]:.0f} ms, over 50 ms in "
            f"{n_late} of {len(waits)} looks"
        )
        rest = asked.records - 20_000 - 10 * PACE
        rates = [sustained(store, rest // ROUNDS, new_id=new_request_id) for _ in range(ROUNDS)]
        print("sustained, from empty to full: " + ", ".join(f"{each:,.0f}/s" for each in rates))
        print(f"with shadows: {_with_shadows(store, 100_000):,.0f}/s")
        print(f"beside a busy thread: {beside_busy_thread(store, 50_000):,.0f}/s")
        random_ids = sustained(store, 50_000, new_id=lambda: str(uuid.uuid4()))
        print(f"random request names: {random_ids:,.0f}/s")
        ring = AuditRing(1000)
        ring.fill(store.recent(1000))
        for what, milliseconds in looking(store, ring).items():
            print(f"{what}: {milliseconds:.2f} ms")
        started = time.perf_counter()
        found = store.verify()
        seconds = time.perf_counter() - started
        print(f"verify: {found.n_events:,} events in {seconds:.1f} s, broken: {found.broken}")
        size = sum(each.stat().st_size for each in folder.glob("audit.db*"))
        body = store.counts().n_body_bytes
        n_events = found.n_events
        print(f"on the disk: {size / n_events:.0f} bytes an event, {body / n_events:.0f} its body")
        store.close()
        database.close()


if __name__ == "__main__":
    main()
