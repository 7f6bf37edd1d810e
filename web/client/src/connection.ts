import { Backoff } from "./backoff.ts";
import type { Clock } from "./clock.ts";
import { afterClose } from "./close_codes.ts";
import type { Environment } from "./environment.ts";
import { asNaruError, NaruError } from "./problem.ts";
import type { Rest } from "./rest.ts";
import { type ServerFrame, Session, type WebSocketConstructor } from "./session.ts";
import type { Tokens } from "./tokens.ts";
import type { ConnectionState } from "./types.ts";

export interface ConnectionParts {
  baseUrl: string;
  rest: Rest;
  tokens: Tokens;
  clock: Clock;
  random: () => number;
  WebSocket: WebSocketConstructor;
  environment: Environment;
  /** Whether the environment's word about the network counts; see `isLoopback`. */
  needsNetwork: boolean;
}

export interface ConnectionEvents {
  state(state: ConnectionState): void;
  ready(session: Session): void;
  frame(frame: ServerFrame | { type: string }): void;
  error(error: NaruError): void;
}

const LIMITS = { firstMs: 500, longestMs: 30_000 };
/** A session that lasted this long was a good one: what ends it does not count with the failures before. */
const STABLE_MS = 10_000;
/** After waking up a dead session should be found out before anybody notices. */
const WAKE_ANSWER_MS = 5_000;

/** Keeps one session open: opens it, and opens the next one when and how the contract says. */
export class Connection {
  #session: Session | undefined;
  /** The next one, not ready yet. */
  #opening: Session | undefined;
  #isOpening = false;
  #readyAtMs = 0;
  #isRunning = false;
  /** Counts up whenever what was begun is out of date, so that a late answer is not taken for the current one. */
  #attempt = 0;
  #retryTimer: unknown;
  #renewTimer: unknown;
  #drainTimer: unknown;
  /** When the server said to come back, while it drains. */
  #comeBackAtMs: number | undefined;
  #isBackground = false;
  readonly #backoff: Backoff;

  constructor(
    private readonly parts: ConnectionParts,
    private readonly events: ConnectionEvents,
  ) {
    this.#backoff = new Backoff(LIMITS, parts.random);
  }

  get session(): Session | undefined {
    return this.#session;
  }

