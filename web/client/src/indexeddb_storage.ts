import type { ClientStorage } from "./storage.ts";
import type { OutboxItem } from "./types.ts";

const VERSION = 1;

/** Keeps the outbox and the cursors in the browser's IndexedDB. */
export class IndexedDbStorage implements ClientStorage {
  #database: Promise<IDBDatabase> | undefined;

  constructor(
    private readonly name: string,
    private readonly factory: IDBFactory = indexedDB,
  ) {}

  async load() {
    const database = await this.#open();
    const transaction = database.transaction(["outbox", "cursors"], "readonly");
    const items = transaction.objectStore("outbox").getAll() as IDBRequest<OutboxItem[]>;
    const channelIds = transaction.objectStore("cursors").getAllKeys() as IDBRequest<string[]>;
    const seqs = transaction.objectStore("cursors").getAll() as IDBRequest<number[]>;
    await finished(transaction);
    const cursors = Object.fromEntries(channelIds.result.map((channelId, at) => [channelId, seqs.result[at] ?? 0]));
    return { outbox: items.result, cursors };
  }

  putOutboxItem(item: OutboxItem) {
    return this.#write("outbox", (store) => store.put(item));
  }

  deleteOutboxItem(clientMessageId: string) {
    return this.#write("outbox", (store) => store.delete(clientMessageId));
  }

  putCursors(cursors: Record<string, number | null>) {
    return this.#write("cursors", (store) => {
      for (const [channelId, seq] of Object.entries(cursors)) {
        if (seq === null) store.delete(channelId);
        else store.put(seq, channelId);
      }
    });
  }

  close() {
    void this.#database?.then((database) => database.close()).catch(() => {});
    this.#database = undefined;
  }

  async #write(storeName: string, change: (store: IDBObjectStore) => void): Promise<void> {
    const database = await this.#open();
    const transaction = database.transaction(storeName, "readwrite");
    change(transaction.objectStore(storeName));
    await finished(transaction);
  }

  #open(): Promise<IDBDatabase> {
    this.#database ??= new Promise((resolve, reject) => {
      const request = this.factory.open(this.name, VERSION);
      request.onupgradeneeded = () => {
        request.result.createObjectStore("outbox", { keyPath: "clientMessageId" });
        request.result.createObjectStore("cursors");
      };
      request.onerror = () => reject(request.error ?? new Error("IndexedDB does not open"));
      request.onsuccess = () => {
        const database = request.result;
        // Another tab with a newer version waits for this; the next call opens it again.
        database.onversionchange = database.onclose = () => {
          database.close();
          this.#database = undefined;
        };
        resolve(database);
      };
    });
    // A failure is not kept: the next call tries again.
    this.#database.catch(() => {
      this.#database = undefined;
    });
    return this.#database;
  }
}

function finished(transaction: IDBTransaction): Promise<void> {
  return new Promise((resolve, reject) => {
    transaction.oncomplete = () => resolve();
    transaction.onerror = transaction.onabort = () =>
      reject(transaction.error ?? new Error("IndexedDB has given up a transaction"));
  });
}
