import type { Clock } from "./clock.ts";
import type { Entry, Member } from "./openapi.ts";
import { asNaruError, type NaruError } from "./problem.ts";
import type { Rest } from "./rest.ts";
import type { EphemeralFrame, MessageState, Receipt } from "./types.ts";

/** In a larger channel nobody looks at who has read what, and asking for it would cost more than it tells. */
const MAX_MEMBERS = 200;
/** Between two looks at a channel that is watched and not read by all: grows while nothing changes. */
const LOOK_MS = { first: 2_000, longest: 30_000 };

export interface ReceiptsEvents {
  changed(channelId: string): void;
  error(error: NaruError): void;
}

/**
 * How far the others are: told at once by `read` and `delivered` frames, which may be dropped and do not come in larger
 * channels, so a watched channel's members are asked for from time to time, too.
 */
export class Receipts {
  readonly #channels = new Map<string, Map<string, Receipt>>();
  readonly #newestOwn = new Map<string, number>();
  readonly #watched = new Map<string, { delayMs: number; timer: unknown }>();

  constructor(
    private readonly rest: Rest,
    private readonly clock: Clock,
    private readonly userId: string,
    private readonly isIdle: () => boolean,
    private readonly events: ReceiptsEvents,
  ) {}

  /** Looks at a channel until the returned function is called. */
  watch(channelId: string): () => void {
    const watch = { delayMs: LOOK_MS.first, timer: undefined as unknown };
    this.#watched.set(channelId, watch);
    void this.#look(channelId);
    return () => {
      this.clock.clearTimeout(watch.timer);
      if (this.#watched.get(channelId) === watch) this.#watched.delete(channelId);
    };
  }

  of(channelId: string): Receipt[] {
    return [...(this.#channels.get(channelId)?.values() ?? [])];
  }

  stateOf(entry: Entry): MessageState {
    const others = this.of(entry.channelId);
    if (others.length === 0) return "sent";
    if (others.every((one) => one.readSeq >= entry.seq)) return "read";
    // Who has read it has got it, whatever else is known.
    const isDelivered = others.every((one) => Math.max(one.deliveredSeq, one.readSeq) >= entry.seq);
    return isDelivered ? "delivered" : "sent";
  }

  /** Entries that were seen: own ones are worth watching, others' show that somebody is there. */
  note(channelId: string, entries: Entry[]): void {
    for (const entry of entries) {
      if (entry.senderId === this.userId && entry.type === "message") {
        this.#newestOwn.set(channelId, Math.max(entry.seq, this.#newestOwn.get(channelId) ?? 0));
      }
    }
    this.lookSoon(channelId);
  }

  /** The members as they are now, from whoever has just read them. */
  take(channelId: string, members: Member[]): void {
    const known = this.#channels.get(channelId);
    const receipts = new Map<string, Receipt>();
    for (const member of members) {
      if (member.userId === this.userId) continue;
      const { userId } = member;
      // A frame may have told more than an answer that was on its way meanwhile; nobody unreads.
      const readSeq = Math.max(member.readSeq, known?.get(userId)?.readSeq ?? 0);
      const deliveredSeq = Math.max(member.deliveredSeq, known?.get(userId)?.deliveredSeq ?? 0);
      receipts.set(userId, { userId, readSeq, deliveredSeq });
    }
    const before = JSON.stringify(this.of(channelId));
    this.#channels.set(channelId, receipts);
    if (JSON.stringify(this.of(channelId)) !== before) this.#moved(channelId);
  }

  /** `read {channelId, userId, readSeq}` and `delivered {channelId, userId, deliveredSeq}`. */
  hear(frame: EphemeralFrame): void {
    const { channelId, userId, readSeq, deliveredSeq } = frame;
    if (typeof channelId !== "string" || typeof userId !== "string" || userId === this.userId) return;
    const before = this.#channels.get(channelId)?.get(userId);
    if (!before) return;
    const after = { ...before };
    if (typeof readSeq === "number") after.readSeq = Math.max(readSeq, before.readSeq);
    if (typeof deliveredSeq === "number") after.deliveredSeq = Math.max(deliveredSeq, before.deliveredSeq);
    this.#channels.get(channelId)?.set(userId, after);
    this.events.changed(channelId);
  }

  lookSoon(channelId: string): void {
    const watch = this.#watched.get(channelId);
    if (!watch) return;
    watch.delayMs = LOOK_MS.first;
    this.#plan(channelId);
  }

  /** After a while without a look: the connection is back, or somebody is. */
  refresh(): void {
    for (const channelId of this.#watched.keys()) void this.#look(channelId);
  }

  forget(channelId: string): void {
    this.clock.clearTimeout(this.#watched.get(channelId)?.timer);
    this.#watched.delete(channelId);
    this.#channels.delete(channelId);
    this.#newestOwn.delete(channelId);
  }

  close(): void {
    for (const watch of this.#watched.values()) this.clock.clearTimeout(watch.timer);
    this.#watched.clear();
  }

  #moved(channelId: string): void {
    const watch = this.#watched.get(channelId);
    if (watch) watch.delayMs = LOOK_MS.first;
    this.events.changed(channelId);
  }

  #isReadByAll(channelId: string): boolean {
    const newestOwn = this.#newestOwn.get(channelId) ?? 0;
    const others = this.#channels.get(channelId);
    return others !== undefined && [...others.values()].every((one) => one.readSeq >= newestOwn);
  }

  #plan(channelId: string): void {
    const watch = this.#watched.get(channelId);
    if (!watch) return;
    this.clock.clearTimeout(watch.timer);
    if (this.#isReadByAll(channelId)) return;
    watch.timer = this.clock.setTimeout(() => void this.#look(channelId), watch.delayMs);
    watch.delayMs = Math.min(watch.delayMs * 1.5, LOOK_MS.longest);
  }

  async #look(channelId: string): Promise<void> {
    try {
      if (!this.isIdle()) {
        const page = await this.rest.call("get /channels/{channelId}/members", {
          path: { channelId },
          query: { limit: MAX_MEMBERS },
        });
        if (page.nextCursor) return;
        this.take(channelId, page.members);
      }
    } catch (error) {
      this.events.error(asNaruError(error));
    }
    this.#plan(channelId);
  }
}
