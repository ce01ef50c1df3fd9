import { Card } from "../ui/Card";
import { fraction, nats, visible } from "../ui/format";
import type { Answer } from "./answer";
import { type Candidate, logistic, surprisal, type Token } from "./tokens";
import { readingAt } from "./ProbeStrips";

type Props = { answer: Answer | null; index: number | null; isPinned: boolean };

/** One token in numbers: what else could have stood there, and what the probes read. */
export function Inspector({ answer, index, isPinned }: Props) {
  const token = index === null ? undefined : answer?.tokens[index];
  return (
    <Card
      title={isPinned ? "Token (kept)" : "Token"}
      // On a narrow screen it would lie far below the answer, so it comes up over the page's foot.
      className={
        token === undefined
          ? ""
          : "max-lg:fixed max-lg:inset-x-2 max-lg:bottom-2 max-lg:z-10 max-lg:max-h-[45vh] max-lg:overflow-auto max-lg:shadow-lg"
      }
      aside={index !== null && <span className="font-mono text-sm text-muted">#{index}</span>}
    >
      {answer === null || token === undefined || index === null ? (
        <p className="text-sm text-muted">
          Point at a token, or move to it with the arrow keys, to see what else the model had in
          mind. Click to keep it.
        </p>
      ) : (
        <>
          <p className="mb-2 rounded bg-sunken px-2 py-1 font-mono break-all">
            {visible(token.text)}
          </p>
          <Numbers token={token} />
          <Alternatives token={token} />
          <Probes answer={answer} index={index} />
        </>
      )}
    </Card>
  );
}

function Numbers({ token }: { token: Token }) {
  const rows = [
    ["Probability", fraction(token.prob)],
    ["Surprisal", nats(surprisal(token))],
    ["Entropy", token.entropy === null ? "not known" : nats(token.entropy)],
    ["Token id", token.id === null ? "not known" : String(token.id)],
  ];
  return (
    <dl className="grid grid-cols-[auto_1fr] gap-x-4 text-sm">
      {rows.map(([name, value]) => (
        <div key={name} className="contents">
          <dt className="text-muted">{name}</dt>
          <dd className="text-right font-mono">{value}</dd>
        </div>
      ))}
    </dl>
  );
}

/** The most probable tokens, the written one among them, and what is left for all others. */
export function candidates(token: Token): (Candidate & { isWritten: boolean })[] {
  const written = token.top.findIndex(({ text }) => text === token.text);
  const top = token.top.map((each, at) => ({ ...each, isWritten: at === written }));
  if (!top.some(({ isWritten }) => isWritten)) {
    top.push({ text: token.text, prob: token.prob, isWritten: true });
  }
  return top;
}

function Alternatives({ token }: { token: Token }) {
  const shown = candidates(token);
  const rest = Math.max(0, 1 - shown.reduce((sum, { prob }) => sum + prob, 0));
  return (
    <>
      <h3 className="mt-3 mb-1 text-sm font-semibold">Could have stood here</h3>
      <table className="w-full table-fixed text-sm">
        <thead className="sr-only">
          <tr>
            <th>Token</th>
            <th>Probability</th>
          </tr>
        </thead>
        <tbody>
          {shown.map((each, at) => (
            <tr key={at} className={each.isWritten ? "font-semibold" : ""}>
              <td className="w-2/5 truncate py-0.5 pr-2 font-mono" title={visible(each.text)}>
                {visible(each.text)}
              </td>
              <td>
                <Bar prob={each.prob} isStrong={each.isWritten} />
              </td>
            </tr>
          ))}
          <tr className="text-muted">
            <td className="py-0.5 pr-2">all others</td>
            <td>
              <Bar prob={rest} isStrong={false} />
            </td>
          </tr>
        </tbody>
      </table>
    </>
  );
}

function Bar({ prob, isStrong }: { prob: number; isStrong: boolean }) {
  return (
    <span className="flex items-center gap-2">
      <span aria-hidden="true" className="drawn h-2.5 flex-1 rounded-sm bg-sunken">
        <span
          className={`block h-full rounded-sm ${isStrong ? "bg-accent" : "bg-field-line"}`}
          style={{ width: `${(prob * 100).toFixed(1)}%` }}
        />
      </span>
      <span className="w-14 text-right font-mono text-xs">{fraction(prob)}</span>
    </span>
  );
}

function Probes({ answer, index }: { answer: Answer; index: number }) {
  const names = Object.keys(answer.readings);
  if (names.length === 0) return null;
  return (
    <>
      <h3 className="mt-3 mb-1 text-sm font-semibold">Probes at this token</h3>
      <dl className="grid grid-cols-[1fr_auto] gap-x-4 text-sm">
        {names.map((name) => {
          const reading = readingAt(answer, name, index);
          return (
            <div key={name} className="contents">
              <dt className="truncate text-muted">{name}</dt>
              <dd className="text-right font-mono">
                {reading === null ? "never run" : fraction(logistic(reading))}
              </dd>
            </div>
          );
        })}
      </dl>
    </>
  );
}
