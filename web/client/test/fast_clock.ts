import type { Clock } from "../src/clock.ts";

/** A clock on which a second takes 50 ms; it remembers which delays were asked for. */
export class FastClock implements Clock {
  readonly delaysMs: number[] = [];
  readonly #startMs = Date.now();
  readonly #timers = new Set<NodeJS.Timeout>();
  static readonly speed = 20;

  now(): number {
    return this.#startMs + (Date.now() - this.#startMs) * FastClock.speed;
  }

  setTimeout(run: () => void, delayMs: number): unknown {
    this.delaysMs.push(delayMs);
    const timer = setTimeout(
      () => {
        this.#timers.delete(timer);
        run();
      },
      Math.min(delayMs / FastClock.speed, 2 ** 31 - 1),
    );
    this.#timers.add(timer);
    return timer;
  }

  clearTimeout(timer: unknown): void {
    clearTimeout(timer as NodeJS.Timeout);
    this.#timers.delete(timer as NodeJS.Timeout);
  }

  /** What a stopped client has left running would keep the test runner waiting. */
  stop(): void {
    for (const timer of this.#timers) clearTimeout(timer);
  }
}
