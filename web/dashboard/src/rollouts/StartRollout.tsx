import { useState } from "react";

import { call, modelsPath } from "../api/http";
import { asProblem, type Problem } from "../api/problem";
import { useResource } from "../api/useResource";
import type { RolloutAsked, Versions } from "../api/wire";
import { Button } from "../ui/Button";
import { Dialog } from "../ui/Dialog";
import { SelectField, TextField } from "../ui/Field";
import { Notice } from "../ui/Notice";
import { Shown } from "../ui/Shown";

type Props = { model: string; onClose: () => void; onStarted: () => void };

/** Chooses a challenger and sets it on its way, by the default plan. */
export function StartRollout({ model, onClose, onStarted }: Props) {
  const versions = useResource<Versions>(modelsPath("/versions", { model }));
  return (
    <Dialog title="Start a rollout" onClose={onClose}>
      <Shown resource={versions} what="the versions">
        {({ versions: all }) => (
          <Form
            model={model}
            names={all
              .filter(({ aliases }) => !aliases.includes("champion"))
              .map(({ name, aliases }) => ({
                value: name,
                name: aliases.length === 0 ? name : `${name} (${aliases.join(", ")})`,
              }))}
            onClose={onClose}
            onStarted={onStarted}
          />
        )}
      </Shown>
    </Dialog>
  );
}

type FormProps = Props & { names: readonly { value: string; name: string }[] };

function Form({ model, names, onClose, onStarted }: FormProps) {
  const [challenger, setChallenger] = useState(names[0]?.value ?? "");
  const [reason, setReason] = useState("");
  const [isDry, setDry] = useState(false);
  const [busy, setBusy] = useState(false);
  const [problem, setProblem] = useState<Problem | null>(null);

  const start = () => {
    setBusy(true);
    const asked: Partial<RolloutAsked> = {
      challenger,
      model,
      dry_run: isDry,
      reason: reason.trim(),
    };
    call(modelsPath("/rollouts"), asked).then(
      () => {
        onStarted();
        onClose();
      },
      (error: unknown) => {
        setBusy(false);
        setProblem(asProblem(error));
      },
    );
  };

  if (names.length === 0) {
    return (
      <>
        <p className="text-sm">
          There is no version but the champion. Register one first:{" "}
          <code className="font-mono">glassbox versions register</code>
        </p>
        <div className="mt-4 flex justify-end">
          <Button onClick={onClose}>Close</Button>
        </div>
      </>
    );
  }
  return (
    <form
      className="grid gap-4"
      onSubmit={(event) => {
        event.preventDefault();
        start();
      }}
    >
      <SelectField
        label="Challenger"
        hint="It sees copies first; a share of answers follows only when the gates pass."
        value={challenger}
        options={names}
        onChange={setChallenger}
      />
      <TextField label="Reason" value={reason} onChange={setReason} />
      <label className="flex items-center gap-2 text-sm">
        <input
          type="checkbox"
          className="size-4 accent-accent"
          checked={isDry}
          onChange={(event) => setDry(event.target.checked)}
        />
        Dry run: decide, but move nothing
      </label>
      {problem !== null && <Notice problem={problem} />}
      <div className="flex justify-end gap-2">
        <Button onClick={onClose}>Cancel</Button>
        <Button kind="main" type="submit" disabled={busy || challenger === ""}>
          {busy ? "Starting…" : "Start"}
        </Button>
      </div>
    </form>
  );
}
