import type { Clock } from "./clock.ts";
import { NaruError } from "./problem.ts";
import type { ClientStorage } from "./storage.ts";

/** A crash in this time makes the last entries come again, never get lost. */
const GATHER_MS = 500;

/** Writes cursors to the storage, after their entries were handed to the application. */
export class KeptCursors {
  #due: Record<string, number | null> = {};
  #timer: unknown;

  constructor(
    private readonly storage: ClientStorage,
    private readonly clock: Clock,
    private readonly failed: (error: NaruError) => void,
  ) {}

  /** `null`: the channel is gone. */
  note(channelId: string, cursor: number | null): void {
    this.#due[channelId] = cursor;
    this.#timer ??= this.clock.setTimeout(() => void this.flush(), GATHER_MS);
  }

  async flush(): Promise<void> {
    this.clock.clearTimeout(this.#timer);
    this.#timer = undefined;
    const due = this.#due;
    this.#due = {};
    if (Object.keys(due).length === 0) return;
    try {
      await this.storage.putCursors(due);
    } catch (cause) {
      this.failed(new NaruError("storage", "Cursors could not be kept.", { cause }));
    }
  }
}
