import { useMemo, useState } from "react";
import { useSearchParams } from "react-router";

import { modelsPath } from "../api/http";
import { useResource } from "../api/useResource";
import type { AuditEntry, Versions } from "../api/wire";
import { changed } from "../app/query";
import { NoTraffic } from "../diagnostics/InferenceAuditPanel";
import { AnswerCell } from "../inference/answer";
import { ShadowOutcome } from "../inference/DiffChip";
import { answeringModels } from "../models/models";
import { Button } from "../ui/Button";
import { Card } from "../ui/Card";
import { Chip } from "../ui/Chip";
import { Empty } from "../ui/Empty";
import { clock, count, digits, milliseconds } from "../ui/format";
import { LinkButton } from "../ui/LinkButton";
import { Notice } from "../ui/Notice";
import { Page } from "../ui/Page";
import { Failed } from "../ui/Outage";
import { Waiting } from "../ui/Shown";
import { type Column, VirtualTable } from "../ui/VirtualTable";
import { FilterForm } from "./FilterForm";
import { filtersOf } from "./filters";
import { RecordPanel } from "./RecordPanel";
import { useEntries } from "./useEntries";

/** Every prediction that is kept, newest first, and one of them in full. */
export function InferencesPage() {
  const [query, setQuery] = useSearchParams();
  const said = query.toString();
  const filters = useMemo(() => filtersOf(new URLSearchParams(said)), [said]);
  const [isFollowing, setFollowing] = useState(true);
  const registered = useResource<Versions>(modelsPath("/versions"));
  const models = answeringModels(registered.data);
  const versions = (registered.data?.versions ?? []).filter(
    ({ model }) => filters.model === "" || model === filters.model,
  );
  const { newest, entries, isAll, problem, more } = useEntries(filters, isFollowing);
  const chosen = query.get("request");
  const isFiltered = Object.values(filters).some((value) => value !== "");

  const choose = (requestId: string | null) =>
    setQuery((before) => changed(before, { request: requestId }));
  const filter = (changes: Record<string, string>) =>
    setQuery((before) => changed(before, changes), { replace: true });

  return (
    <Page
      title="Inferences"
      about="What was answered, newest first. Raw inputs are not kept, unless they are on the allow-list."
      actions={
        <Button aria-pressed={!isFollowing} onClick={() => setFollowing(!isFollowing)}>
          {isFollowing ? "Hold the list" : "Held: follow again"}
        </Button>
      }
    >
      <FilterForm
        filters={filters}
        models={models}
        versions={versions.map(({ name }) => name)}
        onChange={filter}
      />
      <div
        className={
          chosen === null
            ? "grid min-w-0 grid-cols-1"
            : "grid min-w-0 grid-cols-1 items-start gap-4 lg:grid-cols-[minmax(0,1fr)_26rem]"
        }
      >
        <Card
          title="Predictions"
          className="min-w-0"
          aside={
            <span role="status" className="text-xs text-muted tabular-nums">
              {newest.data !== null &&
                `${count(entries.length)}${isAll ? "" : "+"} shown${isFiltered ? " of those that match" : ""}`}
            </span>
          }
        >
          {newest.problem !== null && (
            <Failed
              problem={newest.problem}
              onRetry={newest.refresh}
              isOld={newest.data !== null}
            />
          )}
          {newest.loading && <Waiting what="the predictions" lines={10} />}
          {newest.data !== null && entries.length === 0 && (
            <Nothing isFiltered={isFiltered} onClear={() => setQuery({})} />
          )}
          {entries.length > 0 && (
            <VirtualTable
              name="Predictions, newest first"
              columns={columns(choose, models.length > 1)}
              rows={entries}
              idOf={({ request_id }) => request_id}
              selected={chosen}
              onSelect={({ request_id }) => choose(request_id)}
              {...(problem === null ? { onEnd: more } : {})}
            />
          )}
          {problem !== null && (
            <div className="mt-3 grid justify-items-start gap-2">
              <Notice problem={problem} />
              <Button onClick={more}>Load older ones</Button>
            </div>
          )}
        </Card>
        {chosen !== null && <RecordPanel requestId={chosen} onClose={() => choose(null)} />}
      </div>
    </Page>
  );
}

function Nothing({ isFiltered, onClear }: { isFiltered: boolean; onClear: () => void }) {
  if (!isFiltered) return <NoTraffic />;
  return (
    <Empty title="Nothing matches">
      No prediction that is kept fits all of these filters.
      <br />
      <Button className="mt-3" onClick={onClear}>
        Clear the filters
      </Button>
    </Empty>
  );
}

const modelColumn: Column<AuditEntry> = {
  key: "model",
  head: "Model",
  isExtra: true,
  cell: ({ model }) => model,
};

function columns(
  choose: (requestId: string) => void,
  hasModels: boolean,
): readonly Column<AuditEntry>[] {
  return [
    {
      key: "time",
      head: "Time",
      cell: (entry) => (
        <LinkButton
          className="tabular-nums"
          aria-label={`Open the prediction of ${clock(entry.timestamp)}`}
          onClick={(event) => {
            event.stopPropagation();
            choose(entry.request_id);
          }}
        >
          {clock(entry.timestamp)}
        </LinkButton>
      ),
    },
    { key: "answer", head: "Answer", cell: (entry) => <AnswerCell entry={entry} /> },
    {
      key: "prediction",
      head: "Prediction",
      isNumber: true,
      isExtra: true,
      cell: (entry) => <span className="font-mono">{digits(entry.prediction)}</span>,
    },
    { key: "diff", head: "Difference", cell: (entry) => <ShadowOutcome entry={entry} /> },
    {
      key: "latency",
      head: "Latency",
      isNumber: true,
      cell: (entry) => milliseconds(entry.latency_ms),
    },
    ...(hasModels ? [modelColumn] : []),
    {
      key: "version",
      head: "Version",
      isExtra: true,
      cell: (entry) => (
        <>
          <span className="font-mono text-xs">{entry.model_version}</span>{" "}
          {entry.arm === "challenger" && <Chip tone="info">canary</Chip>}
        </>
      ),
    },
    {
      key: "truth",
      head: "Truth",
      isExtra: true,
      cell: (entry) => (entry.true_label == null ? "–" : String(entry.true_label)),
    },
    {
      key: "request",
      head: "Request",
      isExtra: true,
      cell: (entry) => <span className="font-mono text-xs text-muted">{entry.request_id}</span>,
    },
  ];
}
