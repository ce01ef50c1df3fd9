import type { Component, Health } from "../api/wire";
import { Chip, type ChipTone } from "../ui/Chip";
import { short } from "../ui/format";

const tones: Record<Component["status"], ChipTone> = { ok: "good", degraded: "warn", off: "plain" };

/** Each part of the service, and what is the matter with it. */
export function HealthList({ health }: { health: Health }) {
  return (
    <ul className="grid gap-1.5 text-sm">
      {Object.entries(health.components).map(([name, part]) => (
        <li key={name}>
          <details>
            <summary className="rounded">
              <span className="inline-block w-24 font-medium">{name.replaceAll("_", " ")}</span>{" "}
              <Chip tone={tones[part.status]}>{part.status}</Chip>
              {part.reason != null && (
                <span className="mt-0.5 block text-xs text-muted">{part.reason}</span>
              )}
            </summary>
            <dl className="mt-1 grid grid-cols-[auto_minmax(0,1fr)] gap-x-3 rounded bg-sunken px-3 py-1.5 text-xs">
              {Object.entries(part.details).map(([detail, value]) => (
                <div key={detail} className="contents">
                  <dt className="text-muted">{detail.replaceAll("_", " ")}</dt>
                  <dd className="min-w-0 font-mono">{inWords(value)}</dd>
                </div>
              ))}
              {Object.keys(part.details).length === 0 && <dt>No details.</dt>}
            </dl>
          </details>
        </li>
      ))}
    </ul>
  );
}

function inWords(value: unknown): string {
  if (typeof value === "number") return Number.isInteger(value) ? String(value) : short(value);
  return typeof value === "string" ? value : JSON.stringify(value);
}
