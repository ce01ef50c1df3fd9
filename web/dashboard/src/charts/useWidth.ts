import { useEffect, useRef, useState } from "react";

/** An element's width in pixels as it is now; the first guess until it is known. */
export function useWidth<Box extends HTMLElement>(guess = 640) {
  const box = useRef<Box>(null);
  const [width, setWidth] = useState(guess);
  useEffect(() => {
    const element = box.current;
    if (element === null || typeof ResizeObserver === "undefined") return;
    const observer = new ResizeObserver(([entry]) => {
      if (entry !== undefined && entry.contentRect.width > 0) setWidth(entry.contentRect.width);
    });
    observer.observe(element);
    return () => observer.disconnect();
  }, []);
  return [box, width] as const;
}
