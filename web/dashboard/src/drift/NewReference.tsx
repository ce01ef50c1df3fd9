import { useState } from "react";

import { call, modelsPath } from "../api/http";
import { asProblem, type Problem } from "../api/problem";
import { Button } from "../ui/Button";
import { Dialog } from "../ui/Dialog";
import { TextField } from "../ui/Field";
import { Notice } from "../ui/Notice";

type Props = { model: string; onClose: () => void; onMade: () => void };

/** Freezes the latest predictions as what later ones are compared with. */
export function NewReference({ model, onClose, onMade }: Props) {
  const [rows, setRows] = useState("5000");
  const [busy, setBusy] = useState(false);
  const [problem, setProblem] = useState<Problem | null>(null);
  const asked = Number(rows);
  const isUsable = Number.isInteger(asked) && asked > 0;
  const make = () => {
    setBusy(true);
    call(modelsPath("/drift/references"), { last_n: asked, model }).then(
      () => {
        onMade();
        onClose();
      },
      (error: unknown) => {
        setBusy(false);
        setProblem(asProblem(error));
      },
    );
  };
  return (
    <Dialog title="Freeze a new reference" onClose={onClose}>
      <form
        className="grid gap-4"
        onSubmit={(event) => {
          event.preventDefault();
          if (isUsable && !busy) make();
        }}
      >
        <p className="text-sm">
          The latest predictions become what later ones are compared with. Take a stretch in which
          all was well. Older references stay.
        </p>
        <TextField
          label="Latest predictions to take"
          inputMode="numeric"
          value={rows}
          onChange={setRows}
          invalid={!isUsable}
          {...(isUsable ? {} : { hint: "A whole number from 1 up, such as 5000." })}
        />
        {problem !== null && <Notice problem={problem} />}
        <div className="flex justify-end gap-2">
          <Button onClick={onClose}>Cancel</Button>
          <Button kind="main" type="submit" disabled={!isUsable || busy}>
            {busy ? "Freezing…" : "Freeze"}
          </Button>
        </div>
      </form>
    </Dialog>
  );
}
