import type { Clock } from "./clock.ts";
import type { ServerFrame, Session } from "./session.ts";

/** A gateway that neither resumes nor refuses for this long has lost the question. */
const SILENCE_MS = 5_000;
/** The gateway's limit is 64 KiB. */
const MAX_FRAME_LENGTH = 60_000;

export interface Resumed {
  channels: Record<string, number>;
  resyncRequired: string[];
  newChannels: string[];
}

/**
 * Asks the gateway for everything after the cursors. `undefined`: it does not do that, so `POST /sync` has to.
 * A gateway that cannot answers with an `error` frame; one that can sends the entries and then `resumed`.
 */
export class Resume {
  #answer: ((resumed: Resumed | undefined, wasRefused: boolean) => void) | undefined;
  #timer: unknown;
  /** Gateways that have refused; a new id after an upgrade is asked again. */
  readonly #refusedBy = new Set<string>();

  constructor(private readonly clock: Clock) {}

  ask(session: Session, cursors: Map<string, number>): Promise<Resumed | undefined> {
    this.abandon();
    const gatewayId = session.ready?.gatewayId ?? "";
    const frame = { type: "resume", cursors: Object.fromEntries(cursors) } as const;
    if (this.#refusedBy.has(gatewayId) || JSON.stringify(frame).length > MAX_FRAME_LENGTH || !session.send(frame)) {
      return Promise.resolve(undefined);
    }
    return new Promise((resolve) => {
      this.#answer = (resumed, wasRefused) => {
        if (wasRefused) this.#refusedBy.add(gatewayId);
        resolve(resumed);
      };
      this.#waitOn();
    });
  }

  /** Every frame passes here; entries say that a resume is under way. Tells whether it was the answer. */
  hear(frame: ServerFrame | { type: string }): boolean {
    if (!this.#answer) return false;
    if (frame.type === "resumed") this.#settle(frame as { type: "resumed" } & Resumed);
    // A gateway that cannot do it now may be able to the next time.
    else if (frame.type === "error") this.#settle(undefined, (frame as { code?: unknown }).code === "invalid_request");
    else {
      this.#waitOn();
      return false;
    }
    return true;
  }

  /** The session has ended, and with it the question; that is no refusal. */
  abandon(): void {
    this.#settle(undefined);
  }

  #waitOn(): void {
    this.clock.clearTimeout(this.#timer);
    this.#timer = this.clock.setTimeout(() => this.#settle(undefined), SILENCE_MS);
  }

  #settle(resumed: Resumed | undefined, wasRefused = false): void {
    this.clock.clearTimeout(this.#timer);
    const answer = this.#answer;
    this.#answer = undefined;
    answer?.(resumed, wasRefused);
  }
}
