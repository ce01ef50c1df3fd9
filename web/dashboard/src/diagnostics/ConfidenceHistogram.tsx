import type { Summary } from "../api/wire";
import { DataTable } from "../charts/DataTable";
import { Bars } from "../charts/marks";
import { Plot } from "../charts/Plot";
import { extent } from "../charts/scale";
import { Empty } from "../ui/Empty";
import { count, counted, percent } from "../ui/format";

/** The five bins of confidence; answers without one are counted beside them. */
export function ConfidenceHistogram({ summary }: { summary: Summary }) {
  const bins = Object.entries(summary.confidence_histogram).map(([name, held]) => {
    const [from = 0, to = 1] = name.split("-").map(Number);
    return { name, from, to, held };
  });
  const total = bins.reduce((sum, { held }) => sum + held, 0);
  const without = summary.n_without_confidence;
  if (total === 0) {
    const title = without === 0 ? "No answers in the window" : "No answer carries a confidence";
    return <Empty title={title} />;
  }
  const said = bins
    .map(({ name, held }) => `${name}: ${count(held)} (${percent(held / total, 0)})`)
    .join(", ");
  return (
    <>
      <Plot
        summary={`How many answers had which confidence. ${said}.`}
        x={{ domain: [0, 1], name: "Confidence", ticks: [0, 0.2, 0.4, 0.6, 0.8, 1] }}
        y={{
          domain: extent(
            bins.map(({ held }) => held),
            { from: 0 },
          ),
          name: "Answers",
          counts: true,
        }}
        height={210}
        readout={(x) => {
          const bin = bins.find(({ from, to }) => x >= from && x < to);
          return bin === undefined ? null : `${bin.name}: ${counted(bin.held, "answer")}`;
        }}
      >
        {(frame) => (
          <Bars
            frame={frame}
            bars={bins.map(({ from, to, held }) => ({ from, to, height: held }))}
          />
        )}
      </Plot>
      {without > 0 && (
        <p className="text-xs text-muted">
          {counted(without, "answer carries", "answers carry")} no confidence.
        </p>
      )}
      <DataTable
        name="Answers by confidence"
        head={["Confidence", "Answers", "Share"]}
        rows={bins.map(({ name, held }) => [name, count(held), percent(held / total)])}
      />
    </>
  );
}
