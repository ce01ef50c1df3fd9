import { useState } from "react";

import { call, studyPath } from "../api/http";
import { asProblem } from "../api/problem";
import { Button } from "../ui/Button";

/**
 * Saves the study's report. It is a page with a script of its own, which this page's content policy
 * would not let run here; and a plain link could not carry the key.
 */
export function ReportButton({ study }: { study: string }) {
  const [isBusy, setBusy] = useState(false);
  const [problem, setProblem] = useState<string | null>(null);
  const save = async () => {
    setBusy(true);
    setProblem(null);
    try {
      const page = await (await call(studyPath(study, "/report"))).blob();
      const link = document.createElement("a");
      link.href = URL.createObjectURL(page);
      link.download = `${study}.html`;
      link.click();
      URL.revokeObjectURL(link.href);
    } catch (error) {
      setProblem(asProblem(error)?.message ?? null);
    } finally {
      setBusy(false);
    }
  };
  return (
    <span className="flex items-center gap-2">
      {problem !== null && (
        <span role="alert" className="text-danger">
          {problem}
        </span>
      )}
      <Button disabled={isBusy} onClick={() => void save()}>
        Save report
      </Button>
    </span>
  );
}
