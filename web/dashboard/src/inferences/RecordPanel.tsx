import { useEffect, useRef } from "react";

import { modelsPath } from "../api/http";
import { useResource } from "../api/useResource";
import type { AuditRecord, ShadowAnswered } from "../api/wire";
import { DiffChip } from "../inference/DiffChip";
import { Button } from "../ui/Button";
import { Card } from "../ui/Card";
import { Chip } from "../ui/Chip";
import { clock, digits, milliseconds, short } from "../ui/format";
import { Shown } from "../ui/Shown";
import { Facts } from "../ui/Stat";
import { bringUp } from "../ui/useBroughtUp";
import { LabelProbs } from "./LabelProbs";

type Props = { requestId: string; onClose: () => void };

/** One request in full, its shadow twin beside it. */
export function RecordPanel({ requestId, onClose }: Props) {
  const record = useResource<AuditRecord>(
    modelsPath(`/audit/records/${encodeURIComponent(requestId)}`),
    { on: ["inference"] },
  );
  const box = useRef<HTMLDivElement>(null);
  useEffect(() => {
    const opener = document.activeElement;
    bringUp(box.current);
    box.current?.focus({ preventScroll: true });
    return () => {
      // Closed from within: back to where it was opened from.
      if (document.activeElement === document.body && opener instanceof HTMLElement) opener.focus();
    };
  }, [requestId]);
  return (
    <div
      ref={box}
      tabIndex={-1}
      className="min-w-0 scroll-mt-2 rounded-lg focus:outline-none lg:sticky lg:top-4 lg:max-h-[calc(100dvh-2rem)] lg:overflow-y-auto"
    >
      <Card title="One prediction" aside={<Button onClick={onClose}>Close</Button>}>
        <p className="mb-3 font-mono text-xs break-all text-muted">{requestId}</p>
        <Shown resource={record} what="the prediction">
          {(found) => <Whole record={found} />}
        </Shown>
      </Card>
    </div>
  );
}

function Whole({ record }: { record: AuditRecord }) {
  const { entry, shadows } = record;
  const kept = Object.entries(record.features);
  const summaries = Object.entries(record.summaries);
  // A column may be kept for both reasons.
  const segments = Object.entries(record.segments).filter(([name]) => !(name in record.features));
  return (
    <div className="grid grid-cols-1 gap-5">
      <section aria-label="Answer">
        <h3 className="mb-1.5 flex flex-wrap items-center gap-2 text-sm font-semibold">
          Answer
          <Chip tone={entry.status === "success" ? "good" : "bad"}>
            {entry.status === "success" ? "answered" : (entry.error_code ?? "failed")}
          </Chip>
          {entry.arm === "challenger" && <Chip tone="info">canary</Chip>}
        </h3>
        <Facts
          facts={[
            ["Time", clock(entry.timestamp)],
            ["Version", <Mono key="version">{entry.model_version}</Mono>],
            ...(entry.label == null ? [] : ([["Label", entry.label]] as const)),
            ["Prediction", <Mono key="prediction">{digits(entry.prediction)}</Mono>],
            ["Confidence", <Mono key="confidence">{digits(entry.confidence)}</Mono>],
            ["Truth", truthOf(record)],
            ["Latency", milliseconds(entry.latency_ms)],
            ["Features", <Mono key="hash">{entry.feature_hash}</Mono>],
          ]}
        />
      </section>
      {entry.label_probs != null && (
        <LabelProbs
          answer={entry.label_probs}
          challenger={shadows.find(({ role }) => role === "challenger")?.label_probs ?? null}
        />
      )}
      <section aria-label="Shadow" className="grid gap-3">
        <h3 className="text-sm font-semibold">What challengers would have said</h3>
        {shadows.length === 0 && (
          <p className="text-sm text-muted">
            {entry.shadow_status === "pending"
              ? "The challenger’s answer is awaited."
              : "No challenger saw this request."}
          </p>
        )}
        {shadows.map((shadow) => (
          <Twin key={`${shadow.shadow_version} ${shadow.role}`} shadow={shadow} />
        ))}
      </section>
      {(kept.length > 0 || segments.length > 0 || summaries.length > 0) && (
        <section aria-label="Kept values">
          <h3 className="mb-1.5 text-sm font-semibold">What is kept of the input</h3>
          <Facts
            facts={[
              ...segments.map(([name, value]) => [name, value] as const),
              ...kept.map(
                ([name, value]) => [name, <Mono key={name}>{inWords(value)}</Mono>] as const,
              ),
              ...summaries.map(
                ([name, value]) => [name, <Mono key={name}>{short(value)}</Mono>] as const,
              ),
            ]}
          />
        </section>
      )}
      <section aria-label="Events">
        <h3 className="mb-1.5 text-sm font-semibold">Events in the audit log</h3>
        <ol className="grid gap-1 text-sm">
          {record.events.map((event) => (
            <li key={`${event.sequence} ${event.kind}`} className="flex gap-3 tabular-nums">
              <span className="font-mono text-xs text-muted">#{event.sequence}</span>
              <span>{words[event.kind]}</span>
              <span className="ml-auto text-muted">{clock(event.timestamp)}</span>
            </li>
          ))}
        </ol>
      </section>
    </div>
  );
}

const words: Record<AuditRecord["events"][number]["kind"], string> = {
  primary: "answered",
  shadow: "challenger’s copy ended",
  label: "truth told",
  erasure: "content erased",
};

function Twin({ shadow }: { shadow: ShadowAnswered }) {
  return (
    <div className="rounded-md bg-sunken px-3 py-2">
      <p className="mb-1 flex flex-wrap items-center gap-2 text-sm">
        <Mono>{shadow.shadow_version}</Mono>
        {shadow.role === "noise_floor" && <Chip>champion again, for the noise</Chip>}
        {shadow.status !== "ok" && <Chip tone="warn">{shadow.status.replaceAll("_", " ")}</Chip>}
      </p>
      {shadow.status === "ok" && (
        <Facts
          facts={[
            ...(shadow.label == null ? [] : ([["Label", shadow.label]] as const)),
            ["Prediction", <Mono key="prediction">{digits(shadow.prediction)}</Mono>],
            ["Confidence", <Mono key="confidence">{digits(shadow.confidence)}</Mono>],
            [
              "Difference",
              shadow.diff === null ? "–" : <DiffChip key="difference" diff={shadow.diff} />,
            ],
            ["Latency", milliseconds(shadow.latency_ms)],
          ]}
        />
      )}
    </div>
  );
}

function truthOf({ true_label, entry }: AuditRecord) {
  if (true_label == null) return "not told";
  const said = String(true_label);
  if (entry.label == null) return said;
  const isRight = said === entry.label;
  return <Chip tone={isRight ? "good" : "bad"}>{`${said}: ${isRight ? "right" : "wrong"}`}</Chip>;
}

function inWords(value: unknown): string {
  return typeof value === "string" ? value : JSON.stringify(value);
}

function Mono({ children }: { children: string }) {
  return <span className="font-mono text-xs">{children}</span>;
}
