import type { Clock } from "./clock.ts";
import { asNaruError, type NaruError } from "./problem.ts";
import type { Rest } from "./rest.ts";

/** While somebody scrolls, the mark moves many times a second; the server hears of it once in this long. */
const GATHER_MS = 250;
/** After a failure; a connect does not wait for it. */
const AGAIN_MS = 5_000;

/** Moves the user's read cursors, forward only, at most one call at a time for each channel. */
export class ReadMarks {
  readonly #wanted = new Map<string, number>();
  readonly #done = new Map<string, number>();
  readonly #timers = new Map<string, unknown>();
  #isClosed = false;

  constructor(
    private readonly rest: Rest,
    private readonly clock: Clock,
    private readonly events: { marked(channelId: string, readSeq: number): void; error(error: NaruError): void },
  ) {}

  mark(channelId: string, seq: number): void {
    if (seq <= Math.max(this.#wanted.get(channelId) ?? 0, this.#done.get(channelId) ?? 0)) return;
    this.#wanted.set(channelId, seq);
    if (!this.#timers.has(channelId)) this.#schedule(channelId, GATHER_MS);
  }

  forget(channelId: string): void {
    this.#wanted.delete(channelId);
    this.#done.delete(channelId);
  }

  /** What could not be said is said now. */
  retry(): void {
    for (const channelId of this.#wanted.keys()) this.#schedule(channelId, GATHER_MS);
  }

  close(): void {
    this.#isClosed = true;
    for (const timer of this.#timers.values()) this.clock.clearTimeout(timer);
    this.#timers.clear();
  }

  #schedule(channelId: string, delayMs: number): void {
    if (this.#isClosed) return;
    this.clock.clearTimeout(this.#timers.get(channelId));
    this.#timers.set(
      channelId,
      this.clock.setTimeout(() => void this.#tell(channelId), delayMs),
    );
  }

  async #tell(channelId: string): Promise<void> {
    const seq = this.#wanted.get(channelId);
    this.#timers.delete(channelId);
    if (seq === undefined) return;
    let nextMs = GATHER_MS;
    try {
      const { readSeq } = await this.rest.call("put /channels/{channelId}/read", { path: { channelId }, body: { seq } });
      this.#done.set(channelId, readSeq);
      if (this.#wanted.get(channelId) === seq) this.#wanted.delete(channelId);
      this.events.marked(channelId, readSeq);
    } catch (thrown) {
      const error = asNaruError(thrown);
      // A refusal will be one again.
      if (error.kind === "refused" && !error.isTemporary) this.#wanted.delete(channelId);
      nextMs = Math.max(AGAIN_MS, error.retryAfterMs ?? 0);
      this.events.error(error);
    }
    // It failed, or moved on while the call was under way.
    if (this.#wanted.has(channelId) && !this.#timers.has(channelId)) this.#schedule(channelId, nextMs);
  }
}
