import { studyPath } from "../api/http";
import { useResource } from "../api/useResource";
import type { LatentCardData, Pathway } from "../api/wire";
import { DataTable } from "../charts/DataTable";
import { Bars } from "../charts/marks";
import { Plot } from "../charts/Plot";
import { Card } from "../ui/Card";
import { Chip } from "../ui/Chip";
import { compact, count, counted, NOTHING, percent, pValue, short } from "../ui/format";
import { Shown } from "../ui/Shown";
import { Facts } from "../ui/Stat";
import { Contexts } from "./Contexts";
import { LatentLink } from "./LatentLink";
import { Rates } from "./Rates";
import { conditionWords, verdictOf } from "./words";

type Props = { study: string; name: string; onChoose: (latent: string | null) => void };

/** All that is known of one latent. */
export function LatentCard({ study, name, onChoose }: Props) {
  const card = useResource<LatentCardData>(
    studyPath(study, `/latents/${encodeURIComponent(name)}`, { limit: 12 }),
    { every: null },
  );
  return (
    <Card title={name}>
      <Shown resource={card} what="the latent">
        {(found) => <Known card={found} onChoose={onChoose} />}
      </Shown>
    </Card>
  );
}

function Known({ card, onChoose }: { card: LatentCardData; onChoose: Props["onChoose"] }) {
  const { latent } = card;
  return (
    <div className="grid min-w-0 grid-cols-1 gap-5">
      <Facts
        facts={[
          ["Layer and row", `${latent.layer}, ${latent.index}`],
          [
            "Effect in the study (Hedges’ g)",
            interval(latent.hedges_g, latent.effect_low, latent.effect_high),
          ],
          ["Adjusted p of it", pValue(latent.q)],
          [
            "On the decision, when ablated",
            interval(latent.decision_effect, latent.decision_low, latent.decision_high),
          ],
          ["Active", `${percent(latent.active_share)} of positions (${count(latent.n_active)})`],
          [
            "Activation where it fires",
            `mean ${short(latent.activation_mean)}, largest ${short(latent.activation_max)}`,
          ],
        ]}
      />
      <Histogram card={card} />
      <Contexts contexts={card.contexts ?? []} />
      <Tokens card={card} />
      <Lens card={card} />
      <Rates rates={card.rates ?? []} />
      <Side title="Driven by" rows={card.upstream ?? []} end="source" onChoose={onChoose} />
      <Side title="Drives" rows={card.downstream ?? []} end="target" onChoose={onChoose} />
    </div>
  );
}

function interval(
  value: number | null | undefined,
  low: number | null | undefined,
  high: number | null | undefined,
): string {
  if (value == null) return NOTHING;
  return low == null || high == null
    ? short(value)
    : `${short(value)} (${short(low)} to ${short(high)})`;
}

function Part({ title, children }: { title: string; children: React.ReactNode }) {
  return (
    <section aria-label={title} className="min-w-0">
      <h3 className="mb-1.5 text-sm font-semibold">{title}</h3>
      {children}
    </section>
  );
}

function Histogram({ card }: { card: LatentCardData }) {
  const histogram = card.histogram;
  if (histogram == null || histogram.counts.length === 0) return null;
  const { edges, counts } = histogram;
  const bars = counts.map((height, at) => ({
    from: edges[at] ?? 0,
    to: edges[at + 1] ?? 0,
    height,
  }));
  const total = counts.reduce((sum, each) => sum + each, 0);
  return (
    <Part title="Activation where it fires">
      <Plot
        summary={`Histogram of ${counted(total, "activation")} from ${short(edges[0])} to ${short(edges.at(-1))}.`}
        x={{ domain: [edges[0] ?? 0, edges.at(-1) ?? 1], name: "Activation" }}
        y={{ domain: [0, Math.max(1, ...counts) * 1.06], name: "Firings", counts: true }}
        height={170}
      >
        {(frame) => <Bars frame={frame} bars={bars} />}
      </Plot>
      <DataTable
        name={`Activations of ${card.latent.name}`}
        head={["From", "To", "Firings"]}
        rows={bars.map(({ from, to, height }) => [short(from), short(to), count(height)])}
      />
    </Part>
  );
}

function Tokens({ card }: { card: LatentCardData }) {
  const tokens = card.tokens ?? [];
  if (tokens.length === 0) return null;
  return (
    <Part title="Tokens that fire it">
      <table className="w-full text-left text-sm tabular-nums">
        <thead className="text-xs text-muted">
          <tr>
            {["Token", "Where", "Condition", "z", "Adjusted p"].map((head) => (
              <th key={head} scope="col" className="py-0.5 pr-2 font-medium">
                {head}
              </th>
            ))}
          </tr>
        </thead>
        <tbody>
          {tokens.map(({ token, offset, condition, z, q_shift }) => (
            <tr key={`${token} ${offset} ${condition}`} className="border-t border-line">
              <td className={`py-0.5 pr-2 font-mono text-xs ${wrapped(token)}`}>
                {compact(token)}
              </td>
              <td className="pr-2 text-xs">{where(offset)}</td>
              <td className="pr-2 text-xs">{conditionWords(condition ?? "all")}</td>
              <td className="pr-2 font-mono text-xs">{short(z)}</td>
              <td className="font-mono text-xs whitespace-nowrap">{pValue(q_shift)}</td>
            </tr>
          ))}
        </tbody>
      </table>
    </Part>
  );
}

/** Breaks what is too long for a narrow screen: anywhere in a table would break short ones, too. */
function wrapped(token: string): string {
  return token.length > 12 ? "break-all" : "";
}

function where(offset: number | undefined): string {
  if (offset === undefined || offset === 0) return "on it";
  return offset > 0 ? `${offset} after` : `${-offset} before`;
}

function Lens({ card }: { card: LatentCardData }) {
  const sides = [
    ["raises", card.promoted ?? []],
    ["lowers", card.suppressed ?? []],
  ] as const;
  if (sides.every(([, tokens]) => tokens.length === 0)) return null;
  return (
    <Part title="Its direction read as tokens (logit lens)">
      <Facts
        facts={sides.map(
          ([name, tokens]) =>
            [
              name,
              <span key={name} className="font-mono text-xs wrap-anywhere">
                {tokens.map(({ token, logit }) => `${compact(token)} ${short(logit)}`).join(" · ")}
              </span>,
            ] as const,
        )}
      />
    </Part>
  );
}

type SideProps = {
  title: string;
  rows: readonly Pathway[];
  end: "source" | "target";
  onChoose: (latent: string | null) => void;
};

function Side({ title, rows, end, onChoose }: SideProps) {
  if (rows.length === 0) return null;
  return (
    <Part title={title}>
      <ul className="grid gap-1 text-sm">
        {rows.map((row) => {
          const verdict = verdictOf(row.verified);
          return (
            <li key={row[end]} className="flex flex-wrap items-center gap-x-2">
              <LatentLink name={row[end]} onChoose={onChoose} />
              <Chip tone={verdict.tone}>{verdict.name}</Chip>
              <span className="ml-auto font-mono text-xs">
                share {percent(row.attribution_share)}, effect {short(row.effect)}
              </span>
            </li>
          );
        })}
      </ul>
    </Part>
  );
}
