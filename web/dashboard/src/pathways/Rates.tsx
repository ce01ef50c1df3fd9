import type { ConditionRate } from "../api/wire";
import { count, percent } from "../ui/format";
import { conditionWords } from "./words";

const WIDE = 120;

/** How often the model stopped under each condition when this latent was patched. */
export function Rates({ rates }: { rates: readonly ConditionRate[] }) {
  if (rates.length === 0) return null;
  return (
    <section aria-label="Decisions when it is patched" className="min-w-0">
      <h3 className="mb-1.5 text-sm font-semibold">Decisions when it is patched</h3>
      <table className="w-full text-left text-sm tabular-nums">
        <thead className="text-xs text-muted">
          <tr>
            {["Condition", "Stopped, 95 %", "Trials"].map((head) => (
              <th key={head} scope="col" className="py-0.5 pr-2 font-medium">
                {head}
              </th>
            ))}
          </tr>
        </thead>
        <tbody>
          {rates.map((rate) => (
            <tr key={rate.condition} className="border-t border-line">
              <td className="py-0.5 pr-2 text-xs">{conditionWords(rate.condition)}</td>
              <td className="pr-2">
                <Share {...rate} />
              </td>
              <td className="text-xs">{count(rate.n_trials)}</td>
            </tr>
          ))}
        </tbody>
      </table>
    </section>
  );
}

function Share({ stop_share: share, low, high }: ConditionRate) {
  return (
    <span className="flex flex-wrap items-center gap-x-2">
      <svg viewBox={`0 0 ${WIDE} 12`} aria-hidden="true" className="h-3 w-30 shrink-0">
        <rect y={5} width={WIDE} height={2} className="fill-line" />
        {low !== null && high !== null && (
          <line
            x1={WIDE * low}
            x2={WIDE * high}
            y1={6}
            y2={6}
            strokeWidth={4}
            className="stroke-one opacity-40"
          />
        )}
        {share !== null && <circle cx={WIDE * share} cy={6} r={4} className="fill-one" />}
      </svg>
      <span className="text-xs whitespace-nowrap">{percent(share, 0)}</span>
    </span>
  );
}
