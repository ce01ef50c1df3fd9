import type { Alerts } from "../api/wire";
import { Chip, type ChipTone } from "../ui/Chip";
import { clock, counted } from "../ui/format";

const tones: Record<string, ChipTone> = { info: "info", warn: "warn", error: "bad" };

/** What happened; a receiver's message begins with the rule's name, which stands above it here. */
function withoutName({ rule, summary }: Alerts["firing"][number]): string {
  return summary.startsWith(`${rule}: `) ? summary.slice(rule.length + 2) : summary;
}

/** Rules that hold now, then the latest messages and whether they were taken. */
export function FiringAlerts({ alerts }: { alerts: Alerts }) {
  const { firing, history } = alerts;
  return (
    <div className="grid gap-3 text-sm">
      {firing.length === 0 ? (
        <p className="flex items-center gap-2">
          <Chip tone="good">quiet</Chip> <span className="text-muted">No rule fires.</span>
        </p>
      ) : (
        <ul className="grid gap-2">
          {firing.map((alert) => (
            <li key={alert.rule} className="rounded-md bg-sunken px-3 py-2">
              <p className="flex flex-wrap items-center gap-2">
                <Chip tone={tones[alert.severity] ?? "plain"}>{alert.severity}</Chip>
                <strong className="font-medium">{alert.rule}</strong>
              </p>
              <p className="mt-1">{withoutName(alert)}</p>
              <p className="text-xs text-muted tabular-nums">Since {clock(alert.since_s)}</p>
            </li>
          ))}
        </ul>
      )}
      {history.length > 0 && (
        <details>
          <summary className="w-fit rounded text-muted hover:text-ink">Latest messages</summary>
          <ul className="mt-2 grid gap-2">
            {history.slice(0, 20).map((message) => (
              <li key={message.id} className="border-t border-line pt-2">
                <p className="flex flex-wrap items-center gap-2">
                  <Chip tone={message.state === "firing" ? "warn" : "good"}>{message.state}</Chip>
                  {message.rule}
                  <span className="text-xs text-muted tabular-nums">{clock(message.time_s)}</span>
                </p>
                <p className="text-xs text-muted">
                  {message.delivered.length === 0 ? "Nobody was to be told." : null}
                  {message.delivered
                    .map(({ receiver, delivered_s, attempts, last_error }) =>
                      delivered_s === null
                        ? `${receiver}: not yet, ${counted(attempts, "attempt")}${last_error === null ? "" : ` (${last_error})`}`
                        : `${receiver}: told ${clock(delivered_s)}`,
                    )
                    .join(" · ")}
                </p>
              </li>
            ))}
          </ul>
        </details>
      )}
    </div>
  );
}
