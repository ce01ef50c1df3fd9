import { Key } from "../charts/Key";
import { Line } from "../charts/marks";
import { Plot } from "../charts/Plot";
import { extent, thinned } from "../charts/scale";
import { percent, percentTick, short } from "../ui/format";
import type { RiskSeries } from "./chart";
import { toneOf } from "./tones";

/** Points of one curve at most; the eye sees no more. */
const MOST_POINTS = 400;
/** The first few rows say nothing about a rate, and would set the height of the picture. */
const LEAST_COVERAGE = 0.02;

/** Error rate among the most confident rows against the share of rows kept. */
export function RiskCoverage({ series }: { series: readonly RiskSeries[] }) {
  const curves = series.map((each, at) => ({
    ...each,
    // Two curves of one colour are told apart by their dashes.
    dashes: at > 0 && each.role === series[at - 1]?.role ? "5 3" : "",
    points: each.curve.coverage.map((x, at) => ({ x, y: each.curve.risk[at] ?? null })),
  }));
  const seen = curves.flatMap(({ points }) => points.filter(({ x }) => x >= LEAST_COVERAGE));
  const riskAt = (points: (typeof curves)[number]["points"], x: number) =>
    points.findLast((point) => point.x <= x)?.y ?? null;
  return (
    <>
      <Plot
        summary={`Error rate against the share of rows kept: ${curves
          .map(
            ({ title, curve, points }) =>
              `${title}: ${percent(riskAt(points, 0.5))} at half, ${percent(curve.risk.at(-1))} at all rows`,
          )
          .join("; ")}.`}
        x={{ domain: [0, 1], name: "Share of rows kept, most confident first", text: percentTick }}
        y={{
          domain: extent(
            seen.map(({ y }) => y),
            { from: 0 },
          ),
          name: "Errors among them",
          text: percentTick,
        }}
        height={280}
        readout={(x) =>
          `${percent(x, 0)} kept: ${curves.map(({ title, points }) => `${title} ${percent(riskAt(points, x))}`).join(", ")}`
        }
      >
        {(frame) =>
          curves.map(({ title, role, points, dashes }) => (
            <Line
              key={title}
              frame={frame}
              tone={toneOf(role)}
              points={thinned(
                points.filter(({ x }) => x >= LEAST_COVERAGE),
                MOST_POINTS,
              )}
              {...(dashes === "" ? {} : { dashes })}
            />
          ))
        }
      </Plot>
      <Key
        entries={curves.map(({ title, role, curve, dashes }) => ({
          dashes,
          tone: toneOf(role),
          name: `${title} (area ${short(curve.aurc)})`,
        }))}
      />
    </>
  );
}
