import type { Summary } from "../api/wire";
import { DataTable } from "../charts/DataTable";
import { Bars, Mark } from "../charts/marks";
import { Plot } from "../charts/Plot";
import { extent } from "../charts/scale";
import { differenceOf } from "../inference/difference";
import { modelOption } from "../models/models";
import { Command, Empty } from "../ui/Empty";
import { count, counted, digits, short } from "../ui/format";
import { Stat, Stats } from "../ui/Stat";

const outcomes = [
  ["ok", "answered"],
  ["error", "failed"],
  ["timeout", "too slow"],
  ["dropped", "dropped, queue full"],
  ["breaker_open", "not tried, fails all the time"],
  ["sampled_out", "not chosen by the sampling"],
  ["pending", "awaited"],
] as const;

type Props = {
  summary: Summary;
  /** Registered model that it is about. */
  model?: string | undefined;
};

/** How far the challenger's answers lie from the champion's, and what became of its copies. */
export function ShadowComparison({ summary, model }: Props) {
  const { shadow } = summary;
  if (!summary.shadow_enabled && summary.shadow_avg_diff === null) {
    return (
      <Empty title="No challenger is being tried">
        A challenger sees a copy of every request and never answers one.
        <br />
        <Command>{`glassbox rollout start VERSION${modelOption(model)}`}</Command>
      </Empty>
    );
  }
  const { edges, counts } = shadow.histogram;
  // The bins are narrow where most differences lie, so each is drawn equally wide.
  const bars = counts.map((height, at) => ({ from: at, to: at + 1, height }));
  const spoken = outcomes
    .map(([name, word]) => ({ word, held: shadow.counts[name] ?? 0 }))
    .filter(({ held }) => held > 0);
  const average = summary.shadow_avg_diff;
  return (
    <div className="grid grid-cols-1 gap-3">
      <Stats>
        <Stat
          name="Mean difference"
          value={digits(average)}
          hint={`${digits(summary.shadow_min_diff)} to ${digits(summary.shadow_max_diff)}`}
          tone={toneOf(average, shadow.noise_floor)}
        />
        <Stat
          name="Lately"
          value={digits(shadow.ema_diff)}
          hint="moving average"
          tone={toneOf(shadow.ema_diff, shadow.noise_floor)}
        />
        <Stat name="Noise floor" value={digits(shadow.noise_floor)} hint="champion twice" />
        <Stat name="Outliers" value={count(shadow.n_outliers)} hint="in the window" />
      </Stats>
      {bars.length > 0 && average !== null && (
        <div>
          <Plot
            summary={`Histogram of the differences: ${bars
              .map(({ height }, at) => `${short(edges[at])} to ${short(edges[at + 1])}: ${height}`)
              .join(", ")}`}
            x={{
              domain: [0, bars.length],
              name: "Difference to the champion",
              text: (at) => short(edges[at]),
              ticks: edges.map((_, at) => at).filter((at) => edges.length < 9 || at % 2 === 0),
            }}
            y={{ domain: extent(counts, { from: 0, air: 0.2 }), name: "Copies", counts: true }}
            height={170}
            readout={(x) => {
              const at = Math.floor(x);
              const held = counts[at];
              return held === undefined
                ? null
                : `${short(edges[at])} to ${short(edges[at + 1])}: ${counted(held, "copy", "copies")}`;
            }}
          >
            {(frame) => (
              <>
                <Bars frame={frame} bars={bars} tone="two" />
                <Mark frame={frame} at={placeOf(average, edges)} text="mean" />
              </>
            )}
          </Plot>
          <DataTable
            name="Differences"
            head={["From", "To", "Copies"]}
            rows={counts.map((held, at) => [short(edges[at]), short(edges[at + 1]), count(held)])}
          />
        </div>
      )}
      {spoken.length > 0 && (
        <p className="text-xs text-muted">
          Copies: {spoken.map(({ word, held }) => `${count(held)} ${word}`).join(" · ")}
        </p>
      )}
    </div>
  );
}

function toneOf(diff: number | null, noiseFloor: number | null) {
  if (diff === null) return "plain";
  const { tone } = differenceOf(diff, noiseFloor);
  return tone === "info" ? "plain" : tone;
}

/** Where a value lies on an axis whose bins are equally wide. */
export function placeOf(value: number, edges: readonly number[]): number {
  const at = edges.findLastIndex((edge) => edge <= value);
  const low = edges[at];
  const high = edges[at + 1];
  if (low === undefined) return 0;
  return high === undefined ? edges.length - 1 : at + (value - low) / (high - low);
}
