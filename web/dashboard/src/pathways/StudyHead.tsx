import type { Study, Subgraph } from "../api/wire";
import { Card } from "../ui/Card";
import { clock, count, digits, NOTHING, percent, short } from "../ui/format";
import { Facts, Stat, Stats } from "../ui/Stat";
import { ReportButton } from "./ReportButton";

/** A study in its figures, and how they were come by. */
export function StudyHead({ study }: { study: Study }) {
  const { calibration = {}, conventions = {}, provenance = {}, warnings = [], subgraph } = study;
  const share = study.n_replayed > 0 ? study.n_verified / study.n_replayed : null;
  return (
    <Card
      title={study.title === "" ? study.name : study.title}
      aside={
        <span className="flex flex-wrap items-center gap-x-3 gap-y-1 text-xs text-muted tabular-nums">
          {study.model}
          {study.made_s != null && `, ${clock(study.made_s)}`}
          <ReportButton study={study.name} />
        </span>
      }
    >
      <Stats wide>
        <Stat
          name="Latents"
          value={count(study.n_latents)}
          hint={
            study.n_expected_by_chance == null
              ? "how many chance gives is not known"
              : `${short(study.n_expected_by_chance)} expected by chance`
          }
        />
        <Stat
          name="Pathways proposed"
          value={count(study.n_candidates)}
          hint="by their gradients"
        />
        <Stat
          name="Confirmed by replay"
          value={`${count(study.n_verified)} of ${count(study.n_replayed)}`}
          tone={study.n_verified > 0 ? "good" : "plain"}
          hint={`${percent(share)} of those replayed`}
        />
        <Stat
          name="Predicted against measured"
          value={digits(calibration.spearman ?? null)}
          hint={`rank correlation; slope ${digits(calibration.slope ?? null)}`}
        />
        <SubgraphStats subgraph={subgraph ?? null} />
        <Stat
          name="Tokens that fire latents"
          value={count(study.n_tokens)}
          hint="pairs beyond chance"
        />
      </Stats>
      {warnings.length > 0 && (
        <ul className="mt-3 list-disc pl-5 text-sm text-muted">
          {warnings.map((warning) => (
            <li key={warning}>{warning}</li>
          ))}
        </ul>
      )}
      <details className="mt-3 text-sm">
        <summary className="w-fit rounded text-muted hover:text-ink">How it was made</summary>
        <div className="mt-2 grid gap-4 md:grid-cols-2">
          <Facts facts={Object.entries(conventions)} />
          <Facts
            facts={Object.entries(provenance).map(
              ([name, value]) =>
                [
                  name,
                  <span key={name} className="font-mono text-xs">
                    {value}
                  </span>,
                ] as const,
            )}
          />
        </div>
      </details>
    </Card>
  );
}

function SubgraphStats({ subgraph }: { subgraph: Subgraph | null }) {
  if (subgraph === null) return null;
  return (
    <>
      <Stat
        name="Faithfulness of the sub-graph"
        value={percent(subgraph.faithfulness)}
        hint={`${range(subgraph.faithfulness_low, subgraph.faithfulness_high)}${against(subgraph)}`}
      />
      <Stat
        name="Completeness"
        value={percent(subgraph.completeness)}
        hint={`${range(subgraph.completeness_low, subgraph.completeness_high)}, ${count(subgraph.n_kept)} of ${count(subgraph.n_latents)} latents`}
      />
    </>
  );
}

function range(low: number | null | undefined, high: number | null | undefined): string {
  return low == null || high == null ? NOTHING : `${percent(low, 0)} to ${percent(high, 0)}`;
}

function against({ random_faithfulness: random = [] }: Subgraph): string {
  if (random.length === 0) return "";
  const sorted = random.toSorted((one, other) => one - other);
  return `; random ones ${percent(sorted[Math.floor(sorted.length / 2)], 0)}`;
}
