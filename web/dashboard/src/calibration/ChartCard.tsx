import type { ReactNode } from "react";

import { Card } from "../ui/Card";
import { Business } from "./Business";
import {
  type BarsValue,
  type BusinessPanel,
  type ChartFile,
  type Confusion,
  type HistogramPanel,
  panelsOf,
  type ReliabilityPanel,
  type RiskSeries,
  type TrainingCurve,
  type TruthPanel,
} from "./chart";
import { Histogram } from "./Histogram";
import { IntervalRows } from "./IntervalRows";
import { ConfusionTable, Training, Truth } from "./MoreCharts";
import { Reliability } from "./Reliability";
import { RiskCoverage } from "./RiskCoverage";

/** Whether this page can draw a chart; what it cannot is in the run's report. */
export function isDrawn({ chart }: ChartFile): boolean {
  return kindOf(chart) !== null;
}

const kinds = {
  business: /^business_reliability/,
  reliability: /reliability/,
  histogram: /^(raw_confidence_histogram|confidence_distribution_changes)$/,
  risk: /^risk_coverage$/,
  confusion: /^label_confusion$/,
  rows: /^(accuracy_comparison|calibration_error_comparison)$/,
  training: /^training_curve$/,
  truth: /^truth_versus_confidence$/,
} as const;

function kindOf(chart: string): keyof typeof kinds | null {
  const found = Object.entries(kinds).find(([, pattern]) => pattern.test(chart));
  return found === undefined ? null : (found[0] as keyof typeof kinds);
}

/** One chart of the evaluation run, drawn from the JSON that its PNG was drawn from. */
export function ChartCard({ file }: { file: ChartFile }) {
  const isWide = panelsOf(file.values).length > 1 && kindOf(file.chart) !== "risk";
  return (
    <Card title={file.title} className={`min-w-0 ${isWide ? "xl:col-span-2" : ""}`}>
      {file.reading !== "" && <p className="mb-3 text-sm text-muted">{file.reading}</p>}
      {drawing(file)}
    </Card>
  );
}

function drawing({ chart, values }: ChartFile): ReactNode {
  switch (kindOf(chart)) {
    case "reliability":
      return each(panelsOf<ReliabilityPanel>(values), (panel) => <Reliability panel={panel} />);
    case "histogram":
      return each(panelsOf<HistogramPanel>(values), (panel) => <Histogram panel={panel} />);
    case "business":
      return each(panelsOf<BusinessPanel>(values), (panel) => <Business panel={panel} />);
    case "truth":
      return each(panelsOf<TruthPanel>(values), (panel) => <Truth panel={panel} />);
    case "risk":
      return <RiskCoverage series={panelsOf<RiskSeries>(values)} />;
    case "confusion":
      return <ConfusionTable value={values as unknown as Confusion} />;
    case "rows":
      return <IntervalRows value={values as unknown as BarsValue} />;
    case "training":
      return <Training value={values as unknown as TrainingCurve} />;
    case null:
      return null;
  }
}

function each<Panel extends { title: string }>(
  panels: readonly Panel[],
  draw: (panel: Panel) => ReactNode,
): ReactNode {
  if (panels.length === 1) return panels.map(draw)[0];
  return (
    <div
      className={`grid grid-cols-1 gap-6 md:grid-cols-2 ${panels.length > 2 ? "xl:grid-cols-[repeat(auto-fit,minmax(15rem,1fr))]" : ""}`}
    >
      {panels.map((panel) => (
        <div key={panel.title} className="min-w-0">
          {draw(panel)}
        </div>
      ))}
    </div>
  );
}
