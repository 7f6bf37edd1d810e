import type { OutboxItem } from "./types.ts";

/**
 * What survives a reload. One of these belongs to one user of one server. React Native apps give their own, on top
 * of AsyncStorage or SQLite for instance.
 */
export interface ClientStorage {
  load(): Promise<{ outbox: OutboxItem[]; cursors: Record<string, number> }>;
  putOutboxItem(item: OutboxItem): Promise<void>;
  deleteOutboxItem(clientMessageId: string): Promise<void>;
  /** `null`: forget it. Others stay as they are. */
  putCursors(cursors: Record<string, number | null>): Promise<void>;
  close(): void;
}

/** Survives nothing: for tests, and where there is nothing better. */
export class MemoryStorage implements ClientStorage {
  readonly #outbox = new Map<string, OutboxItem>();
  readonly #cursors = new Map<string, number>();

  async load() {
    const outbox = [...this.#outbox.values()].map((item) => ({ ...item }));
    return { outbox, cursors: Object.fromEntries(this.#cursors) };
  }

  async putOutboxItem(item: OutboxItem) {
    this.#outbox.set(item.clientMessageId, { ...item });
  }

  async deleteOutboxItem(clientMessageId: string) {
    this.#outbox.delete(clientMessageId);
  }

  async putCursors(cursors: Record<string, number | null>) {
    for (const [channelId, seq] of Object.entries(cursors)) {
      if (seq === null) this.#cursors.delete(channelId);
      else this.#cursors.set(channelId, seq);
    }
  }

  close() {}
}
