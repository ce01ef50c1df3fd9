import { useState } from "react";
import { useSearchParams } from "react-router";

import { modelsPath } from "../api/http";
import { type Resource, useResource } from "../api/useResource";
import type { Rollout, Rollouts } from "../api/wire";
import { changed } from "../app/query";
import { ModelSwitch } from "../models/ModelSwitch";
import { modelOption } from "../models/models";
import { OfModel } from "../models/OfModel";
import type { ModelChoice } from "../models/useModel";
import { Button } from "../ui/Button";
import { Card } from "../ui/Card";
import { Command, Empty } from "../ui/Empty";
import { Page } from "../ui/Page";
import { Shown } from "../ui/Shown";
import { EvidenceCharts } from "./EvidenceCharts";
import { GateTable } from "./GateTable";
import { History } from "./History";
import { RolloutHead } from "./RolloutHead";
import { RolloutList } from "./RolloutList";
import { StartRollout } from "./StartRollout";

const head = {
  title: "Rollout",
  about: "How a challenger becomes champion, gate by gate, or is rolled back.",
} as const;

/** The rollout under way, or one of the past: where it stands, why, and what a person may do. */
export function RolloutPage() {
  return <OfModel {...head}>{(choice) => <RolloutOf {...choice} />}</OfModel>;
}

function RolloutOf({ model, ...choice }: ModelChoice & { model: string }) {
  const [query, setQuery] = useSearchParams();
  const [isStarting, setStarting] = useState(false);
  const all = useResource<Rollouts>(modelsPath("/rollouts", { model }), { on: ["rollout"] });
  const chosen = query.get("id") ?? all.data?.current?.id ?? all.data?.rollouts[0]?.id ?? null;
  const isCurrent = chosen !== null && chosen === all.data?.current?.id;
  const one = useResource<Rollout>(
    chosen === null || isCurrent ? null : modelsPath(`/rollouts/${encodeURIComponent(chosen)}`),
    { on: ["rollout"] },
  );
  // What has just ended is shown on until it comes by itself, so that no window over it closes.
  const [latest, setLatest] = useState<Rollout | null>(null);
  const current = all.data?.current ?? latest;
  if (current !== latest) setLatest(current);
  const kept = one.data ?? (latest?.id === chosen ? latest : null);
  const shown: Resource<Rollout> = isCurrent
    ? { ...all, data: current }
    : { ...one, data: kept, loading: one.loading && kept === null };
  const refresh = () => {
    all.refresh();
    one.refresh();
  };

  return (
    <Page
      {...head}
      actions={
        <>
          <ModelSwitch model={model} {...choice} />
          {all.data !== null && all.data.current === null && (
            <Button kind="main" onClick={() => setStarting(true)}>
              Start a rollout
            </Button>
          )}
        </>
      }
    >
      {isStarting && (
        <StartRollout
          model={model}
          onClose={() => setStarting(false)}
          onStarted={() => {
            setQuery((before) => changed(before, { id: null, why: null }));
            refresh();
          }}
        />
      )}
      <Shown resource={all} what="the rollouts">
        {({ rollouts }) => (
          <>
            {chosen === null ? (
              <Nothing model={model} />
            ) : (
              <Shown resource={shown} what="the rollout">
                {(rollout) => <Whole key={rollout.id} rollout={rollout} onChanged={refresh} />}
              </Shown>
            )}
            {rollouts.length > 0 && (
              <Card title="All rollouts">
                <RolloutList
                  rollouts={rollouts}
                  chosen={chosen}
                  onChoose={(id) => setQuery((before) => changed(before, { id, why: null }))}
                />
              </Card>
            )}
          </>
        )}
      </Shown>
    </Page>
  );
}

function Whole({ rollout, onChanged }: { rollout: Rollout; onChanged: () => void }) {
  return (
    <>
      <RolloutHead rollout={rollout} onChanged={onChanged} />
      <Card title="Gates">
        <GateTable name="Gates as they stand" gates={rollout.gates} />
      </Card>
      <Card title="Evidence over time">
        <EvidenceCharts points={rollout.evidence_series} gates={rollout.gates} />
      </Card>
      <Card title="History">
        <History rollout={rollout} />
      </Card>
    </>
  );
}

function Nothing({ model }: { model: string }) {
  return (
    <Empty title="No rollout yet">
      A rollout lets a challenger see copies, then answer a growing share, and makes it champion
      only when every gate is passed with certainty.
      <br />
      <Command>{`glassbox rollout start CHALLENGER${modelOption(model)}`}</Command>
    </Empty>
  );
}
