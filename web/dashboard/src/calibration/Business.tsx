import { Key } from "../charts/Key";
import { Band, Line, Mark, Rule } from "../charts/marks";
import { Plot } from "../charts/Plot";
import { extent } from "../charts/scale";
import { digits, percent, percentTick, short } from "../ui/format";
import type { BusinessPanel } from "./chart";
import { toneOf } from "./tones";

const TENTHS = [0, 0.2, 0.4, 0.6, 0.8, 1];

/** Over the confidence threshold: the share that is automated, and the errors among it. */
export function Business({ panel }: { panel: BusinessPanel }) {
  const { curve, threshold } = panel;
  const tone = toneOf(panel.role);
  const points = curve.threshold.map((x, at) => ({
    x,
    share: curve.share_automated[at] ?? null,
    error: curve.error_rate[at] ?? null,
    low: curve.error_rate_low[at] ?? null,
    high: curve.error_rate_high[at] ?? null,
  }));
  const at = (x: number) => points.findLast((point) => point.x <= x);
  const asked = `at most ${short(100 * threshold.max_error)} % wrong, with ${short(100 * threshold.confidence_level)} % certainty`;
  // The curve knows round thresholds; the chosen one lies between two of them.
  const promise =
    threshold.value === null
      ? `No safe threshold: these rows do not show ${asked}.`
      : `From ${digits(threshold.value)} on ${percent(panel.share_automated ?? threshold.coverage)} are automated: ${asked}.`;
  return (
    <div className="min-w-0">
      <h3 className="text-sm font-semibold">{panel.title}</h3>
      <Plot
        summary={`Share automated over the threshold. ${promise}`}
        x={{ domain: [0, 1], ticks: TENTHS }}
        y={{ domain: [0, 1], name: "Automated", text: percentTick }}
        height={170}
        readout={(x) => `Threshold ${digits(x)}: ${percent(at(x)?.share)} automated`}
      >
        {(frame) => (
          <>
            <Line
              frame={frame}
              tone={tone}
              points={points.map(({ x, share }) => ({ x, y: share }))}
            />
            {threshold.value !== null && <Mark frame={frame} at={threshold.value} text="chosen" />}
          </>
        )}
      </Plot>
      <Plot
        summary={`Errors among the automated over the threshold. ${promise}`}
        x={{ domain: [0, 1], name: "Confidence threshold", ticks: TENTHS }}
        y={{
          domain: extent([...points.map(({ error }) => error), threshold.max_error * 1.3], {
            from: 0,
          }),
          name: "Errors",
          text: percentTick,
        }}
        height={190}
        readout={(x) => {
          const point = at(x);
          return `Threshold ${digits(x)}: ${percent(point?.error)} wrong, ${percent(point?.low)} to ${percent(point?.high)}`;
        }}
      >
        {(frame) => (
          <>
            <Band frame={frame} points={points} tone={tone} />
            <Line
              frame={frame}
              tone={tone}
              points={points.map(({ x, error }) => ({ x, y: error }))}
            />
            <Line frame={frame} tone="plain" points={sureErrors(frame.y.domain[1])} dashes="2 3" />
            <Rule frame={frame} at={threshold.max_error} text="promised" />
            {threshold.value !== null && <Mark frame={frame} at={threshold.value} />}
          </>
        )}
      </Plot>
      <Key
        entries={[
          { tone, name: "measured" },
          { tone, name: "its bounds", shape: "band" },
          { tone: "plain", name: "1 less the threshold", dashes: "2 3" },
        ]}
      />
      <p className="mt-1 text-xs text-muted">{promise}</p>
    </div>
  );
}

/** The errors of answers that are as sure as the threshold and keep their word, as far up as there is room. */
function sureErrors(most: number) {
  return [
    { x: Math.max(0, 1 - most), y: Math.min(1, most) },
    { x: 1, y: 0 },
  ];
}
