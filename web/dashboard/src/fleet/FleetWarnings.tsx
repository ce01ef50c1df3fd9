import type { Fleet } from "../api/wire";
import { Card } from "../ui/Card";
import { Chip } from "../ui/Chip";

/** In what the servers differ, and what to do; nothing where they do not. */
export function FleetWarnings({ warnings }: { warnings: Fleet["warnings"] }) {
  if (warnings.length === 0) return null;
  return (
    <Card title="What is not as it should be">
      <ul className="grid gap-2 text-sm">
        {warnings.map(({ kind, message }) => (
          <li key={`${kind} ${message}`} className="flex items-start gap-3">
            <span className="shrink-0">
              <Chip tone={kind === "lost" || kind === "routing" ? "bad" : "warn"}>{kind}</Chip>
            </span>
            <span className="min-w-0">{message}</span>
          </li>
        ))}
      </ul>
    </Card>
  );
}
