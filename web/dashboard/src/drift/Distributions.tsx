import type { FeatureDrift } from "../api/wire";
import { DataTable } from "../charts/DataTable";
import { Key } from "../charts/Key";
import { Bars } from "../charts/marks";
import { Plot } from "../charts/Plot";
import { extent } from "../charts/scale";
import { count, percent, percentTick, short } from "../ui/format";

/** Reference and current window in the reference's frozen bins, as shares. */
export function Distributions({ feature }: { feature: FeatureDrift }) {
  const { edges, reference, current } = feature;
  const isNumeric = edges.length > 0 && edges.every((edge) => typeof edge === "number");
  const names = binNames(edges, current.length);
  const entries = [
    {
      tone: "plain" as const,
      name: `reference${rows(feature.n_reference)}`,
      shape: "box" as const,
    },
    { tone: "two" as const, name: `now${rows(feature.n_current)}` },
  ];
  const said = `Shares of reference and now: ${names
    .map((name, at) => `${name}: ${percent(reference[at], 0)} and ${percent(current[at], 0)}`)
    .join("; ")}`;
  const bars = (shares: readonly number[]) =>
    shares.map((height, at) => ({ from: at, to: at + 1, height }));
  return (
    <div className="grid grid-cols-1 gap-1">
      <Key entries={entries} />
      {isNumeric ? (
        <Plot
          summary={said}
          x={{
            domain: [0, Math.max(1, current.length)],
            name: `${feature.name}, in the reference’s bins`,
            text: (at) => edgeText(edges[at]),
            ticks: edges.map((_, at) => at).filter((at) => edges.length < 8 || at % 2 === 0),
          }}
          y={{
            domain: extent([...reference, ...current], { from: 0 }),
            name: "Share",
            text: percentTick,
          }}
          height={220}
          readout={(x) => {
            const at = Math.floor(x);
            return names[at] === undefined
              ? null
              : `${names[at]}: reference ${percent(reference[at])}, now ${percent(current[at])}`;
          }}
        >
          {(frame) => (
            <>
              <g className="opacity-55">
                <Bars frame={frame} bars={bars(reference)} tone="plain" />
              </g>
              <Bars frame={frame} bars={bars(current)} tone="two" outline />
            </>
          )}
        </Plot>
      ) : (
        <Categories names={names} reference={reference} current={current} said={said} />
      )}
      <DataTable
        name={`Distribution of ${feature.name}`}
        head={["Bin", "Reference", "Now"]}
        rows={names.map((name, at) => [name, percent(reference[at]), percent(current[at])])}
      />
    </div>
  );
}

/** A text for an edge; the outer ones may be missing, which stands for no bound. */
function edgeText(edge: string | number | null | undefined): string {
  return edge == null ? "" : typeof edge === "number" ? short(edge) : edge;
}

export function binNames(edges: FeatureDrift["edges"], nBins: number): string[] {
  const isNumeric = edges.some((edge) => typeof edge === "number");
  return Array.from({ length: nBins }, (_, at) => {
    if (!isNumeric) return edgeText(edges[at]) || "other";
    // Fewer edges than bins: the outer bins are open.
    const offset = edges.length === nBins - 1 ? -1 : 0;
    const low = edges[at + offset];
    const high = edges[at + offset + 1];
    if (low === undefined) return `below ${edgeText(high)}`;
    return high === undefined ? `from ${edgeText(low)}` : `${edgeText(low)} to ${edgeText(high)}`;
  });
}

function rows(n: number | null | undefined): string {
  return n == null ? "" : ` (${count(n)})`;
}

type CategoriesProps = {
  names: readonly string[];
  reference: readonly number[];
  current: readonly number[];
  said: string;
};

const ROW = 34;
const NAME = 130;

/** Two bars a category. */
function Categories({ names, reference, current, said }: CategoriesProps) {
  const most = Math.max(0.01, ...reference, ...current);
  const width = 480;
  const x = (share: number) => (share / most) * (width - NAME - 50);
  return (
    <svg
      viewBox={`0 0 ${width} ${names.length * ROW}`}
      role="img"
      aria-label={said}
      className="w-full max-w-3xl"
    >
      {names.map((name, at) => (
        <g key={name} transform={`translate(0 ${at * ROW})`}>
          <text
            x={NAME - 8}
            y={ROW / 2}
            dy="0.32em"
            textAnchor="end"
            className="fill-ink text-[11px]"
          >
            {name.length > 20 ? `${name.slice(0, 19)}…` : name}
          </text>
          <rect
            x={NAME}
            y={5}
            width={x(reference[at] ?? 0)}
            height={10}
            className="fill-field-line opacity-55"
          />
          <rect x={NAME} y={18} width={x(current[at] ?? 0)} height={10} className="fill-two" />
          <text
            x={NAME + Math.max(x(reference[at] ?? 0), x(current[at] ?? 0)) + 5}
            y={ROW / 2}
            dy="0.32em"
            className="fill-muted text-[10px]"
          >
            {percent(current[at], 0)}
          </text>
        </g>
      ))}
    </svg>
  );
}
