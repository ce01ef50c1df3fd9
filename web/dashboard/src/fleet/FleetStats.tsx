import type { Fleet } from "../api/wire";
import { count, counted, milliseconds, percent, short } from "../ui/format";
import { Stat, Stats } from "../ui/Stat";
import { agreementOf, hasEnded, perSecond, sum } from "./words";

/** The servers as one. */
export function FleetStats({ fleet }: { fleet: Fleet }) {
  const { totals, agreement, replicas } = fleet;
  const there = replicas.filter((each) => !hasEnded(each));
  const agreed = agreementOf(fleet);
  const nRequests = sum(totals.requests);
  const nFailed = totals.requests["5xx"] ?? 0;
  const failed = nFailed === 0 ? "none" : percent(nFailed / nRequests, 2);
  const nPredictions = Object.values(totals.predictions).reduce((n, each) => n + sum(each), 0);
  const isWhole = there.length === agreement.n_ready;
  return (
    <Stats wide>
      <Stat
        name="Servers that take requests"
        value={`${agreement.n_ready} of ${there.length}`}
        tone={isWhole ? "good" : "warn"}
        hint={`${replicas.length - there.length} ended lately`}
      />
      <Stat
        name="Agreement"
        value={agreed.words}
        tone={agreed.isGood ? "good" : "bad"}
        hint={agreed.hint}
      />
      <Stat
        name="Requests"
        value={count(nRequests)}
        hint={`${short(perSecond(fleet))} a second now; ${failed} failed (5xx)`}
      />
      <Stat
        name="Median time of a request"
        value={milliseconds(inMs(totals.request_s.p50_s))}
        hint={`99th percentile ${milliseconds(inMs(totals.request_s.p99_s))}`}
      />
      <Stat name="Predictions" value={count(nPredictions)} hint={counted(totals.labels, "label")} />
      <Stat
        name="Tokens written"
        value={count(totals.generation_tokens)}
        hint={`${count(totals.prompt_tokens)} in prompts`}
      />
    </Stats>
  );
}

function inMs(seconds: number | null | undefined): number | null {
  return seconds == null ? null : 1000 * seconds;
}
