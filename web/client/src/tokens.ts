import type { Clock } from "./clock.ts";
import { NaruError } from "./problem.ts";

/** Why a token is asked for: none yet or run out, soon to expire, or refused by the server. */
export type TokenReason = "needed" | "expiring" | "refused";

/** Gets a token from the host application; `null` when the user is signed out. */
export type TokenCallback = (reason: TokenReason) => Promise<string | null> | string | null;

/** A token is renewed this long before its end, or after 80 % of a short life. */
const LEAD_MS = 60_000;
/** A token that has just come is used even when this device's clock calls it expired: the server's clock decides. */
const TRUSTED_MS = 30_000;

interface Held {
  token: string;
  receivedAtMs: number;
  expiresAtMs: number | undefined;
}

/** The current token; one request for a new one at a time. */
export class Tokens {
  #held: Held | undefined;
  #renewal: Promise<string> | undefined;

  constructor(
    private readonly callback: TokenCallback,
    private readonly userId: string,
    private readonly clock: Clock,
  ) {}

  /** A token that is believed to be good. */
  async get(): Promise<string> {
    const held = this.#held;
    if (held && !this.#isExpired(held)) return held.token;
    return this.renew("needed");
  }

  /** A new one. `refused` is the token that was not good: whoever comes late gets what has replaced it meanwhile. */
  async renew(reason: TokenReason, refused?: string): Promise<string> {
    if (refused !== undefined && this.#held && this.#held.token !== refused) return this.#held.token;
    this.#renewal ??= this.#ask(reason).finally(() => {
      this.#renewal = undefined;
    });
    return this.#renewal;
  }

  /** When the current one should be renewed, if it says when it ends. */
  get renewAtMs(): number | undefined {
    const held = this.#held;
    if (held?.expiresAtMs === undefined) return undefined;
    const lifeMs = held.expiresAtMs - held.receivedAtMs;
    return held.expiresAtMs - Math.min(LEAD_MS, Math.max(lifeMs, 0) * 0.2);
  }

  async #ask(reason: TokenReason): Promise<string> {
    const token = await this.callback(reason);
    if (token === null) {
      // The one that is about to end is good until then.
      if (reason !== "expiring") this.#held = undefined;
      throw new NaruError("signedOut", "There is no token: the user is signed out.");
    }
    const claims = readClaims(token);
    if (claims.sub !== undefined && claims.sub !== this.userId) {
      // What waits in the outbox is this user's and must not go out under another name.
      throw new NaruError("signedOut", `The token is not ${this.userId}'s.`);
    }
    this.#held = {
      token,
      receivedAtMs: this.clock.now(),
      expiresAtMs: claims.exp === undefined ? undefined : claims.exp * 1000,
    };
    return token;
  }

  #isExpired(held: Held): boolean {
    const now = this.clock.now();
    return held.expiresAtMs !== undefined && held.expiresAtMs <= now && held.receivedAtMs + TRUSTED_MS <= now;
  }
}

/** What a JWT says, unverified: for planning only. An opaque token says nothing. */
export function readClaims(token: string): { sub?: string; exp?: number } {
  try {
    const payload = token.split(".")[1] ?? "";
    const bytes = Uint8Array.from(atob(payload.replaceAll("-", "+").replaceAll("_", "/")), (c) => c.charCodeAt(0));
    const claims: unknown = JSON.parse(new TextDecoder().decode(bytes));
    if (typeof claims !== "object" || claims === null) return {};
    const { sub, exp } = claims as Record<string, unknown>;
    return {
      ...(typeof sub === "string" ? { sub } : {}),
      ...(typeof exp === "number" ? { exp } : {}),
    };
  } catch {
    return {};
  }
}
