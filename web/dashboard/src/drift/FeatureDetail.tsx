import { modelsPath } from "../api/http";
import { useResource } from "../api/useResource";
import type { DriftPoint, FeatureDrift } from "../api/wire";
import { DataTable } from "../charts/DataTable";
import { Key } from "../charts/Key";
import { Line, Rule } from "../charts/marks";
import { Plot } from "../charts/Plot";
import { extent } from "../charts/scale";
import { Card } from "../ui/Card";
import { Empty } from "../ui/Empty";
import { clock, pValue, short } from "../ui/format";
import { Shown } from "../ui/Shown";
import { Facts } from "../ui/Stat";
import { Distributions } from "./Distributions";

const POINTS = 200;

/** One column: its two distributions, its statistics, and how it went. */
export function FeatureDetail({ feature, model }: { feature: FeatureDrift; model: string }) {
  const history = useResource<DriftPoint[]>(
    modelsPath("/drift/history", { feature: feature.name, limit: POINTS, model }),
    { on: ["drift"] },
  );
  return (
    <Card title={feature.name} className="min-w-0">
      <div className="grid grid-cols-1 gap-5">
        <Distributions feature={feature} />
        <Facts
          facts={[
            ["Kind", feature.kind],
            [
              `Effect${feature.effect_name == null ? "" : ` (${feature.effect_name})`}`,
              short(feature.effect),
            ],
            ...Object.entries(feature.statistics).map(
              ([name, value]) =>
                [statisticNames[name] ?? name.replaceAll("_", " "), short(value)] as const,
            ),
            ["p", pValue(feature.p_value)],
            ["p, adjusted for all columns", pValue(feature.p_adjusted)],
          ]}
        />
        <section aria-label="Over time">
          <h3 className="text-sm font-semibold">Over time</h3>
          <Shown resource={history} what="the earlier comparisons">
            {(points) => <OverTime points={points} />}
          </Shown>
        </section>
      </div>
    </Card>
  );
}

const statisticNames: Record<string, string> = {
  ks: "Kolmogorov–Smirnov",
  psi: "Population stability index",
  jensen_shannon: "Jensen–Shannon distance",
  chi_square: "Chi-square",
  wasserstein: "Wasserstein, normalised",
  missing_reference: "Missing, reference",
  missing_current: "Missing, now",
  reference_mean: "Mean, reference",
  current_mean: "Mean, now",
  outside: "Beyond the reference's range",
};

function OverTime({ points: given }: { points: readonly DriftPoint[] }) {
  const points = given.toSorted((one, other) => one.time_s - other.time_s);
  const first = points[0];
  const last = points.at(-1);
  if (first === undefined || last === undefined || points.length < 2) {
    return <Empty title="One comparison so far">The course shows from the second on.</Empty>;
  }
  const limit = last.limit;
  return (
    <>
      <Plot
        summary={`Effect over ${points.length} comparisons, from ${short(first.effect)} to ${short(last.effect)}; the limit is ${short(limit)}.`}
        x={{
          domain: [first.time_s, last.time_s],
          text: (time) => clock(time),
          ticks: [first.time_s, last.time_s],
        }}
        y={{
          domain: extent([...points.map(({ effect }) => effect), limit], { from: 0 }),
          name: "Effect",
        }}
        height={180}
        readout={(time) => {
          const point = points.findLast(({ time_s }) => time_s <= time) ?? first;
          return `${clock(point.time_s)}: effect ${short(point.effect)}, adjusted p ${pValue(point.p_adjusted)}`;
        }}
      >
        {(frame) => (
          <>
            <Line
              frame={frame}
              points={points.map(({ time_s, effect }) => ({ x: time_s, y: effect }))}
            />
            {limit !== null && <Rule frame={frame} at={limit} text="limit" />}
            {points.map(
              ({ time_s, effect, drifted }) =>
                drifted &&
                effect !== null && (
                  <circle
                    key={time_s}
                    cx={frame.x(time_s)}
                    cy={frame.y(effect)}
                    r={3.5}
                    className="fill-danger"
                  />
                ),
            )}
          </>
        )}
      </Plot>
      <Key
        entries={[
          { tone: "one", name: "effect" },
          { tone: "bad", name: "flagged", shape: "box" },
        ]}
      />
      <DataTable
        name="Effect over time"
        head={["Time", "Effect", "Adjusted p", "Flagged"]}
        rows={points.map((point) => [
          clock(point.time_s),
          short(point.effect),
          pValue(point.p_adjusted),
          point.drifted ? "yes" : "no",
        ])}
      />
    </>
  );
}