  start(): void {
    if (this.#isRunning) return;
    this.#isRunning = true;
    this.#backoff.reset();
    void this.#open();
  }

  stop(reason: "stopped" | "signedOut" = "stopped"): void {
    this.#isRunning = false;
    this.#attempt += 1;
    for (const timer of [this.#retryTimer, this.#renewTimer, this.#drainTimer]) this.parts.clock.clearTimeout(timer);
    const sessions = [this.#session, this.#opening];
    this.#session = this.#opening = undefined;
    this.#isOpening = false;
    for (const session of sessions) session?.close();
    this.events.state({ phase: "offline", reason });
  }

  /** Does not wait for the next try; a session that claims to be open has to prove it. */
  tryNow(): void {
    if (!this.#isRunning) return;
    this.#backoff.reset();
    if (this.#session) this.#session.probe(WAKE_ANSWER_MS);
    else void this.#open();
  }

  /** A background session counts as offline for push. */
  setBackground(isBackground: boolean): void {
    this.#isBackground = isBackground;
    this.#session?.send({ type: "background", value: isBackground });
  }

  async #open(): Promise<void> {
    const attempt = ++this.#attempt;
    const { clock, rest, WebSocket } = this.parts;
    clock.clearTimeout(this.#retryTimer);
    this.#opening?.close();
    this.#opening = undefined;
    this.#isOpening = true;
    // While a draining session still serves, nobody needs to know that the next one is being opened.
    if (!this.#session) this.events.state({ phase: "connecting" });
    try {
      const { url, ticket } = await rest.call("post /connect", {});
      if (attempt !== this.#attempt) return;
      const opening: Session = new Session(WebSocket, this.#socketUrl(url, ticket), clock, {
        ready: () => this.#begin(opening, attempt),
        frame: (frame) => this.#hear(opening, frame),
        closed: (code) => this.#ended(opening, attempt, code),
      });
      this.#opening = opening;
    } catch (error) {
      if (attempt !== this.#attempt) return;
      this.#isOpening = false;
      const problem = asNaruError(error);
      this.events.error(problem);
      if (problem.kind === "signedOut") this.stop("signedOut");
      else this.#retryIn(this.#backoff.nextDelayMs(problem.retryAfterMs));
    }
  }

  /** A server may name its socket by a path alone; then it is where its REST calls are. */
  #socketUrl(url: string, ticket: string): string {
    // By hand: React Native's `URL` cannot be written to.
    const origin = /^https?:\/\/[^/]+/.exec(this.parts.baseUrl)?.[0] ?? "";
    const absolute = (url.startsWith("/") ? origin + url : url).replace(/^http/, "ws");
    return `${absolute}${absolute.includes("?") ? "&" : "?"}ticket=${encodeURIComponent(ticket)}`;
  }

  #begin(session: Session, attempt: number): void {
    if (attempt !== this.#attempt) return session.close();
    const before = this.#session;
    this.#session = session;
    this.#opening = undefined;
    this.#isOpening = false;
    this.#readyAtMs = this.parts.clock.now();
    this.#comeBackAtMs = undefined;
    this.parts.clock.clearTimeout(this.#drainTimer);
    before?.close();
    this.#planRenewal();
    this.events.ready(session);
    // After what whoever hears of the session sends: a `resume` has to be the first frame.
    if (this.#isBackground) session.send({ type: "background", value: true });
  }

  #hear(session: Session, frame: ServerFrame | { type: string }): void {
    if (frame.type === "draining" && session === this.#session) {
      const { reconnectInMs } = frame as { reconnectInMs: number };
      this.#comeBackAtMs = this.parts.clock.now() + reconnectInMs;
      this.parts.clock.clearTimeout(this.#drainTimer);
      // The old session serves until the new one is ready: moving takes no time that anybody would notice.
      this.#drainTimer = this.parts.clock.setTimeout(() => void this.#open(), reconnectInMs);
    }
    // Entries that an old session still brings are as good as any.
    this.events.frame(frame);
  }

  #ended(session: Session, attempt: number, code: number): void {
    const wasCurrent = session === this.#session;
    if (wasCurrent) this.#session = undefined;
    if (!this.#isRunning || (!wasCurrent && attempt !== this.#attempt)) return;
    // The one that is to replace it is on its way.
    if (wasCurrent && this.#isOpening) return this.events.state({ phase: "connecting" });
    this.#opening = undefined;
    this.#isOpening = false;
    this.parts.clock.clearTimeout(this.#drainTimer);
    this.parts.clock.clearTimeout(this.#renewTimer);
    if (wasCurrent && this.parts.clock.now() - this.#readyAtMs >= STABLE_MS) this.#backoff.reset();
    const next = afterClose(code);
    if (next.complaint) this.events.error(new NaruError("session", next.complaint, { closeCode: code }));
    if (next.needsNewToken) void this.#renewThenOpen();
    else this.#retryIn(this.#delayMs(next.wait));
  }

  #delayMs(wait: ReturnType<typeof afterClose>["wait"]): number {
    if (wait === "late") return this.#backoff.longDelayMs();
    if (wait === "atDrainTime" && this.#comeBackAtMs !== undefined) {
      const leftMs = Math.max(0, this.#comeBackAtMs - this.parts.clock.now());
      this.#comeBackAtMs = undefined;
      return leftMs;
    }
    return this.#backoff.nextDelayMs();
  }

  async #renewThenOpen(): Promise<void> {
    const attempt = ++this.#attempt;
    const isFirst = this.#backoff.attempts === 0;
    const delayMs = this.#backoff.nextDelayMs();
    this.events.state({ phase: "connecting" });
    try {
      await this.parts.tokens.renew("refused");
    } catch (error) {
      if (attempt !== this.#attempt) return;
      const problem = asNaruError(error);
      this.events.error(problem);
      if (problem.kind === "signedOut") return this.stop("signedOut");
    }
    if (attempt === this.#attempt) this.#retryIn(isFirst ? 0 : delayMs);
  }

  #retryIn(delayMs: number): void {
    if (!this.#isRunning) return;
    const { clock, environment, needsNetwork } = this.parts;
    const isOffline = needsNetwork && environment.isOffline();
    // Without a network it is tried seldom, but it is: devices have been wrong about having none.
    const waitMs = isOffline ? Math.max(delayMs, LIMITS.longestMs) : delayMs;
    const nextTryAtMs = clock.now() + waitMs;
    clock.clearTimeout(this.#retryTimer);
    this.#retryTimer = clock.setTimeout(() => void this.#open(), waitMs);
    if (this.#session) return;
    if (isOffline) this.events.state({ phase: "offline", reason: "network", nextTryAtMs });
    else this.events.state({ phase: "waiting", nextTryAtMs, attempts: this.#backoff.attempts });
  }

  /** Gets a new token before the current one ends, and tells the session. */
  #planRenewal(): void {
    const { clock, tokens } = this.parts;
    clock.clearTimeout(this.#renewTimer);
    const renewAtMs = tokens.renewAtMs;
    if (renewAtMs === undefined) return;
    // At least a while: with a clock that is wrong every token looks as if it were about to end.
    const delayMs = Math.max(renewAtMs - clock.now(), 5_000);
    this.#renewTimer = clock.setTimeout(() => void this.#renew(), delayMs);
  }

  async #renew(): Promise<void> {
    try {
      const token = await this.parts.tokens.renew("expiring");
      this.#session?.send({ type: "auth", token });
    } catch (error) {
      // The session lasts until the old token ends; then its close code asks again.
      this.events.error(asNaruError(error));
    }
    if (this.#session) this.#planRenewal();
  }
}
