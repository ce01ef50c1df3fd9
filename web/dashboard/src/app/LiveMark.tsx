import { useSyncExternalStore } from "react";

import { live, type LiveState } from "../api/live";
import { POLL_MS } from "../api/poll";

const words: Record<Exclude<LiveState, "off">, { short: string; long: string; colour: string }> = {
  connecting: { short: "Connecting", long: "The line to the server opens", colour: "bg-muted" },
  live: { short: "Live", long: "News arrives as it happens", colour: "bg-good" },
  polling: {
    short: "Polling",
    long: `No line to the server: asked every ${POLL_MS / 1000} s`,
    colour: "bg-warning",
  },
};

/** Whether news arrives by itself. */
export function LiveMark() {
  const state = useSyncExternalStore(live.subscribe, live.state);
  if (state === "off") return null;
  const { short, long, colour } = words[state];
  return (
    <span role="status" title={long} className="flex items-center gap-1.5 text-xs text-muted">
      <span aria-hidden="true" className={`drawn size-2 rounded-full ${colour}`} />
      <span>{short}</span>
      <span className="sr-only">. {long}.</span>
    </span>
  );
}
