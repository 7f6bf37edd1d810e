import { useEffect, useState } from "preact/hooks";

/** Something that changes and tells so, at most once in a turn of the event loop. */
export class Store {
  readonly #listeners = new Set<() => void>();
  #isTelling = false;

  subscribe(listener: () => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  protected changed(): void {
    if (this.#isTelling) return;
    this.#isTelling = true;
    queueMicrotask(() => {
      this.#isTelling = false;
      for (const listener of [...this.#listeners]) listener();
    });
  }
}

/** Renders the component again whenever the store has changed. */
export function useStore(store: Store): void {
  const [, render] = useState(0);
  useEffect(() => store.subscribe(() => render((count) => count + 1)), [store]);
}
