"""Made-up answers of the routes below ``/api/v2/models``, as plain values."""

import hashlib
import math
import time

CHAMPION = "default_model_v1"
CHALLENGER = "reviews-tuned-v2"
START = time.time() - 7200


def entry(sequence):
    """Return the entry with a place in the log."""
    wave = math.sin(sequence / 9) * 0.5 + 0.5
    failed = sequence % 97 == 0
    diff = None if sequence % 11 == 0 else round(abs(math.sin(sequence)) ** 5 * 0.3, 4)
    prob = round(0.02 + 0.96 * wave, 4)
    confidence = max(prob, 1 - prob)
    digest = hashlib.sha256(str(sequence).encode()).hexdigest()
    return {
        "request_id": f"req-{sequence:05d}-{digest[:8]}",
        "timestamp": START + sequence * 2.5,
        "model": "default",
        "model_version": CHALLENGER if sequence % 10 == 3 else CHAMPION,
        "arm": "challenger" if sequence % 10 == 3 else "champion",
        "feature_hash": f"v1:k1:{digest[:32]}",
        "latency_ms": 3.0 + 9 * wave,
        "status": "error" if failed else "success",
        "error_code": "invalid-value" if failed else None,
        "prediction": None if failed else prob,
        "confidence": None if failed else confidence,
        "label": None if failed else ("negative" if prob > 0.5 else "positive"),
        "label_probs": None if failed else {"negative": prob, "positive": 1 - prob},
        "shadow_version": CHALLENGER,
        "shadow_status": "timeout" if diff is None else "ok",
        "shadow_diff": diff,
        "shadow_prediction": None if diff is None else max(0.0, prob - diff),
        "shadow_latency_ms": None if diff is None else 31.0,
        "true_label": "negative" if sequence % 5 == 0 and not failed else None,
        "sequence": sequence,
    }


def gates(verdict):
    """Return the gates; the last one has the verdict."""
    shown = [
        ("difference", 0.021, 0.012, 0.033, 0.05, "pass", 1840, 500, "Mean difference, noise off"),
        ("error_rate", 0.001, -0.004, 0.006, 0.01, "pass", 1840, 500, "Challenger minus champion"),
        ("latency", 0.012, 0.004, 0.041, 0.05, "pass", 1840, 500, "Share of slow answers"),
    ]
    last = {
        "pass": (0.004, -0.006, 0.014, 0.02),
        "fail": (0.071, 0.048, 0.094, 0.02),
        "inconclusive": (0.009, -0.011, 0.029, 0.02),
    }[verdict]
    shown.append(
        ("calibration", *last, verdict, 410, 300, "Brier score, challenger minus champion")
    )
    names = ("name", "value", "low", "high", "limit", "verdict", "n", "needed", "about")
    return [dict(zip(names, each, strict=True)) for each in shown]


def series(shown):
    """Return how the gates' intervals closed in."""
    points = []
    for gate in shown:
        for at in range(1, 61):
            n = at * gate["n"] // 60
            width = (gate["high"] - gate["low"]) / 2 * math.sqrt(60 / at)
            value = gate["value"] + 0.2 * width * math.sin(at * 1.7)
            points.append(
                {
                    "n": n,
                    "time_s": START + at * 60,
                    "gate": gate["name"],
                    "value": value,
                    "low": value - width,
                    "high": value + width,
                    "limit": gate["limit"],
                }
            )
    return points


def rollout(phase, *, id="r-2", weight=0.0, verdict="inconclusive"):
    """Return a rollout in some phase."""
    shown = gates(verdict)
    steps = [
        (None, "Initialized", "ada", "the tuned model, second attempt", {}),
        ("Initialized", "Waiting", "controller", "The challenger sees copies.", {}),
        ("Waiting", "Progressing", "controller", "All gates passed at the shadow step.", {}),
    ]
    if phase in ("Failed", "Succeeded"):
        why = "Gate calibration failed: 0.048 to 0.094 lies beyond 0.02."
        reason = why if phase == "Failed" else "Every gate passed through the bake."
        evidence = {"gates": shown, "weight": 0.2}
        steps.append(("Progressing", phase, "controller", reason, evidence))
    names = ("before", "after", "actor", "reason", "evidence")
    decisions = {
        "Failed": ("rollback", "Gate calibration failed: its interval lies beyond the limit."),
        "Succeeded": ("done", "The challenger is champion."),
    }
    decision = decisions.get(
        phase, ("wait", "calibration is not decided: 410 labels, 0.029 > 0.02.")
    )
    return {
        "id": id,
        "model": "default",
        "champion": CHAMPION,
        "challenger": CHALLENGER,
        "phase": phase,
        "paused": False,
        "weight": weight,
        "dry_run": False,
        "started_s": START + (0 if id == "r-1" else 3000),
        "updated_s": START + 7100,
        "plan": {"step_weight": 0.1, "max_weight": 0.5, "min_requests": 500},
        "gates": shown,
        "decision": {"verdict": decision[0], "reason": decision[1]},
        "transitions": [
            {"time_s": START + 3000 + 900 * at, **dict(zip(names, step, strict=True))}
            for at, step in enumerate(steps)
        ],
        "evidence_series": series(shown),
        "verbs": [] if phase in ("Failed", "Succeeded") else ["pause", "promote", "abort"],
    }


