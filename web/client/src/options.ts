import { type Clock, systemClock } from "./clock.ts";
import { detectEnvironment, type Environment } from "./environment.ts";
import { IndexedDbStorage } from "./indexeddb_storage.ts";
import type { WebSocketConstructor } from "./session.ts";
import { type ClientStorage, MemoryStorage } from "./storage.ts";
import type { TokenCallback } from "./tokens.ts";

export interface NaruOptions {
  /** Where the REST API is, e.g. `https://chat.example.com`; in a browser the page's own origin when absent. */
  baseUrl?: string;
  /** Whose client this is: the `sub` of the tokens. */
  userId: string;
  /** Gets a token; called at the start, before the current one ends and when it was refused. */
  token: TokenCallback;
  /** `kept` (default): go on where an earlier run has ended. `fresh`: start anew, for apps that keep no entries. */
  cursors?: "kept" | "fresh";
  /** For a channel without a cursor: begin with what comes from now on (default), or with its first entry. */
  startAt?: "latest" | "beginning";
  /** Tell the server when the page is hidden, so that pushes go to other devices (default: true). */
  backgroundWhenHidden?: boolean;
  /** Most messages that may wait to be sent (default: 1,000). */
  maxOutboxItems?: number;
  /** Default: IndexedDB where there is one, else memory. */
  storage?: ClientStorage;
  /** Needed in Node before 22: `import { WebSocket } from "ws"`. */
  WebSocket?: WebSocketConstructor;
  fetch?: typeof globalThis.fetch;
  environment?: Environment;
  clock?: Clock;
  random?: () => number;
}

export type ResolvedOptions = Required<NaruOptions>;

export function resolve(options: NaruOptions): ResolvedOptions {
  const baseUrl = (options.baseUrl ?? (typeof location === "object" ? location.origin : "")).replace(/\/+$/, "");
  const WebSocket = options.WebSocket ?? (globalThis.WebSocket as WebSocketConstructor | undefined);
  if (!WebSocket) throw new TypeError("This platform has no WebSocket: give one by the option `WebSocket`.");
  if (!baseUrl) throw new TypeError("Outside of a browser the option `baseUrl` is needed.");
  return {
    cursors: "kept",
    startAt: "latest",
    backgroundWhenHidden: true,
    maxOutboxItems: 1_000,
    // Called as a plain function: a browser's fetch refuses to be a method of something else.
    fetch: (...request) => globalThis.fetch(...request),
    environment: detectEnvironment(),
    clock: systemClock,
    random: Math.random,
    ...options,
    storage: options.storage ?? defaultStorage(baseUrl, options.userId),
    baseUrl,
    WebSocket,
  };
}

function defaultStorage(baseUrl: string, userId: string): ClientStorage {
  return typeof indexedDB === "object" && indexedDB !== null
    ? new IndexedDbStorage(`naru ${userId} ${baseUrl}`)
    : new MemoryStorage();
}
