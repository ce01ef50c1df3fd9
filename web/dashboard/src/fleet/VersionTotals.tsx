import type { Fleet } from "../api/wire";
import { count, milliseconds } from "../ui/format";
import { ScrollBox } from "../ui/ScrollBox";
import { sum } from "./words";

const HEAD = ["Version", "Answered", "Errors", "Median", "99th percentile", "Copies seen"] as const;

/** What each version has answered on all servers together, those that ended included. */
export function VersionTotals({ totals }: { totals: Fleet["totals"] }) {
  const names = [...new Set([...Object.keys(totals.predictions), ...Object.keys(totals.shadows)])];
  if (names.length === 0) {
    return <p className="text-sm text-muted">Nothing was predicted yet.</p>;
  }
  return (
    <ScrollBox name="Predictions by version">
      <table className="w-full border-collapse text-sm tabular-nums">
        <caption className="sr-only">Predictions by version</caption>
        <thead>
          <tr>
            {HEAD.map((each, at) => (
              <th
                key={each}
                scope="col"
                className={`px-2 py-1.5 text-xs font-medium whitespace-nowrap text-muted ${at === 0 ? "text-left" : "text-right"}`}
              >
                {each}
              </th>
            ))}
          </tr>
        </thead>
        <tbody>
          {names.toSorted().map((name) => {
            const answered = totals.predictions[name] ?? {};
            const took = totals.prediction_s[name];
            const cells = [
              count(sum(answered)),
              count(answered.error ?? 0),
              milliseconds(took?.p50_s == null ? null : 1000 * took.p50_s),
              milliseconds(took?.p99_s == null ? null : 1000 * took.p99_s),
              count(sum(totals.shadows[name] ?? {})),
            ];
            return (
              <tr key={name} className="border-t border-line">
                <th scope="row" className="px-2 py-1.5 text-left font-mono font-normal">
                  {name}
                </th>
                {cells.map((cell, at) => (
                  <td key={HEAD[at + 1]} className="px-2 py-1.5 text-right whitespace-nowrap">
                    {cell}
                  </td>
                ))}
              </tr>
            );
          })}
        </tbody>
      </table>
    </ScrollBox>
  );
}
