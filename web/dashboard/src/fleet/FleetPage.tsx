import { useResource } from "../api/useResource";
import type { Fleet } from "../api/wire";
import { Card } from "../ui/Card";
import { Page } from "../ui/Page";
import { Shown } from "../ui/Shown";
import { FleetStats } from "./FleetStats";
import { FleetWarnings } from "./FleetWarnings";
import { ReplicaTable } from "./ReplicaTable";
import { VersionTotals } from "./VersionTotals";

/** Servers say every two seconds how they are. */
const EVERY_MS = 2_000;

/** The servers that share one database: whether they answer alike, and what they do together. */
export function FleetPage() {
  const fleet = useResource<Fleet>("/v1/fleet", { on: ["rollout"], every: EVERY_MS });
  return (
    <Page
      title="Fleet"
      about="Every server that shares this one’s database: how it is, who answers there, and where they differ."
    >
      <Shown resource={fleet} what="the servers">
        {(found) => (
          <div className="grid min-w-0 grid-cols-1 gap-4">
            <Card title="Together">
              <FleetStats fleet={found} />
            </Card>
            <FleetWarnings warnings={found.warnings} />
            <Card title="Servers">
              <ReplicaTable fleet={found} />
            </Card>
            <Card title="Predictions of all servers, by version">
              <VersionTotals totals={found.totals} />
            </Card>
          </div>
        )}
      </Shown>
    </Page>
  );
}
