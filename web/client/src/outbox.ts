import { Backoff } from "./backoff.ts";
import { type Clock, Nudge } from "./clock.ts";
import type { Entry } from "./openapi.ts";
import { asNaruError, NaruError } from "./problem.ts";
import type { Rest } from "./rest.ts";
import type { ClientStorage } from "./storage.ts";
import type { OutboxItem } from "./types.ts";

export interface OutboxParts {
  rest: Rest;
  storage: ClientStorage;
  clock: Clock;
  random: () => number;
  maxItems: number;
}

export interface OutboxEvents {
  changed(): void;
  /** The server has stored this one. */
  stored(item: OutboxItem, entry: Entry): void;
  error(error: NaruError): void;
}

export interface Draft {
  kind?: string;
  metadata?: Record<string, unknown>;
}

const LIMITS = { firstMs: 500, longestMs: 30_000 };

/**
 * Messages until the server has stored them. One at a time in each channel, so that they are stored in the order in
 * which they were written; always under the same `clientMessageId`, so that trying again makes no second one.
 */
export class Outbox {
  readonly #items = new Map<string, OutboxItem>();
  /** Channels that are being worked on. */
  readonly #busy = new Set<string>();
  readonly #nudge: Nudge;
  #isRunning = false;
  #lastPosition = 0;

  constructor(
    private readonly parts: OutboxParts,
    private readonly events: OutboxEvents,
  ) {
    this.#nudge = new Nudge(parts.clock);
  }

  /** In the order in which they were written. */
  get items(): OutboxItem[] {
    return [...this.#items.values()].sort((one, other) => one.position - other.position);
  }

  /** What an earlier run left behind goes first. */
  restore(items: OutboxItem[]): void {
    for (const item of items) {
      const state = item.state === "failed" ? "failed" : "queued";
      this.#items.set(item.clientMessageId, { ...item, state });
      this.#lastPosition = Math.max(this.#lastPosition, item.position);
    }
    if (items.length > 0) this.events.changed();
  }

  start(): void {
    this.#isRunning = true;
    for (const { channelId } of this.items) void this.#work(channelId);
  }

  stop(): void {
    this.#isRunning = false;
    this.#nudge.now();
  }

  tryNow(): void {
    this.#nudge.now();
  }

  /** Resolves when the message would survive a reload; its way goes on from there. */
  async add(channelId: string, content: string, draft: Draft, clientMessageId: string): Promise<OutboxItem> {
    if (this.#items.size >= this.parts.maxItems) {
      throw new NaruError("outboxFull", `There are ${this.parts.maxItems} messages waiting already.`);
    }
    const createdAtMs = this.parts.clock.now();
    // Two in one millisecond, or a clock that was set back, must not change the order.
    this.#lastPosition = Math.max(this.#lastPosition + 1, createdAtMs * 1000);
    const position = this.#lastPosition;
    const item: OutboxItem = { clientMessageId, channelId, content, createdAtMs, position, state: "queued", ...draft };
    this.#items.set(clientMessageId, item);
    this.events.changed();
    await this.#save(item);
    void this.#work(channelId);
    return { ...item };
  }

  /** Sends a failed one again, as the newest; under a new id where the old one is taken by another message. */
  async retry(clientMessageId: string, newClientMessageId: string): Promise<void> {
    const failed = this.#items.get(clientMessageId);
    if (failed?.state !== "failed") return;
    const { channelId, content, kind, metadata } = failed;
    const draft = { ...(kind === undefined ? {} : { kind }), ...(metadata === undefined ? {} : { metadata }) };
    await this.discard(clientMessageId);
    await this.add(channelId, content, draft, failed.failure?.status === 409 ? newClientMessageId : clientMessageId);
  }

  /** Forgets one that has failed or still waits; one that is on its way cannot be called back. */
  async discard(clientMessageId: string): Promise<void> {
    const item = this.#items.get(clientMessageId);
    if (!item || item.state === "sending" || item.state === "sent") return;
    await this.#drop(item);
  }

  /** These entries are seen now, so nothing needs to stand for them. */
  settle(entries: Entry[]): void {
    for (const { clientMessageId, channelId } of entries) {
      const item = clientMessageId ? this.#items.get(clientMessageId) : undefined;
      if (item && item.channelId === channelId) void this.#drop(item);
    }
  }

  /** The channel is gone, so nothing of what was stored there will be seen. What waits will be refused. */
  abandon(channelId: string): void {
    for (const item of this.items) if (item.channelId === channelId && item.state === "sent") void this.#drop(item);
  }

  async #work(channelId: string): Promise<void> {
    if (this.#busy.has(channelId)) return;
    this.#busy.add(channelId);
    const backoff = new Backoff(LIMITS, this.parts.random);
    try {
      for (let item = this.#next(channelId); item && this.#isRunning; item = this.#next(channelId)) {
        const waitMs = await this.#send(item, backoff);
        if (waitMs > 0) await this.#nudge.sleep(waitMs);
      }
    } finally {
      this.#busy.delete(channelId);
    }
  }

  #next(channelId: string): OutboxItem | undefined {
    return this.items.find((item) => item.channelId === channelId && item.state === "queued");
  }

  /** Returns how long to wait before the next one; 0 after a success or a final failure. */
  async #send(item: OutboxItem, backoff: Backoff): Promise<number> {
    const { clientMessageId, channelId, content, kind, metadata } = item;
    item.state = "sending";
    this.events.changed();
    try {
      const entry = await this.parts.rest.call("post /send/message", {
        body: {
          channelId,
          content,
          clientMessageId,
          ...(kind === undefined ? {} : { kind }),
          ...(metadata === undefined ? {} : { metadata }),
        },
      });
      backoff.reset();
      item.state = "sent";
      item.seq = entry.seq;
      await this.#forget(item);
      this.events.stored(item, entry);
      this.events.changed();
      return 0;
    } catch (thrown) {
      const error = asNaruError(thrown);
      const isTemporary = error.isTemporary || error.kind === "signedOut" || error.status === 401;
      item.state = isTemporary ? "queued" : "failed";
      if (!isTemporary) {
        item.failure = {
          message: error.message,
          ...(error.status === undefined ? {} : { status: error.status }),
          ...(error.code === undefined ? {} : { code: error.code }),
        };
        if (this.#items.has(clientMessageId)) await this.#save(item);
      }
      this.events.error(error);
      this.events.changed();
      return isTemporary ? backoff.nextDelayMs(error.retryAfterMs) : 0;
    }
  }

  async #drop(item: OutboxItem): Promise<void> {
    this.#items.delete(item.clientMessageId);
    this.events.changed();
    await this.#forget(item);
  }

  /** A storage that fails costs what it is for, surviving a reload, and nothing else. */
  async #save(item: OutboxItem): Promise<void> {
    try {
      await this.parts.storage.putOutboxItem({ ...item });
    } catch (cause) {
      this.events.error(new NaruError("storage", "A waiting message would not survive a reload.", { cause }));
    }
  }

  async #forget(item: OutboxItem): Promise<void> {
    try {
      await this.parts.storage.deleteOutboxItem(item.clientMessageId);
    } catch (cause) {
      // It will be sent again after a reload, and the server will know it.
      this.events.error(new NaruError("storage", "A sent message is still in the storage.", { cause }));
    }
  }
}