def feature(name, kind, effect, *, drifted, edges, reference, current):
    """Return one column of a comparison."""
    return {
        "name": name,
        "kind": kind,
        "statistics": {"ks": effect * 0.8, "psi": effect, "jensen_shannon": effect * 0.6},
        "effect": effect,
        "effect_name": "psi",
        "p_value": 1e-9 if drifted else 0.4,
        "p_adjusted": 4e-8 if drifted else 0.61,
        "limit": 0.1,
        "drifted": drifted,
        "edges": edges,
        "reference": reference,
        "current": current,
        "n_reference": 5000,
        "n_current": 2000,
    }


def report(n_more=40):
    """Return a comparison in which two columns drifted."""
    tenths = [round(0.1 * at, 1) for at in range(11)]
    flat = [0.1] * 10
    skewed = [0.02, 0.03, 0.05, 0.06, 0.08, 0.1, 0.12, 0.15, 0.18, 0.21]
    features = [
        feature(
            "text.n_tokens",
            "numeric",
            0.41,
            drifted=True,
            edges=[0.0, 8.0, 12.0, 16.0, 20.0, 26.0, 34.0, 48.0, 64.0, 96.0, 256.0],
            reference=flat,
            current=skewed,
        ),
        feature(
            "label",
            "categorical",
            0.17,
            drifted=True,
            edges=["negative", "positive", "neither of the two"],
            reference=[0.52, 0.44, 0.04],
            current=[0.71, 0.27, 0.02],
        ),
        feature(
            "confidence",
            "numeric",
            0.06,
            drifted=False,
            edges=tenths,
            reference=flat,
            current=flat,
        ),
    ]
    features += [
        feature(
            f"state_{at}",
            "numeric",
            0.05 / (at + 1),
            drifted=False,
            edges=tenths,
            reference=flat,
            current=flat,
        )
        for at in range(n_more)
    ]
    return {
        "report_id": "d-7",
        "time_s": START + 7000,
        "model_version": CHAMPION,
        "reference_id": "ref-2026-11",
        "n_reference": 5000,
        "n_current": 2000,
        "verdict": "drift",
        "features": features,
        "estimate": {
            "metric": "accuracy",
            "value": 0.842,
            "low": 0.826,
            "high": 0.858,
            "reference": 0.883,
            "n": 2000,
            "fell": True,
        },
        "realised": None,
        "importance": {
            "features": ["n_tokens", "country"],
            "reference": [0.41, 0.06],
            "current": [0.22, 0.07],
            "rank_correlation": 1.0,
            "distance": 0.1,
            "p_value": 0.004,
            "changed": True,
        },
        "gaps": [
            {
                "segment": "country",
                "measure": "accuracy",
                "groups": {"DE": 0.9, "NL": 0.82},
                "n_rows": {"DE": 1200, "NL": 800},
                "gap": 0.08,
            }
        ],
        "seasonality": None,
        "notes": ["2 columns were left out: fewer than 20 values."],
    }


REFERENCE = {
    "reference_id": "ref-2026-11",
    "created_s": START - 86_400,
    "model_version": CHAMPION,
    "n_rows": 5000,
    "digest": "5f" * 32,
    "is_current": True,
}


def versions(aliases):
    """Return three versions under these aliases."""
    shown = []
    for number, (name, kind) in enumerate(
        [(CHAMPION, "llm-classifier"), (CHALLENGER, "llm-classifier"), ("tfidf-v1", "sklearn")], 1
    ):
        shown.append(
            {
                "model": "default",
                "number": number,
                "name": name,
                "kind": kind,
                "digest": hashlib.sha256(name.encode()).hexdigest(),
                "uri": f"models:/default/{number}",
                "created_s": START - 86_400 * (5 - number),
                "aliases": [alias for alias, held in aliases.items() if held == number],
                "metadata": {
                    "labels": ["negative", "positive"],
                    "calibrator": "platt",
                    "threshold": 0.723,
                    "metrics": {"accuracy": 0.85 + number / 100, "ece": 0.031, "brier": 0.11},
                },
            }
        )
    return {"revision": 9, "versions": shown, "aliases": {"default": aliases}}


