/**
 * The API key of this tab. Session storage ends with the tab and is never sent by itself, so the
 * key travels in the header of our own calls alone.
 */
const STORED_AS = "glassbox.key";

const listeners = new Set<() => void>();
let wanted = false;

function changed(): void {
  for (const listener of listeners) listener();
}

export const apiKey = {
  get: (): string => sessionStorage.getItem(STORED_AS) ?? "",
  /** Whether a call was refused for want of a (valid) key. */
  isWanted: (): boolean => wanted,
  set: (key: string): void => {
    if (key === "") sessionStorage.removeItem(STORED_AS);
    else sessionStorage.setItem(STORED_AS, key);
    wanted = false;
    changed();
  },
  ask: (): void => {
    wanted = true;
    changed();
  },
  dismiss: (): void => {
    wanted = false;
    changed();
  },
  subscribe: (listener: () => void): (() => void) => {
    listeners.add(listener);
    return () => listeners.delete(listener);
  },
};
