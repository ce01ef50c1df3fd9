import type { DriftReport } from "../api/wire";
import { DataTable } from "../charts/DataTable";
import { Card } from "../ui/Card";
import { Chip } from "../ui/Chip";
import { count, digits, percent, short } from "../ui/format";
import { Stats } from "../ui/Stat";
import { EstimateStat, methodNames } from "./EstimateStat";

/** What a comparison says beside its columns: more measures, dependence on features, groups. */
export function Further({ report }: { report: DriftReport }) {
  const { further = [], importance, gaps = [] } = report;
  if (further.length === 0 && importance == null && gaps.length === 0) return null;
  return (
    <div className="grid min-w-0 grid-cols-1 items-start gap-4 xl:grid-cols-2">
      {further.length > 0 && (
        <Card title="Other measures of quality" className="min-w-0">
          <Stats wide>
            {further.map(({ method = "estimated", ...estimate }) => (
              <EstimateStat
                key={`${estimate.metric} ${method}`}
                name={methodNames[method]}
                estimate={estimate}
              />
            ))}
          </Stats>
        </Card>
      )}
      {importance != null && (
        <Card
          title="What the answers depend on"
          className="min-w-0"
          aside={
            <Chip tone={importance.changed ? "warn" : "good"}>
              {importance.changed ? "changed" : "as before"}
            </Chip>
          }
        >
          <p className="text-sm text-muted tabular-nums">
            Mean change of a feature’s share {short(importance.distance)}, p{" "}
            {short(importance.p_value)}; rank correlation {short(importance.rank_correlation)}.
          </p>
          <DataTable
            name="Share of the answers’ variance that each feature explains"
            head={["Feature", "Reference", "Now"]}
            rows={importance.features.map((name, at) => [
              name,
              percent(importance.reference[at]),
              percent(importance.current[at]),
            ])}
          />
        </Card>
      )}
      {gaps.map((gap) => (
        <Card
          key={`${gap.segment} ${gap.measure}`}
          title={`${gap.measure.replaceAll("_", " ")} by ${gap.segment}`}
          className="min-w-0"
          aside={<span className="text-sm tabular-nums">gap {digits(gap.gap)}</span>}
        >
          <ul className="grid gap-1.5 text-sm">
            {Object.entries(gap.groups).map(([group, value]) => (
              <li
                key={group}
                className="grid grid-cols-[8rem_minmax(0,1fr)_7rem] items-center gap-3"
              >
                <span className="truncate">{group}</span>
                <svg
                  viewBox="0 0 100 8"
                  preserveAspectRatio="none"
                  aria-hidden="true"
                  className="h-2 w-full"
                >
                  <rect width="100" height="8" className="fill-sunken" />
                  <rect
                    width={100 * Math.min(1, Math.max(0, value))}
                    height="8"
                    className="fill-one"
                  />
                </svg>
                <span className="text-right text-xs tabular-nums">
                  {digits(value)} <span className="text-muted">({count(gap.n_rows[group])})</span>
                </span>
              </li>
            ))}
          </ul>
        </Card>
      ))}
    </div>
  );
}
