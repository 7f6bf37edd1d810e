import type { Clock } from "./clock.ts";
import type { Entry } from "./openapi.ts";

/** What of `WebSocket` is used; the browser's, React Native's, Node's and the one of `ws` all have it. */
export interface WebSocketLike {
  onopen: ((event: never) => void) | null;
  onmessage: ((event: never) => void) | null;
  onclose: ((event: never) => void) | null;
  onerror: ((event: never) => void) | null;
  send(text: string): void;
  close(code?: number, reason?: string): void;
}
export type WebSocketConstructor = new (url: string) => WebSocketLike;

export interface ReadyFrame {
  type: "ready";
  sessionId: string;
  userId: string;
  gatewayId: string;
  pingIntervalMs: number;
}

export type ServerFrame =
  | ReadyFrame
  | { type: "resumed"; channels: Record<string, number>; resyncRequired: string[]; newChannels: string[] }
  | { type: "draining"; reconnectInMs: number }
  | { type: "pong" }
  | { type: "error"; code: string; detail: string };

export type ClientFrame =
  | { type: "resume"; cursors: Record<string, number> }
  | { type: "ack"; channelId: string; seq: number }
  | { type: "auth"; token: string }
  | { type: "background"; value: boolean }
  | { type: "ping" };

export interface SessionEvents {
  ready(frame: ReadyFrame): void;
  /** Everything after `ready` but pongs. */
  frame(frame: ServerFrame | Entry | { type: string }): void;
  /** Once, however it ended. */
  closed(code: number): void;
}

/** Until `ready`: a proxy that accepts and then says nothing is no connection. */
const READY_MS = 10_000;
/** An answer to a ping takes this long at most. */
const ANSWER_MS = 10_000;
/** 1006 of RFC 6455: it ended without a close frame. */
const ABNORMAL = 1006;

/** One WebSocket, from its opening to its end. */
export class Session {
  #ready: ReadyFrame | undefined;
  #hasEnded = false;
  #lastHeardMs: number;
  #timer: unknown;
  readonly #socket: WebSocketLike;

  constructor(
    WebSocket: WebSocketConstructor,
    url: string,
    private readonly clock: Clock,
    private readonly events: SessionEvents,
  ) {
    this.#lastHeardMs = clock.now();
    this.#timer = clock.setTimeout(() => this.#end(ABNORMAL), READY_MS);
    this.#socket = new WebSocket(url);
    this.#socket.onmessage = (event: { data: unknown }) => this.#hear(event.data);
    this.#socket.onclose = (event: { code?: number }) => this.#end(event.code ?? ABNORMAL);
    // A close follows, and says more.
    this.#socket.onerror = () => {};
  }

  get ready(): ReadyFrame | undefined {
    return this.#hasEnded ? undefined : this.#ready;
  }

  /** Whether it was handed to the socket; a frame for a session that has ended is of no use. */
  send(frame: ClientFrame): boolean {
    if (!this.ready) return false;
    try {
      this.#socket.send(JSON.stringify(frame));
      return true;
    } catch {
      return false;
    }
  }

  /** Is it still there? Ends the session when nothing comes back in time. */
  probe(answerMs: number): void {
    if (!this.ready) return;
    const askedMs = this.clock.now();
    this.send({ type: "ping" });
    this.#schedule(answerMs, () => {
      if (this.#lastHeardMs < askedMs) this.#end(ABNORMAL);
      else this.#listen();
    });
  }

  close(): void {
    this.#end(1000);
  }

  #hear(data: unknown): void {
    if (this.#hasEnded || typeof data !== "string") return;
    this.#lastHeardMs = this.clock.now();
    let frame: { type?: unknown };
    try {
      frame = JSON.parse(data) as { type?: unknown };
    } catch {
      return;
    }
    if (typeof frame !== "object" || frame === null || typeof frame.type !== "string") return;
    if (frame.type === "pong") return;
    if (frame.type === "ready") {
      this.#ready = frame as ReadyFrame;
      this.#listen();
      this.events.ready(this.#ready);
    } else if (this.#ready) {
      this.events.frame(frame as ServerFrame);
    }
  }

  /** A browser does not show the server's pings, so whoever hears nothing has to ask. */
  #listen(): void {
    const intervalMs = this.#ready?.pingIntervalMs || 25_000;
    this.#schedule(intervalMs, () => {
      if (this.clock.now() - this.#lastHeardMs < intervalMs) this.#listen();
      else this.probe(ANSWER_MS);
    });
  }

  #schedule(delayMs: number, run: () => void): void {
    this.clock.clearTimeout(this.#timer);
    this.#timer = this.clock.setTimeout(run, delayMs);
  }

  #end(code: number): void {
    if (this.#hasEnded) return;
    this.#hasEnded = true;
    this.clock.clearTimeout(this.#timer);
    this.#socket.onmessage = null;
    this.#socket.onclose = null;
    try {
      // On a dead network the browser takes its time to close; nobody waits for it.
      this.#socket.close(1000);
    } catch {
      // It was not open yet, or is closed already.
    }
    this.events.closed(code);
  }
}
