import { useSearchParams } from "react-router";

import { modelsPath } from "../api/http";
import { useResource } from "../api/useResource";
import type { Calibration, Versions } from "../api/wire";
import { changed } from "../app/query";
import { newestFirst } from "../models/models";
import { Empty } from "../ui/Empty";
import { SelectField } from "../ui/Field";
import { Page } from "../ui/Page";
import { Shown, Waiting } from "../ui/Shown";
import { chartFile, sorted } from "./chart";
import { ChartCard, isDrawn } from "./ChartCard";

/** The curves of the evaluation that a version comes from. */
export function CalibrationPage() {
  const [query, setQuery] = useSearchParams();
  const versions = useResource<Versions>(modelsPath("/versions"), { on: ["rollout"] });
  const all = newestFirst(versions.data?.versions ?? []);
  const champions = all.filter(({ aliases }) => aliases.includes("champion"));
  // Only what was evaluated has curves: of several models' champions, one of those comes first.
  const champion = champions.find(({ kind }) => kind === "llm-classifier") ?? champions[0];
  const chosen = query.get("version") ?? champion?.name ?? all[0]?.name ?? null;
  // A version never changes, so its curves are asked for once.
  const curves = useResource<Calibration>(
    chosen === null ? null : modelsPath(`/versions/${encodeURIComponent(chosen)}/calibration`),
    { every: null },
  );
  const isMissing = curves.problem?.status === 404;
  return (
    <Page
      title="Calibration"
      about="What a version’s confidence was worth when it was evaluated."
      actions={
        chosen !== null && (
          <div className="w-72 max-w-full">
            <SelectField
              label="Version"
              value={chosen}
              options={all.map(({ name, aliases }) => ({
                value: name,
                name: aliases.length === 0 ? name : `${name} (${aliases.join(", ")})`,
              }))}
              onChange={(version) => setQuery((before) => changed(before, { version }))}
            />
          </div>
        )
      }
    >
      <Shown resource={versions} what="the versions">
        {() =>
          chosen === null ? (
            <Empty title="No version is registered">
              What <code className="font-mono">glassbox evaluate</code> wrote registers with one
              command, and its curves come along.
            </Empty>
          ) : isMissing ? (
            <Empty title="This version has no curves">{curves.problem?.message}</Empty>
          ) : (
            <>
              {curves.loading && <Waiting what="the curves" lines={10} />}
              <Shown resource={{ ...curves, loading: false }} what="the curves">
                {(found) => <Charts found={found} />}
              </Shown>
            </>
          )
        }
      </Shown>
    </Page>
  );
}

function Charts({ found }: { found: Calibration }) {
  const files = Object.entries(found.charts).flatMap(
    ([name, value]) => chartFile(name, value) ?? [],
  );
  const drawn = sorted(files.filter(isDrawn));
  if (drawn.length === 0) {
    return <Empty title="This version’s evaluation drew no chart that this page knows" />;
  }
  return (
    <div className="grid min-w-0 grid-cols-1 items-start gap-4 xl:grid-cols-2">
      {drawn.map((file) => (
        <ChartCard key={file.chart} file={file} />
      ))}
    </div>
  );
}
