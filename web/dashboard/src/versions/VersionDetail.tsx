import { Link, useSearchParams } from "react-router";

import type { Version } from "../api/wire";
import { sameModel } from "../app/query";
import { Button } from "../ui/Button";
import { Card } from "../ui/Card";
import { clock } from "../ui/format";
import { Facts } from "../ui/Stat";
import { boundedMetricsOf, factsOf, isFirst } from "./metadata";
import { verbs } from "./MoveDialog";
import { type Move, movesOf } from "./moves";
import { Aliases } from "./VersionTable";

type Props = {
  version: Version;
  aliases: Readonly<Record<string, number>>;
  onMove: (move: Move) => void;
};

export function VersionDetail({ version, aliases, onMove }: Props) {
  const [query] = useSearchParams();
  const metrics = boundedMetricsOf(version);
  const facts = factsOf(version);
  const further = facts.filter((fact) => !isFirst(fact));
  const moves = movesOf(version, aliases);
  return (
    <Card title={version.name} className="min-w-0">
      <div className="grid grid-cols-1 gap-4">
        {version.aliases.length > 0 && <Aliases aliases={version.aliases} />}
        {moves.length === 0 ? (
          <p className="text-sm text-muted">
            It answers. To replace it, open the version that shall, or start a rollout.
          </p>
        ) : (
          <div className="flex flex-wrap gap-2">
            {moves.map((move) => (
              <Button
                key={`${move.kind} ${move.alias}`}
                kind={move.kind === "roll-back" ? "danger" : "plain"}
                onClick={() => onMove(move)}
              >
                {verbs[move.kind]}…
              </Button>
            ))}
          </div>
        )}
        {metrics.length > 0 && (
          <section aria-label="Evaluation">
            <h3 className="mb-1 text-sm font-semibold">Evaluation</h3>
            <Facts facts={metrics} />
            <p className="mt-2 text-sm">
              <Link
                className="text-accent underline underline-offset-3"
                to={sameModel(query, "/calibration", { version: version.name })}
              >
                See its curves
              </Link>
            </p>
          </section>
        )}
        <section aria-label="What it is">
          <h3 className="mb-1 text-sm font-semibold">What it is</h3>
          <Facts
            facts={[
              ["kind", version.kind],
              ["MLflow name", <Mono key="uri">{version.uri}</Mono>],
              ["registered", clock(version.created_s)],
              ["digest", <Mono key="digest">{version.digest}</Mono>],
              ...facts.filter(isFirst),
            ]}
          />
          {further.length > 0 && (
            <details className="mt-2 text-sm">
              <summary className="w-fit rounded text-muted hover:text-ink">
                Everything that is kept with it
              </summary>
              <div className="mt-2">
                <Facts facts={further} />
              </div>
            </details>
          )}
        </section>
      </div>
    </Card>
  );
}

function Mono({ children }: { children: string }) {
  return <span className="font-mono text-xs break-all">{children}</span>;
}
