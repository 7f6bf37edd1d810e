export interface BackoffLimits {
  /** Upper bound of the first delay. */
  firstMs: number;
  /** Upper bound of every delay. */
  longestMs: number;
}

/**
 * Exponential back-off with full jitter: each delay is anything from 0 to a bound that doubles up to a limit. Spread
 * over the whole range, because clients that lost the same server would otherwise come back together.
 */
export class Backoff {
  #attempts = 0;

  constructor(
    private readonly limits: BackoffLimits,
    private readonly random: () => number,
  ) {}

  /** Failures since the last reset. */
  get attempts(): number {
    return this.#attempts;
  }

  /** How long to wait now; counts as one more failure. `atLeastMs` is what a server asked for. */
  nextDelayMs(atLeastMs = 0): number {
    // Beyond 2^30 the bound is far past any limit.
    const bound = Math.min(this.limits.longestMs, this.limits.firstMs * 2 ** Math.min(this.#attempts, 30));
    this.#attempts += 1;
    return atLeastMs + this.random() * bound;
  }

  /** For what will not get better soon: from half of the longest delay to the whole of it. */
  longDelayMs(): number {
    this.#attempts += 1;
    return this.limits.longestMs * (0.5 + this.random() / 2);
  }

  reset(): void {
    this.#attempts = 0;
  }
}
