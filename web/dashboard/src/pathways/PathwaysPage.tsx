import { useCallback } from "react";
import { useSearchParams } from "react-router";

import { STUDIES, studyPath } from "../api/http";
import { useResource } from "../api/useResource";
import type { Studies, Study, StudyBrief } from "../api/wire";
import { changed } from "../app/query";
import { Card } from "../ui/Card";
import { Command, Empty } from "../ui/Empty";
import { SelectField } from "../ui/Field";
import { Page } from "../ui/Page";
import { Shown } from "../ui/Shown";
import { DecisionPaths } from "./DecisionPaths";
import { GraphCard } from "./GraphCard";
import { LatentCard } from "./LatentCard";
import { LatentTable } from "./LatentTable";
import { PathwayTable } from "./PathwayTable";
import { StudyHead } from "./StudyHead";

/** Which latents drive which, what fires them, and how much of it was confirmed. */
export function PathwaysPage() {
  const [query, setQuery] = useSearchParams();
  // A finished study changes only when it is made anew, so it is not asked for all the time.
  const studies = useResource<Studies>(STUDIES, { every: null });
  const all = studies.data?.studies ?? [];
  const chosen = query.get("study") ?? all.find(isWhole)?.name ?? null;
  return (
    <Page
      title="Pathways"
      about="Which latents drive which, confirmed by changing them, and which tokens fire them."
      actions={
        chosen !== null && (
          <div className="w-72 max-w-full">
            <SelectField
              label="Study"
              value={chosen}
              options={all.map(({ name, problem }) => ({
                value: name,
                name: problem == null ? name : `${name} (damaged)`,
              }))}
              onChange={(study) => setQuery((before) => changed(before, { study, latent: null }))}
            />
          </div>
        )
      }
    >
      <Shown resource={studies} what="the studies">
        {() => (chosen === null ? <Nothing all={all} /> : <One key={chosen} name={chosen} />)}
      </Shown>
    </Page>
  );
}

function isWhole(study: StudyBrief): boolean {
  return study.problem == null;
}

function One({ name }: { name: string }) {
  const [query, setQuery] = useSearchParams();
  const study = useResource<Study>(studyPath(name), { every: null });
  const latent = query.get("latent");
  const choose = useCallback(
    (chosen: string | null) =>
      setQuery((before) => changed(before, { study: name, latent: chosen }), { replace: true }),
    [name, setQuery],
  );
  return (
    <Shown resource={study} what="the study">
      {(found) => (
        <>
          <StudyHead study={found} />
          <GraphCard study={name} chosen={latent} onChoose={choose} />
          <div className="grid min-w-0 grid-cols-1 items-start gap-4 xl:grid-cols-[3fr_2fr]">
            <div className="grid min-w-0 grid-cols-1 gap-4">
              <PathwayTable study={name} latent={latent} onChoose={choose} />
              <LatentTable study={name} chosen={latent} onChoose={choose} />
              <DecisionPaths study={found} onChoose={choose} />
            </div>
            {latent === null ? (
              <Card title="Latent">
                <Empty title="No latent is chosen">
                  Choose one in the graph or in a table to see what fires it and what it does.
                </Empty>
              </Card>
            ) : (
              // On a narrow screen what was chosen comes before the tables it was chosen from.
              <div className="min-w-0 max-xl:order-first">
                <LatentCard study={name} name={latent} onChoose={choose} />
              </div>
            )}
          </div>
        </>
      )}
    </Shown>
  );
}

function Nothing({ all }: { all: readonly StudyBrief[] }) {
  const damaged = all.filter((study) => !isWhole(study));
  return (
    <Empty title="There is no finished study">
      {damaged.map(({ name, problem }) => (
        <p key={name}>{problem}</p>
      ))}
      A study is a folder below the server’s folder of studies (
      <code className="font-mono">paths.studies</code>).
      <br />
      <Command>glassbox serve --studies FOLDER</Command>
    </Empty>
  );
}
