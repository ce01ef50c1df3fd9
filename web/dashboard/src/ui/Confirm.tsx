import { type ReactNode, useState } from "react";

import { asProblem, type Problem } from "../api/problem";
import { Button } from "./Button";
import { Dialog } from "./Dialog";
import { TextField } from "./Field";
import { Notice } from "./Notice";

type Props = {
  title: string;
  /** What will happen, in words. */
  children: ReactNode;
  /** What the button says: the verb. */
  verb: string;
  isDangerous?: boolean;
  /** Whether everything else that must be said was said. */
  isReady?: boolean;
  /** Does it; a problem stays in the window, so that nothing is lost. */
  onConfirm: (reason: string) => Promise<void>;
  onClose: () => void;
};

/** Asks before something is done to live traffic, and for the reason that the history keeps. */
export function Confirm(props: Props) {
  const { title, children, verb, isDangerous, isReady = true, onConfirm, onClose } = props;
  const [reason, setReason] = useState("");
  const [busy, setBusy] = useState(false);
  const [problem, setProblem] = useState<Problem | null>(null);

  const canAct = isReady && !busy && reason.trim() !== "";
  const act = () => {
    setBusy(true);
    setProblem(null);
    onConfirm(reason.trim()).then(onClose, (error: unknown) => {
      setBusy(false);
      setProblem(asProblem(error));
    });
  };

  return (
    <Dialog title={title} onClose={onClose}>
      <form
        className="grid gap-4"
        onSubmit={(event) => {
          event.preventDefault();
          if (canAct) act();
        }}
      >
        <div className="grid gap-2 text-sm">{children}</div>
        <TextField
          label="Reason"
          hint="Kept in the history, beside your key’s name."
          value={reason}
          onChange={setReason}
        />
        {problem !== null && <Notice problem={problem} />}
        <div className="flex justify-end gap-2">
          <Button onClick={onClose}>Cancel</Button>
          <Button kind={isDangerous === true ? "danger" : "main"} type="submit" disabled={!canAct}>
            {busy ? "Working…" : verb}
          </Button>
        </div>
      </form>
    </Dialog>
  );
}
