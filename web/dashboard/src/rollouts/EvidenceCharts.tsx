import type { EvidencePoint, Gate } from "../api/wire";
import { DataTable } from "../charts/DataTable";
import { Key } from "../charts/Key";
import { Band, Line, Rule } from "../charts/marks";
import { Plot } from "../charts/Plot";
import { extent } from "../charts/scale";
import { Empty } from "../ui/Empty";
import { count, counted, short } from "../ui/format";
import { gateName } from "./GateTable";

type Props = { points: readonly EvidencePoint[]; gates: readonly Gate[] };

/** One small chart a gate: how the interval closed in as requests came. */
export function EvidenceCharts({ points, gates }: Props) {
  const byGate = new Map<string, EvidencePoint[]>();
  for (const point of points) byGate.set(point.gate, [...(byGate.get(point.gate) ?? []), point]);
  const names = [...new Set([...gates.map(({ name }) => name), ...byGate.keys()])].filter((name) =>
    byGate.get(name)?.some(({ value }) => value !== null),
  );
  if (names.length === 0) {
    return (
      <Empty title="No evidence yet">
        It begins when the challenger has seen its first requests.
      </Empty>
    );
  }
  return (
    <div className="grid grid-cols-1 gap-2">
      <Key
        entries={[
          { tone: "one", name: "estimate" },
          { tone: "one", name: "interval that holds at every moment", shape: "band" },
          { tone: "bad", name: "limit", dashes: "6 4" },
        ]}
      />
      <div className="grid grid-cols-1 gap-x-6 gap-y-4 lg:grid-cols-2">
        {names.map((name) => (
          <GateChart key={name} name={name} points={byGate.get(name) ?? []} />
        ))}
      </div>
    </div>
  );
}

function GateChart({ name, points }: { name: string; points: readonly EvidencePoint[] }) {
  const limit = points.at(-1)?.limit ?? null;
  const last = points.at(-1);
  // The first intervals are as wide as the world; the frame shows where it is decided.
  const settled = points.slice(Math.floor(points.length / 4));
  const y = extent([...settled.flatMap(({ value, low, high }) => [value, low, high]), limit]);
  const said = `${gateName(name)} over ${counted(last?.n, "request")}: now ${short(last?.value)}, interval ${short(last?.low)} to ${short(last?.high)}, limit ${short(limit)}.`;
  return (
    <div className="min-w-0">
      <h3 className="text-sm font-semibold">{gateName(name)}</h3>
      <Plot
        summary={said}
        x={{
          domain: [points[0]?.n ?? 0, last?.n ?? 1],
          name: "Requests",
          text: count,
          counts: true,
        }}
        y={{ domain: y }}
        height={190}
        readout={(x) => {
          const point = points.findLast(({ n }) => n <= x) ?? points[0];
          if (point === undefined) return null;
          return `${counted(point.n, "request")}: ${short(point.value)}, ${short(point.low)} to ${short(point.high)}`;
        }}
      >
        {(frame) => (
          <>
            <Band frame={frame} points={points.map((point) => ({ x: point.n, ...point }))} />
            <Line frame={frame} points={points.map(({ n, value }) => ({ x: n, y: value }))} />
            {limit !== null && <Rule frame={frame} at={limit} text="limit" />}
          </>
        )}
      </Plot>
      <DataTable
        name={`Evidence for ${gateName(name)}`}
        head={["Requests", "Estimate", "Low", "High", "Limit"]}
        rows={points.map((point) => [
          count(point.n),
          short(point.value),
          short(point.low),
          short(point.high),
          short(point.limit),
        ])}
      />
    </div>
  );
}
