import { Key } from "../charts/Key";
import { Bars } from "../charts/marks";
import { type Frame, Plot } from "../charts/Plot";
import { count, digits, percent } from "../ui/format";
import type { HistogramPanel } from "./chart";
import { binsOf } from "./Reliability";
import { toneOf } from "./tones";

const TENTHS = [0, 0.2, 0.4, 0.6, 0.8, 1];

/** Rows by confidence: right ones below, wrong ones on top of them. */
export function Histogram({ panel }: { panel: HistogramPanel }) {
  const bins = binsOf(panel.curve);
  const tone = toneOf(panel.role);
  const most = Math.max(1, ...bins.map(({ n }) => n));
  return (
    <div className="min-w-0">
      <h3 className="text-sm font-semibold">{panel.title}</h3>
      <Plot
        summary={`${panel.title}: mean confidence ${percent(panel.mean_confidence)}, right ${percent(panel.accuracy)}, over ${count(panel.curve.n_rows)} rows.`}
        x={{ domain: [0, 1], name: "Confidence", ticks: TENTHS }}
        y={{ domain: [0, 1.06 * most], name: "Rows", counts: true }}
        height={250}
      >
        {(frame) => (
          <>
            <Bars
              frame={frame}
              tone="bad"
              bars={bins.map(({ from, to, n }) => ({ from, to, height: n }))}
            />
            <Bars
              frame={frame}
              tone={tone}
              bars={bins.map(({ from, to, n, y }) => ({ from, to, height: n * y }))}
            />
            <Upright frame={frame} at={panel.mean_confidence} dashes="" />
            <Upright frame={frame} at={panel.accuracy} dashes="5 4" />
          </>
        )}
      </Plot>
      <Key
        entries={[
          { tone, name: "right", shape: "box" },
          { tone: "bad", name: "wrong", shape: "box" },
        ]}
      />
      <p className="mt-1 text-xs text-muted tabular-nums">
        Solid line: mean confidence {digits(panel.mean_confidence)}. Dashed: share that is right{" "}
        {digits(panel.accuracy)}.
      </p>
    </div>
  );
}

function Upright({ frame, at, dashes }: { frame: Frame; at: number; dashes: string }) {
  return (
    <line
      x1={frame.x(at)}
      x2={frame.x(at)}
      y1={frame.top}
      y2={frame.bottom}
      className="stroke-ink"
      strokeWidth={1.5}
      {...(dashes === "" ? {} : { strokeDasharray: dashes })}
    />
  );
}
