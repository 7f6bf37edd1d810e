import type { Clock } from "./clock.ts";
import type { Session } from "./session.ts";

/** Entries come in bursts; one ack for each channel and this long is enough for push and for "delivered". */
const GATHER_MS = 300;

/** Tells the gateway what is on this device: `ack` is cumulative, so only each channel's latest counts. */
export class Acks {
  readonly #due = new Map<string, number>();
  #timer: unknown;

  constructor(
    private readonly clock: Clock,
    private readonly session: () => Session | undefined,
  ) {}

  note(channelId: string, seq: number): void {
    if (seq < 1) return;
    this.#due.set(channelId, Math.max(seq, this.#due.get(channelId) ?? 0));
    this.#timer ??= this.clock.setTimeout(() => this.flush(), GATHER_MS);
  }

  /** What no session took stays due, and goes out after the next connect. */
  flush(): void {
    this.clock.clearTimeout(this.#timer);
    this.#timer = undefined;
    const session = this.session();
    if (!session) return;
    for (const [channelId, seq] of this.#due) {
      if (!session.send({ type: "ack", channelId, seq })) return;
      this.#due.delete(channelId);
    }
  }

  forget(channelId: string): void {
    this.#due.delete(channelId);
  }

  close(): void {
    this.clock.clearTimeout(this.#timer);
    this.#timer = undefined;
  }
}
