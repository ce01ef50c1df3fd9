import { apiKey } from "../api/key";
import type { AuditEntry, Registry, Summary } from "../api/wire";
import { AnswerCell } from "../inference/answer";
import { ShadowOutcome } from "../inference/DiffChip";
import {
  type InferenceAudit,
  type InferenceAuditOptions,
  useInferenceAudit,
} from "../inference/useInferenceAudit";
import { DEFAULT_MODEL } from "../models/models";
import { Button } from "../ui/Button";
import { Card } from "../ui/Card";
import { Chip } from "../ui/Chip";
import { Command, Empty } from "../ui/Empty";
import { clock, count, milliseconds, percent } from "../ui/format";
import { LinkButton } from "../ui/LinkButton";
import { Failed } from "../ui/Outage";
import { Waiting } from "../ui/Shown";
import { Stat, Stats } from "../ui/Stat";
import { type Column, VirtualTable } from "../ui/VirtualTable";
import { ConfidenceHistogram } from "./ConfidenceHistogram";
import { ShadowComparison } from "./ShadowComparison";

type Props = InferenceAuditOptions & {
  /** Whether the latest predictions are listed. */
  showRecent?: boolean;
  /** Whether there are other registered models: what is counted since the start is of all of them. */
  isOneOfSeveral?: boolean;
  /** Opens one of them. */
  onOpen?: ((entry: AuditEntry) => void) | undefined;
};

/** Who answers and how well, how sure, how far the challenger is from it, and the latest answers. */
export function InferenceAuditPanel({
  showRecent = true,
  isOneOfSeveral = false,
  onOpen,
  ...options
}: Props) {
  const audit = useInferenceAudit(options);
  const { summary, registryInfo, recentEntries, loading, error } = audit;
  return (
    <div className="grid min-w-0 grid-cols-1 gap-4">
      {error !== null && (
        <Failed problem={error} onRetry={audit.refresh} isOld={summary !== null} />
      )}
      {loading && (
        <Card title="Predictions">
          <Waiting what="the audit" lines={6} />
        </Card>
      )}
      {summary !== null && (
        <>
          <Head
            summary={summary}
            registry={registryInfo}
            audit={audit}
            isOneOfSeveral={isOneOfSeveral}
          />
          <div className="grid grid-cols-1 items-stretch gap-4 lg:grid-cols-2">
            <Card title="Confidence of the answers">
              <ConfidenceHistogram summary={summary} />
            </Card>
            <Card title="Challenger against champion">
              <ShadowComparison summary={summary} model={options.model} />
            </Card>
          </div>
          {showRecent && (
            <Card title="Latest predictions">
              {recentEntries.length === 0 ? (
                <NoTraffic model={options.model} />
              ) : (
                <VirtualTable
                  name="Latest predictions, newest first"
                  columns={columns(onOpen)}
                  rows={recentEntries}
                  idOf={({ request_id }) => request_id}
                  height="max-h-96"
                  {...(onOpen === undefined ? {} : { onSelect: onOpen })}
                />
              )}
            </Card>
          )}
        </>
      )}
    </div>
  );
}

type HeadProps = {
  summary: Summary;
  registry: Registry | null;
  audit: InferenceAudit;
  isOneOfSeveral: boolean;
};