def summary(world):
    """Return the summary of the entries, or of none."""
    if world.is_empty:
        none = dict.fromkeys(("p50", "p90", "p95", "p99"))
        bins = dict.fromkeys(("0.0-0.2", "0.2-0.4", "0.4-0.6", "0.6-0.8", "0.8-1.0"), 0)
        average = None
    else:
        none = {"p50": 7.4, "p90": 11.2, "p95": 11.8, "p99": 12.6}
        bins = {"0.0-0.2": 0, "0.2-0.4": 0, "0.4-0.6": 131, "0.6-0.8": 288, "0.8-1.0": 571}
        average = 0.0521
    n = sum(bins.values()) + (0 if world.is_empty else 10)
    return {
        "rolling_count": n,
        "avg_latency_ms": None if world.is_empty else 7.61,
        "shadow_avg_diff": average,
        "prediction_mean": None if world.is_empty else 0.503,
        "confidence_histogram": bins,
        "shadow_enabled": not world.is_empty,
        "active_model": CHAMPION,
        "shadow_model": None if world.is_empty else CHALLENGER,
        "success_rate": None if world.is_empty else 0.99,
        "error_count": 0 if world.is_empty else 10,
        "shadow_min_diff": None if world.is_empty else 0.0001,
        "shadow_max_diff": None if world.is_empty else 0.2996,
        "ring_utilisation": n / 1000,
        "n_without_confidence": 0 if world.is_empty else 10,
        "latency_percentiles_ms": none,
        "shadow": {
            "ema_diff": None if world.is_empty else 0.061,
            "histogram": {
                "edges": [0, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1],
                "counts": [0] * 8 if world.is_empty else [402, 70, 64, 96, 88, 104, 85, 0],
            },
            "n_outliers": 0 if world.is_empty else 31,
            "counts": {} if world.is_empty else {"ok": 909, "timeout": 81, "dropped": 4},
            "noise_floor": None if world.is_empty else 0.0004,
        },
        "versions": [],
        "segments": {},
        "lifetime": {"inferences": 0 if world.is_empty else 2500, "errors": 0},
        "window": {"from_s": None, "to_s": None},
    }


def health(world):
    """Return the state of the parts."""
    slow = "81 copies took longer than 5 s; the process was replaced 3 times."
    return {
        "status": "ok" if world.is_empty else "degraded",
        "components": {
            "registry": {"status": "ok", "details": {"revision": 9}},
            "primary": {"status": "ok", "details": {"loaded": 1}},
            "shadow": {"status": "degraded", "reason": slow, "details": {"queue": 3}},
            "audit": {"status": "ok", "details": {"ring_utilisation": 1.0, "queue": 0}},
            "rollout": {"status": "ok", "details": {}},
            "drift": {"status": "off", "details": {}},
            "alerts": {"status": "ok", "details": {"waiting": 0}},
        },
    }


def alerts(world):
    """Return one rule that fires, or none."""
    firing = {
        "rule": "shadow-slow",
        "signal": "summary.shadow.counts.timeout",
        "severity": "warn",
        "since_s": START + 6900,
        "value": 81.0,
        "limit": 20.0,
        "summary": "More than 20 copies in five minutes took too long.",
    }
    told = {"receiver": "ops", "attempts": 1, "delivered_s": START + 6901, "last_error": None}
    message = {
        "id": "a-1",
        "rule": "shadow-slow",
        "severity": "warn",
        "state": "firing",
        "time_s": START + 6900,
        "delivered": [told],
    }
    has = world.has_alert and not world.is_empty
    return {"firing": [firing] if has else [], "history": [message] if has else []}


def record(found):
    """Return everything about an entry."""
    shadow = {
        "shadow_version": CHALLENGER,
        "role": "challenger",
        "status": found["shadow_status"],
        "prediction": found["shadow_prediction"],
        "confidence": None,
        "label": found["label"],
        "label_probs": None,
        "diff": found["shadow_diff"],
        "latency_ms": found["shadow_latency_ms"],
        "timestamp": found["timestamp"] + 0.05,
    }
    if found["shadow_diff"] is not None and found["label_probs"]:
        first = found["shadow_prediction"]
        shadow["label_probs"] = {"negative": first, "positive": 1 - first}
        shadow["confidence"] = max(first, 1 - first)
    sequence = found["sequence"]
    return {
        "entry": found,
        "shadows": [shadow],
        "events": [
            {"sequence": 2 * sequence, "kind": "primary", "timestamp": found["timestamp"]},
            {"sequence": 2 * sequence + 1, "kind": "shadow", "timestamp": shadow["timestamp"]},
        ],
        "segments": {"country": "NL"},
        "features": {},
        "summaries": {"n_tokens": 21.0, "state_0": -0.113},
        "rollout_id": "r-2",
        "true_label": found["true_label"],
    }
