import { ChannelLog } from "./channel_log.ts";
import type { Clock } from "./clock.ts";
import type { Entry } from "./openapi.ts";

export interface InboxEvents {
  /** The next entries of a channel, in order, none twice, none left out. */
  entries(channelId: string, entries: Entry[]): void;
  /** Something before what came is missing, and has been for a while. */
  gap(channelId: string): void;
  /** An entry of a channel without a cursor has come; it waits. */
  stranger(channelId: string): void;
}

/** Entries that took another way may be a moment late; asking for them at once would ask for most of them twice. */
const GAP_WAIT_MS = 150;
/** Entries of an unknown channel that wait until it is known; beyond, the gap is filled like any other. */
const MAX_WAITING = 200;

/** Where every entry comes in, wherever from: each channel's log decides when it goes on. */
export class Inbox {
  readonly #logs = new Map<string, ChannelLog>();
  readonly #strangers = new Map<string, Entry[]>();
  readonly #gapTimers = new Map<string, unknown>();

  constructor(
    private readonly clock: Clock,
    private readonly events: InboxEvents,
  ) {}

  cursorOf(channelId: string): number | undefined {
    return this.#logs.get(channelId)?.cursor;
  }

  cursors(): Map<string, number> {
    return new Map([...this.#logs].map(([channelId, log]) => [channelId, log.cursor]));
  }

  hasGap(channelId: string): boolean {
    return this.#logs.get(channelId)?.hasGap ?? false;
  }

  /** From now on this channel's entries after `cursor` are let through. A known channel keeps its cursor. */
  adopt(channelId: string, cursor: number): void {
    if (this.#logs.has(channelId)) return;
    const waiting = this.#strangers.get(channelId) ?? [];
    this.#strangers.delete(channelId);
    // Somebody who waits here came live, so what they bring is to be seen even if it has been read elsewhere.
    const firstWaiting = waiting.reduce((lowest, entry) => Math.min(lowest, entry.seq), Number.POSITIVE_INFINITY);
    this.#logs.set(channelId, new ChannelLog(Math.min(cursor, firstWaiting - 1)));
    this.offer(channelId, waiting);
  }

  forget(channelId: string): void {
    this.#logs.delete(channelId);
    this.#strangers.delete(channelId);
    this.clock.clearTimeout(this.#gapTimers.get(channelId));
    this.#gapTimers.delete(channelId);
  }

  offer(channelId: string, entries: Entry[]): void {
    const log = this.#logs.get(channelId);
    if (!log) return this.#keepWaiting(channelId, entries);
    const ready = log.offer(entries);
    if (ready.length > 0) this.events.entries(channelId, ready);
    this.#watchGap(channelId, log);
  }

  /** Of this channel nothing is kept up to `seq` any more. */
  skip(channelId: string, seq: number): void {
    const log = this.#logs.get(channelId);
    if (!log) return;
    const ready = log.skip(seq);
    if (ready.length > 0) this.events.entries(channelId, ready);
    this.#watchGap(channelId, log);
  }

  /** The server has told that this channel goes up to `seq`. */
  expect(channelId: string, seq: number): void {
    const log = this.#logs.get(channelId);
    log?.expect(seq);
    if (log) this.#watchGap(channelId, log);
  }

  close(): void {
    for (const timer of this.#gapTimers.values()) this.clock.clearTimeout(timer);
    this.#gapTimers.clear();
  }

  #keepWaiting(channelId: string, entries: Entry[]): void {
    if (entries.length === 0) return;
    const waiting = this.#strangers.get(channelId);
    if (!waiting) this.#strangers.set(channelId, [...entries]);
    else if (waiting.length < MAX_WAITING) waiting.push(...entries);
    this.events.stranger(channelId);
  }

  #watchGap(channelId: string, log: ChannelLog): void {
    if (!log.hasGap) {
      this.clock.clearTimeout(this.#gapTimers.get(channelId));
      this.#gapTimers.delete(channelId);
    } else if (!this.#gapTimers.has(channelId)) {
      const timer = this.clock.setTimeout(() => {
        this.#gapTimers.delete(channelId);
        if (log.hasGap) this.events.gap(channelId);
      }, GAP_WAIT_MS);
      this.#gapTimers.set(channelId, timer);
    }
  }
}
