/**
 * The JSON that a run saves beside each picture; see src/glassbox/charts/.
 *
 * A number that does not exist, as the accuracy of an empty bin, is null.
 */
export type ChartFile = {
  chart: string;
  title: string;
  /** The picture in words, with its main figures. */
  summary: string;
  /** How to read it. */
  reading: string;
  values: Readonly<Record<string, unknown>>;
};

export type Role = "base" | "tuned" | "wrong" | "other" | "highlight" | "baseline";

export type Interval = { estimate: number; low: number; high: number; level: number };

type Maybe = number | null;

export type Curve = {
  edges: number[];
  mean_confidence: Maybe[];
  accuracy: Maybe[];
  accuracy_low: Maybe[];
  accuracy_high: Maybe[];
  counts: number[];
  n_rows: number;
};

export type ReliabilityPanel = {
  title: string;
  role: Role;
  part: string;
  curve: Curve;
  accuracy: Interval;
  mean_confidence: number;
  ece: Interval;
  null: { mean: number; quantile_95: number };
  band: { confidence: number[]; low: number[]; high: number[] } | null;
  corp: { confidence: number[]; accuracy: number[] } | null;
};

export type HistogramPanel = {
  title: string;
  role: Role;
  part: string;
  curve: Curve;
  accuracy: number;
  mean_confidence: number;
};

export type RiskSeries = {
  title: string;
  role: Role;
  part: string;
  curve: { coverage: number[]; risk: number[]; aurc: number; n_rows: number };
};

export type BusinessPanel = {
  title: string;
  role: Role;
  part: string;
  curve: {
    threshold: number[];
    share_automated: number[];
    error_rate: Maybe[];
    error_rate_low: Maybe[];
    error_rate_high: Maybe[];
  };
  threshold: { value: Maybe; max_error: number; coverage: number; confidence_level: number };
  share_automated: Maybe;
};

export type Confusion = { title: string; part: string; labels: string[]; counts: number[][] };

export type BarsValue = {
  bars: {
    group: string;
    series: string;
    role: Role;
    interval: Interval;
    null: { mean: number; quantile_95: number } | null;
  }[];
  part: string;
  n_rows: number;
  reference: Maybe;
  reference_name: string;
};

export type TrainingCurve = {
  step: number[];
  train_loss: number[];
  validation_loss: number[];
  best_step: number;
};

export type TruthPanel = {
  title: string;
  role: Role;
  confidence: number[];
  truth: number[];
  bin_confidence: Maybe[];
  bin_truth: Maybe[];
  mean_gap: number;
};

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** A file as it came, if it is one of a chart; its name may stand beside it only. */
export function chartFile(name: string, value: unknown): ChartFile | null {
  if (!isObject(value) || !isObject(value.values)) return null;
  const text = (field: string) => (typeof value[field] === "string" ? value[field] : "");
  return {
    chart: text("chart") || name,
    title: text("title") || name.replaceAll("_", " "),
    summary: text("summary"),
    reading: text("reading"),
    values: value.values,
  };
}

/** The panels of a chart's values, whether it has one or several, by any of their names. */
export function panelsOf<Panel>(values: ChartFile["values"]): Panel[] {
  const found = ["panel", "panels", "base", "tuned", "series"].flatMap(
    (name) => values[name] ?? [],
  );
  return found.filter(isObject) as Panel[];
}

/** Files in the order in which they are read; unknown ones last. */
const ORDER = [
  "reliability_raw_model_output",
  "reliability_temperature_scaling",
  "reliability_platt_scaling",
  "reliability_isotonic_regression",
  "raw_confidence_histogram",
  "risk_coverage",
  "business_reliability",
  "label_confusion",
  "truth_versus_confidence",
  "business_reliability_progression",
  "finetuning_raw_reliability_comparison",
  "finetuning_platt_reliability_comparison",
  "finetuning_isotonic_reliability_comparison",
  "accuracy_comparison",
  "calibration_error_comparison",
  "confidence_distribution_changes",
  "training_curve",
];

export function sorted(files: readonly ChartFile[]): ChartFile[] {
  const place = ({ chart }: ChartFile) => {
    const at = ORDER.indexOf(chart);
    return at === -1 ? ORDER.length : at;
  };
  return files.toSorted((one, other) => place(one) - place(other));
}
