import { tabStorage } from "./storage";

/**
 * The API key of this tab. Session storage ends with the tab and is never sent by itself, so the
 * key travels in the header of our own calls alone.
 */
const STORED_AS = "glassbox.key";

/** Characters that a key may have; of others no header can be made. */
const KEY = /^[!-~]+$/;

const listeners = new Set<() => void>();
let wanted = false;
let isDismissed = false;

function changed(): void {
  for (const listener of listeners) listener();
}

export const apiKey = {
  get: (): string => tabStorage.get(STORED_AS) ?? "",
  /** Whether a call was refused for want of a (valid) key. */
  isWanted: (): boolean => wanted,
  set: (key: string): void => {
    tabStorage.set(STORED_AS, key === "" ? null : key);
    wanted = false;
    isDismissed = false;
    changed();
  },
  /** Whether a text can be a key. */
  isUsable: (key: string): boolean => KEY.test(key),
  /** A call was refused; who does not want to give a key now is not asked with every further one. */
  ask: (): void => {
    if (wanted || isDismissed) return;
    wanted = true;
    changed();
  },
  dismiss: (): void => {
    wanted = false;
    isDismissed = true;
    changed();
  },
  subscribe: (listener: () => void): (() => void) => {
    listeners.add(listener);
    return () => listeners.delete(listener);
  },
};