function Head({ summary, registry, audit, isOneOfSeveral }: HeadProps) {
  const rate = summary.success_rate;
  const { p50, p99 } = summary.latency_percentiles_ms;
  return (
    <Card
      title="Predictions"
      aside={
        <span className="flex flex-wrap items-center gap-2 text-xs text-muted">
          {audit.updatedAt !== null && (
            <span className="tabular-nums">
              {audit.isPolling ? "As of" : "Held at"} {audit.updatedAt.toLocaleTimeString("en-GB")}
            </span>
          )}
          <Button onClick={audit.refresh}>Refresh</Button>
          <Button onClick={audit.togglePolling} aria-pressed={!audit.isPolling}>
            {audit.isPolling ? "Pause" : "Paused: go on"}
          </Button>
        </span>
      }
    >
      <p className="mb-3 flex flex-wrap items-center gap-x-2 gap-y-1 text-sm">
        <span className="text-muted">Champion</span>
        <strong className="font-mono font-semibold">{summary.active_model}</strong>
        {summary.shadow_enabled ? (
          <>
            <span className="text-muted">· challenger sees copies:</span>
            <strong className="font-mono font-semibold">{summary.shadow_model}</strong>
          </>
        ) : (
          <Chip>no challenger</Chip>
        )}
        {registry !== null && (
          <span className="text-muted">
            · {count(registry.available_versions.length)}{" "}
            {registry.available_versions.length === 1 ? "version" : "versions"} registered
          </span>
        )}
      </p>
      <Stats>
        <Stat
          name="In the window"
          value={count(summary.rolling_count)}
          hint={`${percent(summary.ring_utilisation, 0)} full`}
        />
        <Stat
          name="Answered"
          value={percent(rate)}
          hint={`${count(summary.error_count)} failed`}
          tone={rate === null ? "plain" : rate >= 0.99 ? "good" : rate >= 0.95 ? "warn" : "bad"}
        />
        <Stat
          name="Mean latency"
          value={milliseconds(summary.avg_latency_ms)}
          hint={`half below ${milliseconds(p50)}`}
        />
        <Stat name="99 % below" value={milliseconds(p99)} hint="latency" />
        <Stat
          name="Mean prediction"
          value={summary.prediction_mean === null ? "–" : summary.prediction_mean.toFixed(3)}
          hint="of the window"
        />
        <Stat
          name="Since the start"
          value={count(summary.lifetime.inferences ?? 0)}
          hint={`${count(summary.lifetime.errors ?? 0)} failed${isOneOfSeveral ? ", of all models" : ""}`}
        />
      </Stats>
    </Card>
  );
}

/** Says how to predict; without a model, with the one that the server takes by itself. */
export function NoTraffic({ model = DEFAULT_MODEL }: { model?: string | undefined }) {
  const asked = {
    ...(model === DEFAULT_MODEL ? {} : { model }),
    features: { text: "The room was clean." },
  };
  const key = apiKey.get() === "" ? "" : ' -H "Authorization: Bearer $GLASSBOX_API_KEY"';
  return (
    <Empty title="Nothing was predicted yet">
      The first prediction shows up here by itself.
      <br />
      <Command>
        {`curl -X POST ${window.location.origin}/api/v2/models/predict -H 'Content-Type: application/json'${key} -d '${JSON.stringify(asked)}'`}
      </Command>
    </Empty>
  );
}

function columns(onOpen: Props["onOpen"]): readonly Column<AuditEntry>[] {
  return [
    {
      key: "time",
      head: "Time",
      cell: (entry) => <Time entry={entry} onOpen={onOpen} />,
    },
    { key: "answer", head: "Answer", cell: (entry) => <AnswerCell entry={entry} /> },
    { key: "diff", head: "Difference", cell: (entry) => <ShadowOutcome entry={entry} /> },
    {
      key: "latency",
      head: "Latency",
      isNumber: true,
      cell: (entry) => milliseconds(entry.latency_ms),
    },
    {
      key: "version",
      head: "Version",
      isExtra: true,
      cell: (entry) => <span className="font-mono text-xs">{entry.model_version}</span>,
    },
    {
      key: "request",
      head: "Request",
      isExtra: true,
      cell: (entry) => <span className="font-mono text-xs text-muted">{entry.request_id}</span>,
    },
  ];
}

function Time({ entry, onOpen }: { entry: AuditEntry; onOpen: Props["onOpen"] }) {
  const text = clock(entry.timestamp);
  if (onOpen === undefined) return <span className="tabular-nums">{text}</span>;
  return (
    <LinkButton
      className="tabular-nums"
      aria-label={`Open the prediction of ${text}`}
      onClick={(event) => {
        event.stopPropagation();
        onOpen(entry);
      }}
    >
      {text}
    </LinkButton>
  );
}
