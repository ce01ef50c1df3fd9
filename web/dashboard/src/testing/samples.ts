import type { AuditEntry, Gate, Registry, Rollout, Summary } from "../api/wire";

export function entry(sequence: number, changes: Partial<AuditEntry> = {}): AuditEntry {
  return {
    request_id: `req-${sequence}`,
    timestamp: 1_760_000_000 + sequence,
    model: "default",
    model_version: "default_model_v1",
    feature_hash: "v1:k1:00",
    latency_ms: 7.5,
    status: "success",
    prediction: 0.75,
    confidence: 0.75,
    label: "negative",
    arm: "champion",
    shadow_version: "v2",
    shadow_status: "ok",
    shadow_diff: 0.03,
    sequence,
    ...changes,
  };
}

export const registry: Registry = {
  available_versions: ["default_model_v1", "v2"],
  active_version: "default_model_v1",
  shadow_version: "v2",
  shadow_enabled: true,
};

export const summary: Summary = {
  rolling_count: 1000,
  avg_latency_ms: 45.2,
  shadow_avg_diff: 0.08,
  prediction_mean: 0.65,
  confidence_histogram: {
    "0.0-0.2": 10,
    "0.2-0.4": 50,
    "0.4-0.6": 200,
    "0.6-0.8": 500,
    "0.8-1.0": 240,
  },
  shadow_enabled: true,
  active_model: "default_model_v1",
  shadow_model: "v2",
  success_rate: 0.995,
  error_count: 5,
  shadow_min_diff: 0,
  shadow_max_diff: 0.4,
  ring_utilisation: 1,
  n_without_confidence: 7,
  latency_percentiles_ms: { p50: 40, p90: 60, p95: 70, p99: 90 },
  shadow: {
    ema_diff: 0.3,
    histogram: { edges: [0, 0.1, 1], counts: [900, 100] },
    n_outliers: 3,
    counts: { ok: 990, timeout: 10 },
    noise_floor: 0.001,
  },
  versions: [],
  segments: {},
  lifetime: { inferences: 5000, errors: 12 },
  window: { from_s: 1, to_s: 2 },
};

export function gate(name: string, verdict: Gate["verdict"]): Gate {
  return { name, verdict, value: 0.07, low: 0.05, high: 0.09, limit: 0.02, n: 410, needed: 300 };
}

export function rollout(changes: Partial<Rollout> = {}): Rollout {
  return {
    id: "r 1",
    model: "default",
    champion: "default_model_v1",
    challenger: "v2",
    phase: "Progressing",
    paused: false,
    weight: 0.1,
    dry_run: false,
    started_s: 1_760_000_000,
    updated_s: 1_760_000_600,
    plan: {},
    gates: [gate("difference", "pass"), gate("calibration", "inconclusive")],
    decision: { verdict: "wait", reason: "calibration is not decided" },
    transitions: [],
    evidence_series: [],
    verbs: ["pause", "promote", "abort"],
    ...changes,
  };
}
