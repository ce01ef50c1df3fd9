import { Link, useNavigate, useSearchParams } from "react-router";

import { modelsPath } from "../api/http";
import { sameModel } from "../app/query";
import { useResource } from "../api/useResource";
import type { Alerts, Health, Rollouts } from "../api/wire";
import { InferenceAuditPanel } from "../diagnostics/InferenceAuditPanel";
import { phaseOf } from "../inference/phases";
import { ModelSwitch } from "../models/ModelSwitch";
import { OfModel } from "../models/OfModel";
import type { ModelChoice } from "../models/useModel";
import { Card } from "../ui/Card";
import { Chip } from "../ui/Chip";
import { clock, percent, span } from "../ui/format";
import { Page } from "../ui/Page";
import { Shown } from "../ui/Shown";
import { FiringAlerts } from "./FiringAlerts";
import { HealthList } from "./HealthList";

const head = {
  title: "Overview",
  about: "What is answered now, by whom, and whether all is well.",
} as const;

/** Everything at a glance: traffic, the rollout under way, what fires, what is not well. */
export function OverviewPage() {
  return <OfModel {...head}>{(choice) => <Overview {...choice} />}</OfModel>;
}

function Overview({ model, ...choice }: ModelChoice & { model: string }) {
  const go = useNavigate();
  const [query] = useSearchParams();
  const rollouts = useResource<Rollouts>(modelsPath("/rollouts", { model }), { on: ["rollout"] });
  const alerts = useResource<Alerts>(modelsPath("/alerts"), { on: ["alert"] });
  const health = useResource<Health>(modelsPath("/health"), { on: ["rollout", "alert", "drift"] });
  return (
    <Page {...head} actions={<ModelSwitch model={model} {...choice} />}>
      <div className="grid grid-cols-1 items-start gap-4 xl:grid-cols-[minmax(0,1fr)_21rem]">
        <InferenceAuditPanel
          model={model}
          isOneOfSeveral={choice.models.length > 1}
          onOpen={({ request_id }) =>
            void go(sameModel(query, "/inferences", { request: request_id }))
          }
        />
        <div className="grid min-w-0 grid-cols-1 gap-4 md:grid-cols-2 xl:grid-cols-1">
          <Card title="Rollout">
            <Shown resource={rollouts} what="the rollout">
              {({ current, rollouts: all }) => (
                <RolloutInShort rollout={current ?? all[0] ?? null} isCurrent={current !== null} />
              )}
            </Shown>
          </Card>
          <Card title="Alerts">
            <Shown resource={alerts} what="the alerts">
              {(found) => <FiringAlerts alerts={found} />}
            </Shown>
          </Card>
          <Card title="Health">
            <Shown resource={health} what="the state of the parts">
              {(found) => <HealthList health={found} />}
            </Shown>
          </Card>
        </div>
      </div>
    </Page>
  );
}

type InShort = { rollout: Rollouts["rollouts"][number] | null; isCurrent: boolean };

function RolloutInShort({ rollout, isCurrent }: InShort) {
  const [query] = useSearchParams();
  if (rollout === null) {
    return (
      <p className="text-sm text-muted">
        None was ever started.{" "}
        <Link
          to={sameModel(query, "/rollout")}
          className="text-accent underline underline-offset-3"
        >
          Start one
        </Link>
        .
      </p>
    );
  }
  const phase = phaseOf(rollout);
  return (
    <div className="grid gap-2 text-sm">
      <p className="flex flex-wrap items-center gap-2">
        <Chip tone={phase.tone}>{phase.name}</Chip>
        {rollout.dry_run && <Chip>dry run</Chip>}
        {!isCurrent && <span className="text-muted">{clock(rollout.updated_s)}</span>}
      </p>
      <p>
        <span className="font-mono">{rollout.challenger}</span>
        <span className="text-muted"> in place of </span>
        <span className="font-mono">{rollout.champion}</span>
      </p>
      {isCurrent && (
        <p className="text-muted">
          Answers {percent(rollout.weight, 0)} of the requests; under way for{" "}
          {span(rollout.updated_s - rollout.started_s)}.
        </p>
      )}
      <p>
        <Link
          to={
            phase.isFailed
              ? sameModel(query, "/rollout", { id: rollout.id, why: "1" })
              : sameModel(query, "/rollout")
          }
          className="text-accent underline underline-offset-3"
        >
          {phase.isFailed ? "Why did it abort?" : "See its gates"}
        </Link>
      </p>
    </div>
  );
}
