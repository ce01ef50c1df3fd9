import { useState } from "react";
import { useSearchParams } from "react-router";

import { call, modelsPath } from "../api/http";
import { asProblem, type Problem } from "../api/problem";
import { useResource } from "../api/useResource";
import type { Drift, DriftReport, FeatureDrift, Reference, References } from "../api/wire";
import { changed } from "../app/query";
import { ModelSwitch } from "../models/ModelSwitch";
import { modelOption } from "../models/models";
import { OfModel } from "../models/OfModel";
import type { ModelChoice } from "../models/useModel";
import { Button } from "../ui/Button";
import { Card } from "../ui/Card";
import { Chip, type ChipTone } from "../ui/Chip";
import { Command, Empty } from "../ui/Empty";
import { clock, count } from "../ui/format";
import { Notice } from "../ui/Notice";
import { Page } from "../ui/Page";
import { Shown } from "../ui/Shown";
import { Stat, Stats } from "../ui/Stat";
import { useBroughtUp } from "../ui/useBroughtUp";
import { EstimateStat, methodNames } from "./EstimateStat";
import { FeatureDetail } from "./FeatureDetail";
import { FeatureTable } from "./FeatureTable";
import { Further } from "./Further";
import { NewReference } from "./NewReference";
import { ReferenceTable } from "./ReferenceTable";

const head = {
  title: "Drift",
  about: "The latest predictions compared with a frozen reference.",
} as const;

/** What comes now against what came before, feature by feature. */
export function DriftPage() {
  return <OfModel {...head}>{(choice) => <DriftOf {...choice} />}</OfModel>;
}

function DriftOf({ model, ...choice }: ModelChoice & { model: string }) {
  const drift = useResource<Drift>(modelsPath("/drift", { model }), { on: ["drift"] });
  const references = useResource<References>(modelsPath("/drift/references", { model }), {
    on: ["drift"],
  });
  const [isMaking, setMaking] = useState(false);
  const [run, setRun] = useState<{ busy: boolean; problem: Problem | null }>({
    busy: false,
    problem: null,
  });

  const compare = () => {
    setRun({ busy: true, problem: null });
    call(modelsPath("/drift/run", { model }), undefined, undefined, "POST").then(
      () => {
        setRun({ busy: false, problem: null });
        drift.refresh();
      },
      (error: unknown) => setRun({ busy: false, problem: asProblem(error) }),
    );
  };

  return (
    <Page
      {...head}
      actions={
        <>
          <ModelSwitch model={model} {...choice} />
          <Button onClick={() => setMaking(true)}>New reference…</Button>
          <Button
            kind="main"
            onClick={compare}
            disabled={run.busy || drift.data?.reference === null}
          >
            {run.busy ? "Comparing…" : "Compare now"}
          </Button>
        </>
      }
    >
      {isMaking && (
        <NewReference
          model={model}
          onClose={() => setMaking(false)}
          onMade={() => {
            drift.refresh();
            references.refresh();
          }}
        />
      )}
      {run.problem !== null && <Notice problem={run.problem} />}
      <Shown resource={drift} what="the comparison">
        {({ report, reference }) =>
          report === null ? (
            <Nothing reference={reference} model={model} />
          ) : (
            <Report key={report.model_version} report={report} model={model} />
          )
        }
      </Shown>
      <Card title="References">
        <Shown resource={references} what="the references">
          {({ references: all }) => <ReferenceTable references={all} />}
        </Shown>
      </Card>
    </Page>
  );
}

const verdicts: Record<string, { name: string; tone: ChipTone }> = {
  drift: { name: "drift", tone: "bad" },
  no_drift: { name: "no drift", tone: "good" },
  not_enough_data: { name: "too few predictions", tone: "plain" },
};

function Report({ report, model }: { report: DriftReport; model: string }) {
  const [query, setQuery] = useSearchParams();
  const verdict = verdicts[report.verdict] ?? { name: report.verdict, tone: "plain" as const };
  const nDrifted = report.features.filter(({ drifted }) => drifted).length;
  const chosen: FeatureDrift | undefined =
    report.features.find(({ name }) => name === query.get("feature")) ?? report.features[0];
  const choose = (name: string) =>
    setQuery((before) => changed(before, { feature: name }), { replace: true });
  const detail = useBroughtUp<HTMLDivElement>(query.get("feature"));
  return (
    <>
      <Card
        title="Latest comparison"
        aside={
          <span className="flex flex-wrap items-center gap-2 text-xs text-muted tabular-nums">
            <Chip tone={verdict.tone}>{verdict.name}</Chip>
            {clock(report.time_s)}
          </span>
        }
      >
        <Stats wide>
          <Stat
            name="Columns that drifted"
            value={`${nDrifted} of ${report.features.length}`}
            tone={nDrifted > 0 ? "bad" : "good"}
            hint="effect and adjusted p"
          />
          <EstimateStat name={methodNames.estimated} estimate={report.estimate} />
          <EstimateStat name={methodNames.realised} estimate={report.realised} />
          <Stat name="Now" value={count(report.n_current)} hint="latest predictions" />
          <Stat name="Reference" value={count(report.n_reference)} hint={report.reference_id} />
        </Stats>
        <p className="mt-3 text-sm text-muted">
          Version <span className="font-mono text-ink">{report.model_version}</span>.
          {report.seasonality != null && ` ${seasonWords(report.seasonality)}`}
        </p>
        {(report.notes ?? []).length > 0 && (
          <ul className="mt-2 list-disc pl-5 text-sm text-muted">
            {(report.notes ?? []).map((note) => (
              <li key={note}>{note}</li>
            ))}
          </ul>
        )}
      </Card>
      {report.features.length > 0 && (
        <div className="grid min-w-0 grid-cols-1 items-start gap-4 xl:grid-cols-2">
          <Card title="Columns, largest change first" className="min-w-0">
            <FeatureTable
              features={report.features}
              chosen={chosen?.name ?? null}
              onChoose={choose}
            />
          </Card>
          {chosen !== undefined && (
            <div ref={detail} className="min-w-0 scroll-mt-2">
              <FeatureDetail feature={chosen} model={model} />
            </div>
          )}
        </div>
      )}
      <Further report={report} />
    </>
  );
}

function seasonWords(found: Readonly<Record<string, unknown>>): string {
  const said = found.summary ?? found.reason ?? found.pattern;
  return typeof said === "string" ? said : "A pattern over the week was looked for.";
}

function Nothing({ reference, model }: { reference: Reference | null; model: string }) {
  if (reference === null) {
    return (
      <Empty title="There is no reference yet">
        A reference is a frozen picture of predictions that were as they should be.
        <br />
        <Command>{`glassbox drift reference create --last-n 5000${modelOption(model)}`}</Command>
      </Empty>
    );
  }
  return (
    <Empty title="Nothing was compared yet">
      The first comparison comes by itself when enough predictions are there, or now by the button
      above.
    </Empty>
  );
}
