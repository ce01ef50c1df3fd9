import { useState } from "react";

import { apiKey } from "../api/key";
import { Button } from "../ui/Button";
import { Card } from "../ui/Card";
import { Dialog } from "../ui/Dialog";
import { callOf, curlOf, type Settings } from "./request";

type Props = {
  prompt: string;
  onChange: (prompt: string) => void;
  settings: Settings;
  busy: boolean;
  ready: boolean;
  onRun: () => void;
  onStop: () => void;
  /** Whether the embedded model answers: it knows its own small world only. */
  embedded: boolean;
};

/** Facts and a text of the embedded world; see docs/explanation/embedded-world.md. */
const examples = [
  { name: "read often", prompt: "Question: Where does Niene Foub live?\nAnswer:" },
  { name: "contested", prompt: "Question: Where does Breafa Bip live?\nAnswer:" },
  { name: "never read", prompt: "Question: Where does Pito Driesk live?\nAnswer:" },
  { name: "or a review", prompt: "The tourists wrote that the sheets were" },
];

export function PromptCard(props: Props) {
  const { prompt, settings, busy, ready } = props;
  return (
    <Card
      title="Prompt"
      aside={
        props.embedded && (
          <span className="flex flex-wrap items-center gap-1.5 text-sm text-muted">
            Try a fact it
            {examples.map((example) => (
              <Button key={example.name} onClick={() => props.onChange(example.prompt)}>
                {example.name}
              </Button>
            ))}
          </span>
        )
      }
    >
      <textarea
        aria-label="Prompt"
        rows={4}
        spellCheck={false}
        dir="auto"
        value={prompt}
        placeholder="Write what the model should continue or answer."
        className="w-full resize-y rounded-md border border-field-line bg-surface px-3 py-2 font-mono text-sm leading-relaxed placeholder:text-muted"
        onChange={(event) => props.onChange(event.target.value)}
        onKeyDown={(event) => {
          if (event.key === "Enter" && (event.ctrlKey || event.metaKey) && ready && !busy) {
            event.preventDefault();
            props.onRun();
          }
        }}
      />
      <div className="mt-3 flex flex-wrap items-center gap-2">
        {busy ? (
          <Button kind="main" onClick={props.onStop}>
            Stop
          </Button>
        ) : (
          <Button kind="main" onClick={props.onRun} disabled={!ready}>
            Answer
          </Button>
        )}
        <span className="text-xs text-muted">Ctrl + Enter</span>
        <span className="ml-auto">
          <CopyCurl prompt={prompt} settings={settings} disabled={!ready} />
        </span>
      </div>
    </Card>
  );
}

function CopyCurl(props: { prompt: string; settings: Settings; disabled: boolean }) {
  const [said, setSaid] = useState<string | null>(null);
  const [shown, setShown] = useState<string | null>(null);
  const copy = async () => {
    const request = callOf(props.prompt, props.settings);
    const command = curlOf(request, window.location.origin, apiKey.get() !== "");
    try {
      // Not there at all on a page that came over plain HTTP from another machine.
      await navigator.clipboard.writeText(command);
      setSaid("Copied");
      window.setTimeout(() => setSaid(null), 2500);
    } catch {
      setShown(command);
    }
  };
  return (
    <span className="flex items-center gap-2">
      <span role="status" className="text-xs text-muted">
        {said}
      </span>
      <Button onClick={() => void copy()} disabled={props.disabled}>
        Copy as curl
      </Button>
      {shown !== null && (
        <Dialog title="The same request for a terminal" onClose={() => setShown(null)} wide>
          <p className="mb-2 text-sm text-muted">
            The browser does not let this page copy. Mark the command and copy it yourself.
          </p>
          <pre className="rounded bg-sunken p-3 font-mono text-xs break-all whitespace-pre-wrap select-all">
            {shown}
          </pre>
          <div className="mt-4 flex justify-end">
            <Button onClick={() => setShown(null)}>Close</Button>
          </div>
        </Dialog>
      )}
    </span>
  );
}
