import { memo, type KeyboardEvent, useRef } from "react";

import { fraction, inked, nats, visible } from "../ui/format";
import type { Scale } from "../ui/scales";
import type { Token } from "./tokens";

type Props = {
  tokens: readonly Token[];
  colour: "probability" | "entropy";
  scale: Scale;
  active: number | null;
  pinned: number | null;
  onActive: (index: number | null) => void;
  onPin: (index: number | null) => void;
};

function valueOf(token: Token, colour: Props["colour"]): number | null {
  return colour === "probability" ? token.prob : token.entropy;
}

/**
 * Tokens as running text. A list box, so that arrow keys go from token to token and each is read
 * out with its numbers; pointer and focus show the same, a click or Enter keeps it.
 */
export function TokenText(props: Props) {
  const { tokens, colour, scale, active, pinned, onActive, onPin } = props;
  const box = useRef<HTMLDivElement>(null);
  const here = active ?? 0;

  const go = (index: number) => {
    const next = Math.max(0, Math.min(tokens.length - 1, index));
    onActive(next);
    box.current?.querySelector<HTMLElement>(`[data-index="${next}"]`)?.focus();
  };
  const onKeyDown = (event: KeyboardEvent) => {
    // In a script that runs to the left, the next token is to the left.
    const step = getComputedStyle(event.currentTarget).direction === "rtl" ? -1 : 1;
    const moves: Record<string, number> = {
      ArrowRight: here + step,
      ArrowLeft: here - step,
      ArrowDown: here + 1,
      ArrowUp: here - 1,
      Home: 0,
      End: tokens.length - 1,
    };
    const to = moves[event.key];
    if (to !== undefined) {
      event.preventDefault();
      go(to);
    } else if (event.key === "Enter" || event.key === " ") {
      event.preventDefault();
      onPin(pinned === here ? null : here);
    } else if (event.key === "Escape") {
      onPin(null);
    }
  };

  return (
    <div
      ref={box}
      role="listbox"
      tabIndex={-1}
      aria-label="Tokens of the answer"
      dir="auto"
      className="rounded-md bg-sunken px-3 py-2.5 font-mono text-[0.95rem] leading-8 whitespace-pre-wrap"
      onKeyDown={onKeyDown}
      onPointerLeave={() => onActive(null)}
      onBlur={() => onActive(null)}
    >
      {tokens.map((token, index) => {
        const value = valueOf(token, colour);
        return (
          <TokenMark
            // Tokens are only ever added at the end, so the place is the identity.
            key={index}
            token={token}
            index={index}
            level={value === null ? null : scale.levelOf(value)}
            ramp={scale.ramp}
            isActive={index === active}
            isPinned={index === pinned}
            isStop={index === Math.min(here, tokens.length - 1)}
            onActive={onActive}
            onPin={onPin}
          />
        );
      })}
    </div>
  );
}

type MarkProps = Pick<Props, "onActive" | "onPin"> & {
  token: Token;
  index: number;
  level: number | null;
  ramp: Scale["ramp"];
  isActive: boolean;
  isPinned: boolean;
  /** Whether the tabulator key stops here. */
  isStop: boolean;
};

const TokenMark = memo(function TokenMark(props: MarkProps) {
  const { token, index, level, ramp, isActive, isPinned, isStop, onActive, onPin } = props;
  const entropy = token.entropy === null ? "" : `, entropy ${nats(token.entropy)}`;
  const outline = isActive
    ? "outline-2 outline-accent"
    : isPinned
      ? "outline-2 outline-dashed outline-accent"
      : "";
  return (
    <span
      role="option"
      aria-selected={isPinned}
      aria-label={`${visible(token.text)}, probability ${fraction(token.prob)}${entropy}`}
      tabIndex={isStop ? 0 : -1}
      data-index={index}
      {...(level === null ? {} : { [`data-${ramp}`]: level })}
      className={`cursor-pointer border-r border-sunken py-1 -outline-offset-1 ${outline}`}
      onPointerEnter={() => onActive(index)}
      onFocus={() => onActive(index)}
      onClick={() => onPin(isPinned ? null : index)}
      onKeyDown={undefined}
    >
      {token.text === "" ? "∅" : inked(token.text).replaceAll("\n", "↵\n")}
    </span>
  );
});
