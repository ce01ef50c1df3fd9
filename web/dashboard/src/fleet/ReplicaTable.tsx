import type { ReactNode } from "react";

import type { Fleet, FleetReplica } from "../api/wire";
import { Chip } from "../ui/Chip";
import { clock, count, percent, short, span } from "../ui/format";
import { ScrollBox } from "../ui/ScrollBox";
import { hasEnded, mebibytes, shortName, stageTones, sum } from "./words";

const HEAD = [
  "State",
  "Server",
  "Glassbox",
  "Who answers",
  "Requests",
  "A second",
  "At work, waiting",
  "Memory",
  "Runs for",
  "Heard of",
] as const;

/** Those that work before those that ended; each kind stays in its order. */
function byEnd(one: FleetReplica, other: FleetReplica): number {
  return Number(hasEnded(one)) - Number(hasEnded(other));
}

/** One line for each server; those that ended are grey. */
export function ReplicaTable({ fleet }: { fleet: Fleet }) {
  return (
    <ScrollBox name="Servers of this database">
      <table className="w-full border-collapse text-sm tabular-nums">
        <caption className="sr-only">Servers of this database</caption>
        <thead>
          <tr>
            {HEAD.map((each) => (
              <th
                key={each}
                scope="col"
                className="px-2 py-1.5 text-left text-xs font-medium whitespace-nowrap text-muted"
              >
                {each}
              </th>
            ))}
          </tr>
        </thead>
        <tbody>
          {fleet.replicas.toSorted(byEnd).map((each) => (
            <Line key={each.id} replica={each} fleet={fleet} />
          ))}
        </tbody>
      </table>
    </ScrollBox>
  );
}

function Line({ replica, fleet }: { replica: FleetReplica; fleet: Fleet }) {
  const isOver = hasEnded(replica);
  const { load } = replica;
  return (
    <tr className={`border-t border-line align-top ${isOver ? "text-muted" : ""}`}>
      <Cell>
        <Chip tone={stageTones[replica.status]}>{replica.status}</Chip>
      </Cell>
      <th scope="row" className="px-2 py-1.5 text-left font-normal">
        <span className="font-mono font-medium">{replica.id}</span>
        {replica.id === fleet.answered_by && <span className="text-muted"> (answers you)</span>}
        <span className="block text-xs text-muted">
          {replica.host}, process {replica.pid}
        </span>
        <span className="block text-xs text-muted">{replica.address}</span>
      </th>
      <Cell>
        {replica.version}
        {replica.bundle_digest !== "" && (
          <span className="block font-mono text-xs text-muted">
            {replica.bundle_digest.slice(0, 12)}
          </span>
        )}
        {replica.adapters.length > 0 && (
          <span className="block text-xs text-muted" title={replica.adapters.join(", ")}>
            {replica.adapters.length === 1
              ? `adapter ${shortName(replica.adapters[0] ?? "")}`
              : `${replica.adapters.length} adapters`}
          </span>
        )}
      </Cell>
      <Cell>
        <Answering replica={replica} />
      </Cell>
      <Cell>{count(sum(replica.counters.requests))}</Cell>
      <Cell>{isOver ? "–" : short(load.requests_per_s)}</Cell>
      <Cell>{isOver ? "–" : `${load.running}, ${load.waiting}`}</Cell>
      <Cell>
        <span className="whitespace-nowrap">{isOver ? "–" : mebibytes(load.resident_bytes)}</span>
      </Cell>
      <Cell>
        <span className="whitespace-nowrap" title={`started ${clock(replica.started_s)}`}>
          {span(Math.max(0, replica.beat_s - replica.started_s))}
        </span>
        {replica.jobs.length > 0 && !isOver && (
          <span className="block text-xs text-muted">does {replica.jobs.join(", ")} for all</span>
        )}
      </Cell>
      <Cell>{replica.silent_s < 3 ? "now" : `${span(replica.silent_s)} ago`}</Cell>
    </tr>
  );
}

function Answering({ replica }: { replica: FleetReplica }) {
  const routings = Object.entries(replica.routings);
  if (routings.length === 0) return <span className="text-muted">nobody</span>;
  return (
    <ul className="grid gap-1">
      {routings.map(([model, { champion, canary, canary_weight, challengers }]) => (
        <li key={model}>
          {routings.length > 1 && <span className="text-xs text-muted">{model}: </span>}
          <span className="font-mono">{champion}</span>
          {canary != null && (
            <span className="block text-xs">
              <span className="font-mono">{canary}</span> {percent(canary_weight, 0)}
            </span>
          )}
          {challengers.length > 0 && (
            <span className="block text-xs text-muted">
              seen by <span className="font-mono">{challengers.join(", ")}</span>
            </span>
          )}
        </li>
      ))}
      {replica.revision != null && (
        <li className="text-xs text-muted">revision {replica.revision}</li>
      )}
    </ul>
  );
}

function Cell({ children }: { children: ReactNode }) {
  return <td className="px-2 py-1.5">{children}</td>;
}
