import { type RefObject, useEffect, useRef } from "react";

/** Share of the window's height below which what begins there is as good as not seen. */
const FOOT = 0.75;

/**
 * Scrolls to an element when somebody chose what it shows: on a narrow screen it lies below the table
 * that it was chosen from. Null is nobody's choice.
 */
export function useBroughtUp<Box extends HTMLElement>(
  chosen: string | null,
): RefObject<Box | null> {
  const box = useRef<Box>(null);
  const seen = useRef(chosen);
  useEffect(() => {
    if (seen.current === chosen) return;
    seen.current = chosen;
    if (chosen !== null) bringUp(box.current);
  }, [chosen]);
  return box;
}

/** Scroll to an element whose beginning is out of sight. */
export function bringUp(element: HTMLElement | null): void {
  const top = element?.getBoundingClientRect().top ?? 0;
  if (top < 0 || top > FOOT * window.innerHeight) element?.scrollIntoView();
}
