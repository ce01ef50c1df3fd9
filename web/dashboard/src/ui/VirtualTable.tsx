import { type ReactNode, useEffect, useMemo, useRef, useState } from "react";

export type Column<Row> = {
  key: string;
  head: ReactNode;
  cell: (row: Row) => ReactNode;
  /** Numbers stand at the right. */
  isNumber?: boolean;
  /** Left out on narrow screens. */
  isExtra?: boolean;
  /** What rows are ordered by when its head is pressed; rows without it come last. */
  sortBy?: By<Row>;
};

type By<Row> = (row: Row) => number | null | undefined;

type Order<Row> = { key: string; by: By<Row>; isDown: boolean };

type Props<Row> = {
  /** What the rows are. */
  name: string;
  columns: readonly Column<Row>[];
  rows: readonly Row[];
  idOf: (row: Row) => string;
  selected?: string | null;
  onSelect?: (row: Row) => void;
  /** The end of what is here is near. */
  onEnd?: () => void;
  /** Most height, as a class. */
  height?: string;
};

const ROW = 38;
const HEAD = 36;
/** Rows drawn beyond the visible ones, on either side. */
const SPARE = 8;

/** A table that draws only the rows in sight, so that ten thousand cost as little as fifty. */
export function VirtualTable<Row>(props: Props<Row>) {
  const { columns, idOf, selected, onSelect, onEnd } = props;
  const [order, setOrder] = useState<Order<Row> | null>(null);
  const rows = useMemo(
    () => (order === null ? props.rows : ordered(props.rows, order)),
    [props.rows, order],
  );
  const box = useRef<HTMLDivElement>(null);
  const [view, setView] = useState({ top: 0, height: 640 });
  const first = Math.max(0, Math.floor((view.top - HEAD) / ROW) - SPARE);
  const last = Math.min(rows.length, Math.ceil((view.top + view.height) / ROW) + SPARE);

  useEffect(() => {
    const element = box.current;
    if (element === null || typeof ResizeObserver === "undefined") return;
    const observer = new ResizeObserver(() =>
      setView({ top: element.scrollTop, height: element.clientHeight || 640 }),
    );
    observer.observe(element);
    return () => observer.disconnect();
  }, []);

  useEffect(() => {
    if (onEnd !== undefined && rows.length > 0 && last >= rows.length) onEnd();
  }, [last, rows.length, onEnd]);

  return (
    // The region scrolls, so it must be reachable without a pointer.
    <div
      ref={box}
      role="region"
      aria-label={props.name}
      // eslint-disable-next-line jsx-a11y/no-noninteractive-tabindex
      tabIndex={0}
      className={`relative overflow-auto rounded-md border border-line ${props.height ?? "max-h-[68vh]"}`}
      onScroll={({ currentTarget }) =>
        setView({ top: currentTarget.scrollTop, height: currentTarget.clientHeight || 640 })
      }
    >
      <table
        aria-rowcount={rows.length + 1}
        className="w-full border-separate border-spacing-0 text-sm"
      >
        <caption className="sr-only">{props.name}</caption>
        <thead>
          <tr aria-rowindex={1}>
            {columns.map((column) => (
              <th
                key={column.key}
                scope="col"
                aria-sort={sorted(column, order)}
                className={`sticky top-0 z-1 h-9 border-b border-line bg-sunken px-2.5 text-xs font-medium whitespace-nowrap text-muted ${look(column)}`}
              >
                {column.sortBy === undefined ? (
                  column.head
                ) : (
                  <Sorter
                    head={column.head}
                    sorted={sorted(column, order)}
                    onPress={() => setOrder(next(column.key, column.sortBy, order))}
                  />
                )}
              </th>
            ))}
          </tr>
        </thead>
        <tbody>
          {first > 0 && <Spacer height={first * ROW} />}
          {rows.slice(first, last).map((row, at) => {
            const id = idOf(row);
            const isChosen = id === selected;
            return (
              <tr
                key={id}
                aria-rowindex={first + at + 2}
                aria-selected={onSelect === undefined ? undefined : isChosen}
                className={`h-[38px] ${onSelect === undefined ? "" : "cursor-pointer hover:bg-sunken"} ${isChosen ? "bg-accent-soft" : ""}`}
                onClick={onSelect === undefined ? undefined : () => onSelect(row)}
              >
                {columns.map((column) => (
                  <td
                    key={column.key}
                    className={`max-w-64 truncate border-b border-line px-2.5 whitespace-nowrap ${look(column)}`}
                  >
                    {column.cell(row)}
                  </td>
                ))}
              </tr>
            );
          })}
          {last < rows.length && <Spacer height={(rows.length - last) * ROW} />}
        </tbody>
      </table>
    </div>
  );
}

function look(column: { isNumber?: boolean; isExtra?: boolean }): string {
  const side = column.isNumber === true ? "text-right tabular-nums" : "text-left";
  return `${side} ${column.isExtra === true ? "max-md:hidden" : ""}`;
}

function Spacer({ height }: { height: number }) {
  return (
    <tr aria-hidden="true">
      <td style={{ height }} />
    </tr>
  );
}

type Sorted = "ascending" | "descending" | undefined;

/** How a column's values go from top to bottom, where they are in order. */
function sorted<Row>({ key }: Column<Row>, order: Order<Row> | null): Sorted {
  if (order?.key !== key) return undefined;
  return order.isDown ? "descending" : "ascending";
}

/** The largest first, then the smallest, then as they came. */
function next<Row>(key: string, by: By<Row> | undefined, order: Order<Row> | null) {
  if (by === undefined) return null;
  if (order?.key !== key) return { key, by, isDown: true };
  return order.isDown ? { ...order, isDown: false } : null;
}

function ordered<Row>(rows: readonly Row[], { by, isDown }: Order<Row>): readonly Row[] {
  const known = rows.filter((row) => by(row) != null);
  known.sort((one, other) => ((by(one) ?? 0) - (by(other) ?? 0)) * (isDown ? -1 : 1));
  return [...known, ...rows.filter((row) => by(row) == null)];
}

const signs = { descending: "↓", ascending: "↑" };

type SorterProps = { head: ReactNode; sorted: Sorted; onPress: () => void };

function Sorter({ head, sorted, onPress }: SorterProps) {
  return (
    <button type="button" className="rounded hover:text-ink" onClick={onPress}>
      {head} <span aria-hidden="true">{sorted === undefined ? "↕" : signs[sorted]}</span>
    </button>
  );
}
