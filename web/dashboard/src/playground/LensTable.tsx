import { type KeyboardEvent, useRef, useState } from "react";

import type { components } from "../api/schema";
import { compact, fraction, nats, visible } from "../ui/format";
import { Legend } from "../ui/Legend";
import type { Scale } from "../ui/scales";

type LensAnswered = components["schemas"]["LensAnswered"];
type LensRow = components["schemas"]["LensRow"];

/** What a cell's colour stands for. */
export type Shade = "best" | "final" | "entropy";

type Props = {
  lens: LensAnswered;
  shade: Shade;
  scale: Scale;
  /** Column of the token that was kept, if it is among them. */
  marked: number | null;
};
type Place = { row: number; column: number };

/** Where an arrow key leads; row 0 is the first layer, at the foot. */
const STEPS: Readonly<Record<string, Place>> = {
  ArrowUp: { row: 1, column: 0 },
  ArrowDown: { row: -1, column: 0 },
  ArrowLeft: { row: 0, column: -1 },
  ArrowRight: { row: 0, column: 1 },
};

function valueOf(row: LensRow, column: number, shade: Shade): number {
  const known = {
    best: row.top[column]?.[0]?.prob,
    final: row.final_probs[column],
    entropy: row.entropies[column],
  };
  return known[shade] ?? 0;
}

/** Rows are layers, the last on top; columns are tokens; a cell is the layer's best token. */
export function LensTable({ lens, shade, scale, marked }: Props) {
  const [place, setPlace] = useState<Place | null>(null);
  const table = useRef<HTMLTableElement>(null);
  const rows = lens.rows.map((row, index) => ({ row, index })).reverse();
  const top = lens.rows.length - 1;
  const stop = place ?? { row: top, column: 0 };
  const go = (event: KeyboardEvent) => {
    const step = STEPS[event.key];
    if (step === undefined) return;
    event.preventDefault();
    const within = (at: number, most: number) => Math.max(0, Math.min(most, at));
    const row = within(stop.row + step.row, top);
    const column = within(stop.column + step.column, lens.columns.length - 1);
    table.current?.querySelector<HTMLElement>(`[data-at="${row} ${column}"]`)?.focus();
  };
  return (
    <>
      <div className="overflow-x-auto">
        <table
          ref={table}
          role="grid"
          aria-label="Logit lens"
          className="border-separate border-spacing-0 text-xs"
          onKeyDown={go}
        >
          <thead>
            <tr>
              <th
                scope="col"
                className="sticky left-0 z-1 bg-surface px-2 py-1 text-left font-medium text-muted"
              >
                written
              </th>
              {lens.columns.map((column, at) => (
                <th
                  key={column.index}
                  scope="col"
                  className={`border-b-2 px-2 py-1 text-left font-mono font-semibold whitespace-pre ${at === marked ? "border-accent bg-accent-soft text-accent-strong" : "border-field-line"}`}
                >
                  {column.token === null ? "…" : compact(column.token.text)}
                </th>
              ))}
            </tr>
          </thead>
          <tbody onPointerLeave={() => setPlace(null)}>
            {rows.map(({ row, index }) => (
              <tr key={row.layer}>
                <th
                  scope="row"
                  className="sticky left-0 z-1 bg-surface px-2 py-1 text-left font-medium whitespace-nowrap text-muted"
                >
                  layer {row.layer}
                </th>
                {row.top.map((top, column) => {
                  const best = top[0];
                  const isWritten = best?.id === lens.columns[column]?.token?.id;
                  return (
                    <td
                      key={column}
                      {...{ [`data-${scale.ramp}`]: scale.levelOf(valueOf(row, column, shade)) }}
                      className={`max-w-32 min-w-16 truncate border-r border-b border-surface px-2 py-1 font-mono whitespace-pre ${isWritten ? "font-bold underline underline-offset-3" : ""}`}
                      title={describe(row, column)}
                      data-at={`${index} ${column}`}
                      tabIndex={index === stop.row && column === stop.column ? 0 : -1}
                      onFocus={() => setPlace({ row: index, column })}
                      onPointerEnter={() => setPlace({ row: index, column })}
                    >
                      {best === undefined ? "" : compact(best.text)}
                    </td>
                  );
                })}
              </tr>
            ))}
          </tbody>
        </table>
      </div>
      <Legend scale={scale} />
      <p className="text-xs text-muted">
        <span className="font-mono font-bold underline underline-offset-3">Underlined</span>: the
        layer’s best token is the one that was written.
      </p>
      <Detail lens={lens} place={place} />
    </>
  );
}

function describe(row: LensRow, column: number): string {
  const named = (row.top[column] ?? []).map(
    ({ text, prob }) => `${visible(text)} ${fraction(prob)}`,
  );
  return `layer ${row.layer}: ${named.join(", ")}; entropy ${nats(row.entropies[column] ?? 0)}`;
}

/** The cell under the pointer in full. */
function Detail({ lens, place }: { lens: LensAnswered; place: Place | null }) {
  const row = place === null ? undefined : lens.rows[place.row];
  if (place === null || row === undefined) {
    return (
      <p className="min-h-10 text-sm text-muted">
        Point at a cell, or move to it with the arrow keys, to see its five best tokens.
      </p>
    );
  }
  return (
    <p role="status" className="min-h-10 text-sm">
      <span className="text-muted">
        Layer {row.layer}, entropy {nats(row.entropies[place.column] ?? 0)} of at most{" "}
        {nats(Math.log(lens.d_vocab))}:{" "}
      </span>
      {(row.top[place.column] ?? []).map(({ id, text, prob }) => (
        <span key={id} className="mr-3 inline-block font-mono">
          {visible(text)} <span className="text-muted">{fraction(prob)}</span>
        </span>
      ))}
    </p>
  );
}
