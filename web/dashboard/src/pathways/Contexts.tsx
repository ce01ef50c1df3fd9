import type { TopContext } from "../api/wire";
import { compact, short, visible } from "../ui/format";
import { conditionWords } from "./words";

/** Texts around the strongest firings, each token coloured by the activation on it. */
export function Contexts({ contexts }: { contexts: readonly TopContext[] }) {
  if (contexts.length === 0) return null;
  const most = Math.max(1e-9, ...contexts.flatMap(({ activations }) => activations));
  return (
    <section aria-label="Where it fires most" className="min-w-0">
      <h3 className="mb-1.5 text-sm font-semibold">Where it fires most</h3>
      <ol className="grid gap-2">
        {contexts.map((context, at) => (
          <li key={at} className="min-w-0">
            <p
              dir="auto"
              className="rounded-md bg-sunken px-2 py-1.5 font-mono text-xs leading-6 whitespace-pre-wrap wrap-anywhere"
            >
              {context.tokens.map((token, place) => (
                <span
                  key={place}
                  title={`${visible(token)}: ${short(context.activations[place])}`}
                  {...mark(context.activations[place] ?? 0, most)}
                  className={`py-0.5 ${place === context.peak ? "underline decoration-2 underline-offset-4" : ""}`}
                >
                  {token.replaceAll("\n", "↵\n")}
                </span>
              ))}
            </p>
            <p className="text-xs text-muted tabular-nums wrap-anywhere">
              {short(context.activations[context.peak])} on “
              {compact(context.tokens[context.peak] ?? "")}”
              {context.condition !== "" && `, ${conditionWords(context.condition ?? "")}`}
            </p>
          </li>
        ))}
      </ol>
    </section>
  );
}

/** A step of the ramp by share of the largest activation; silence has no colour. */
export function mark(activation: number, most: number): { "data-sure"?: number } {
  if (activation <= 0) return {};
  return { "data-sure": Math.max(1, Math.min(7, Math.ceil((7 * activation) / most))) };
}
