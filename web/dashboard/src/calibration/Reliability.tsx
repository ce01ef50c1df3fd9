import { DataTable } from "../charts/DataTable";
import { Key } from "../charts/Key";
import { Band, fills, Line, strokes, type Tone } from "../charts/marks";
import { type Frame, Plot } from "../charts/Plot";
import { thinned } from "../charts/scale";
import { count, digits, percent } from "../ui/format";
import type { Curve, ReliabilityPanel } from "./chart";
import { toneOf } from "./tones";

type Bin = {
  x: number;
  y: number;
  low: number;
  high: number;
  from: number;
  to: number;
  n: number;
};

/** Bins that hold rows; an empty one is absent, not zero. */
export function binsOf(curve: Curve): Bin[] {
  return curve.counts.flatMap((n, at) => {
    const x = curve.mean_confidence[at];
    const y = curve.accuracy[at];
    const from = curve.edges[at];
    const to = curve.edges[at + 1];
    if (n === 0 || x == null || y == null || from === undefined || to === undefined) return [];
    return [
      { x, y, low: curve.accuracy_low[at] ?? y, high: curve.accuracy_high[at] ?? y, from, to, n },
    ];
  });
}

const TENTHS = [0, 0.2, 0.4, 0.6, 0.8, 1];

/** Is a model that says 0.8 right in 80 of 100 such cases? One square a panel. */
export function Reliability({ panel }: { panel: ReliabilityPanel }) {
  const bins = binsOf(panel.curve);
  const tone = toneOf(panel.role);
  const said = `${panel.title}, ${panel.part}, ${count(panel.curve.n_rows)} rows: accuracy ${percent(panel.accuracy.estimate)}, mean confidence ${percent(panel.mean_confidence)}, calibration error ${digits(panel.ece.estimate)}.`;
  return (
    <div className="min-w-0">
      <h3 className="text-sm font-semibold">{panel.title}</h3>
      <Plot
        summary={said}
        x={{ domain: [0, 1], name: "Confidence", ticks: TENTHS }}
        y={{ domain: [0, 1], name: "Share of right answers", ticks: TENTHS }}
        height="square"
        readout={(x) => {
          const bin = bins.find(({ from, to }) => x >= from && x <= to);
          return bin === undefined
            ? null
            : `${digits(bin.from)} to ${digits(bin.to)}: says ${digits(bin.x)}, right ${digits(bin.y)} (${count(bin.n)} rows)`;
        }}
      >
        {(frame) => (
          <>
            <Chance panel={panel} frame={frame} />
            <line
              x1={frame.x(0)}
              y1={frame.y(0)}
              x2={frame.x(1)}
              y2={frame.y(1)}
              className="stroke-field-line"
              strokeDasharray="5 4"
            />
            {panel.corp !== null && <Corp corp={panel.corp} frame={frame} tone={tone} />}
            {bins.map((bin) => (
              <g key={bin.from}>
                <line
                  x1={frame.x(bin.x)}
                  x2={frame.x(bin.x)}
                  y1={frame.y(bin.low)}
                  y2={frame.y(bin.high)}
                  className={strokes[tone]}
                  strokeWidth={1.4}
                />
                <circle
                  cx={frame.x(bin.x)}
                  cy={frame.y(bin.y)}
                  r={3 + 9 * Math.sqrt(bin.n / Math.max(1, panel.curve.n_rows))}
                  className={`${fills[tone]} stroke-surface`}
                />
              </g>
            ))}
          </>
        )}
      </Plot>
      <Key
        entries={[
          { tone, name: "bins, larger with more rows", shape: "box" },
          ...(panel.corp === null ? [] : [{ tone, name: "without bins (CORP)" }]),
          ...(panel.band === null
            ? []
            : [
                {
                  tone: "plain" as const,
                  name: "chance alone, if calibrated",
                  shape: "band" as const,
                },
              ]),
        ]}
      />
      <p className="mt-1 text-xs text-muted tabular-nums">
        Calibration error {digits(panel.ece.estimate)} ({digits(panel.ece.low)} to{" "}
        {digits(panel.ece.high)}); a perfect model would show {digits(panel.null.mean)}, and 95 % of
        the time less than {digits(panel.null.quantile_95)}.{" "}
        {panel.ece.estimate <= panel.null.quantile_95
          ? "This is no worse."
          : panel.mean_confidence > panel.accuracy.high
            ? "It is more sure than right."
            : panel.mean_confidence < panel.accuracy.low
              ? "It is less sure than right."
              : "It is off the diagonal, though right on average."}
      </p>
      <DataTable
        name={`Bins of ${panel.title}`}
        head={["Bin", "Mean confidence", "Right", "Low", "High", "Rows"]}
        rows={bins.map((bin) => [
          `${digits(bin.from)}–${digits(bin.to)}`,
          digits(bin.x),
          digits(bin.y),
          digits(bin.low),
          digits(bin.high),
          count(bin.n),
        ])}
      />
    </div>
  );
}

/** Points at which the curve without bins is drawn at most; the eye sees no more. */
const MOST_POINTS = 400;

type CorpProps = { corp: NonNullable<ReliabilityPanel["corp"]>; frame: Frame; tone: Tone };

function Corp({ corp, frame, tone }: CorpProps) {
  const points = corp.confidence.map((x, at) => ({ x, y: corp.accuracy[at] ?? null }));
  return (
    <g className="opacity-80">
      <Line frame={frame} points={thinned(points, MOST_POINTS)} tone={tone} />
    </g>
  );
}

/** Widest piece of the band, in confidence; as in the PNG. */
const WIDEST = 0.1;

/** Where a perfectly calibrated model's dots would fall: a piece a bin, or one band. */
function Chance({ panel, frame }: { panel: ReliabilityPanel; frame: Frame }) {
  const { band } = panel;
  if (band === null) return null;
  const bins = binsOf(panel.curve);
  const isOfBins = band.confidence.length === bins.length;
  if (!isOfBins) {
    const points = band.confidence.map((x, at) => ({
      x,
      low: band.low[at] ?? null,
      high: band.high[at] ?? null,
    }));
    return <Band frame={frame} points={points} tone="plain" />;
  }
  return bins.map((bin, at) => {
    const width = Math.min(bin.to - bin.from, WIDEST);
    const from = Math.min(Math.max(bin.x - width / 2, bin.from), bin.to - width);
    const high = band.high[at] ?? 0;
    const low = band.low[at] ?? 0;
    return (
      <rect
        key={bin.from}
        x={frame.x(from)}
        width={frame.x(from + width) - frame.x(from)}
        y={frame.y(high)}
        height={Math.max(1, frame.y(low) - frame.y(high))}
        className="fill-field-line opacity-25"
      />
    );
  });
}
