/** Time, so that tests can turn it. */
export interface Clock {
  /** Milliseconds since 1970. */
  now(): number;
  setTimeout(run: () => void, delayMs: number): unknown;
  clearTimeout(timer: unknown): void;
}

/** Longest delay that `setTimeout` does not take for zero. */
const MAX_DELAY_MS = 2 ** 31 - 1;

export const systemClock: Clock = {
  now: () => Date.now(),
  setTimeout: (run, delayMs) => setTimeout(run, Math.min(delayMs, MAX_DELAY_MS)),
  clearTimeout: (timer) => clearTimeout(timer as ReturnType<typeof setTimeout>),
};

/** Sleeps that can be cut short: whoever backs off is woken when there is reason to hope. */
export class Nudge {
  readonly #sleepers = new Set<() => void>();

  constructor(private readonly clock: Clock) {}

  sleep(delayMs: number): Promise<void> {
    return new Promise((resolve) => {
      const wake = () => {
        this.clock.clearTimeout(timer);
        this.#sleepers.delete(wake);
        resolve();
      };
      const timer = this.clock.setTimeout(wake, delayMs);
      this.#sleepers.add(wake);
    });
  }

  now(): void {
    for (const wake of [...this.#sleepers]) wake();
  }
}
