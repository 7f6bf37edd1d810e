import type { Entry } from "./openapi.ts";

/**
 * Entries that may wait for those before them. What is dropped beyond is in the server's log, and comes again when
 * the gap is filled.
 */
const MAX_HELD = 2_000;

/** One channel's order: lets each entry through once, after the one before it. */
export class ChannelLog {
  #cursor: number;
  #highestSeen: number;
  readonly #held = new Map<number, Entry>();

  constructor(cursor: number) {
    this.#cursor = cursor;
    this.#highestSeen = cursor;
  }

  /** Everything up to here has been let through. */
  get cursor(): number {
    return this.#cursor;
  }

  /** Whether something is known to be missing. */
  get hasGap(): boolean {
    return this.#highestSeen > this.#cursor;
  }

  /** The server has this much. */
  expect(seq: number): void {
    this.#highestSeen = Math.max(this.#highestSeen, seq);
  }

  /** Of the log nothing is kept up to `seq`: that is not waited for. Returns those whose turn it is now. */
  skip(seq: number): Entry[] {
    if (seq <= this.#cursor) return [];
    this.expect(seq);
    // What waits was kept when it came.
    const waiting = [...this.#held.values()].filter((entry) => entry.seq <= seq).sort((one, other) => one.seq - other.seq);
    for (const entry of waiting) this.#held.delete(entry.seq);
    this.#cursor = seq;
    const next = this.#held.get(seq + 1);
    if (next) this.#pass(next, waiting);
    return waiting;
  }

  /** Takes entries from any source in any order; returns those whose turn it is now. */
  offer(entries: Iterable<Entry>): Entry[] {
    const ready: Entry[] = [];
    for (const entry of entries) {
      if (entry.seq <= this.#cursor) continue;
      this.expect(entry.seq);
      if (entry.seq === this.#cursor + 1) {
        this.#pass(entry, ready);
      } else if (this.#held.size < MAX_HELD) {
        this.#held.set(entry.seq, entry);
      }
    }
    return ready;
  }

  #pass(entry: Entry, ready: Entry[]): void {
    for (let next: Entry | undefined = entry; next; next = this.#held.get(this.#cursor + 1)) {
      this.#cursor = next.seq;
      this.#held.delete(next.seq);
      ready.push(next);
    }
  }
}
