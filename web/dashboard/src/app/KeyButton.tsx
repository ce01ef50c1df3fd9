import { useEffect, useId, useRef, useState, useSyncExternalStore } from "react";

import { apiKey } from "../api/key";
import { Button } from "../ui/Button";
import { TextField } from "../ui/Field";

/** Takes an API key for as long as this tab is open. */
export function KeyButton() {
  const key = useSyncExternalStore(apiKey.subscribe, apiKey.get);
  const wanted = useSyncExternalStore(apiKey.subscribe, apiKey.isWanted);
  const [open, setOpen] = useState(false);
  const [draft, setDraft] = useState("");
  const panel = useId();
  const opener = useRef<HTMLButtonElement>(null);
  const shown = open || wanted;
  const typed = draft.trim();
  const isWrong = typed !== "" && !apiKey.isUsable(typed);

  const close = () => {
    if (wanted) apiKey.dismiss();
    setOpen(false);
    opener.current?.focus();
  };
  useEffect(() => {
    if (!shown) return;
    const onKey = (event: KeyboardEvent) => {
      if (event.key === "Escape") close();
    };
    document.addEventListener("keydown", onKey);
    return () => document.removeEventListener("keydown", onKey);
  });
  const keep = () => {
    apiKey.set(typed);
    setDraft("");
    close();
  };

  return (
    <div className="sm:relative">
      <Button
        ref={opener}
        onClick={() => {
          if (shown) close();
          else setOpen(true);
        }}
        aria-expanded={shown}
        aria-controls={panel}
      >
        {key === "" ? "API key" : "API key: set"}
      </Button>
      {shown && (
        <form
          id={panel}
          aria-label="API key"
          className="absolute right-4 z-10 mt-2 w-80 max-w-[85vw] rounded-lg sm:right-0 border border-line bg-surface p-4 shadow-lg"
          onSubmit={(event) => {
            event.preventDefault();
            keep();
          }}
        >
          <p className="mb-3 text-sm text-muted">
            {wanted &&
              (key === ""
                ? "This server asks for a key. "
                : "The server does not accept the key of this tab. ")}
            What you enter is kept in this tab only and forgotten when you close it. Make one with{" "}
            <code className="font-mono text-ink">glassbox keys create NAME</code>.
          </p>
          <TextField
            label="Key"
            type="password"
            autoComplete="off"
            value={draft}
            onChange={setDraft}
            invalid={isWrong}
            {...(isWrong
              ? {
                  hint: "No key has spaces, umlauts or typographic dashes: copy it as it was printed.",
                }
              : {})}
            mono
          />
          <div className="mt-3 flex gap-2">
            <Button kind="main" type="submit" disabled={typed === "" || isWrong}>
              Use this key
            </Button>
            {key !== "" && <Button onClick={() => apiKey.set("")}>Forget it</Button>}
          </div>
        </form>
      )}
    </div>
  );
}
