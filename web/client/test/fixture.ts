import type { TestContext } from "node:test";
import { WebSocket } from "ws";
import { type Entry, MemoryStorage, NaruClient, type NaruError, type WebSocketConstructor } from "../src/index.ts";
import type { NaruOptions } from "../src/options.ts";
import { FakeServer } from "./fake_server.ts";
import { FastClock } from "./fast_clock.ts";
import { makeToken } from "./tokens.ts";

export interface Fixture {
  server: FakeServer;
  clock: FastClock;
  /** A client that is stopped when the test ends. */
  client(options?: Partial<NaruOptions>): Observed;
}

/** A client with everything that it has told. */
export interface Observed {
  client: NaruClient;
  entries: Entry[];
  errors: NaruError[];
  phases: string[];
  removed: string[];
  added: string[];
  /** `seq`s of a channel in the order in which they were told. */
  seqs(channelId: string): number[];
  started(): Promise<Observed>;
}

export async function fixture(test: TestContext): Promise<Fixture> {
  const server = await FakeServer.start();
  const clock = new FastClock();
  const clients: NaruClient[] = [];
  test.after(async () => {
    for (const client of clients) await client.stop();
    clock.stop();
    await server.stop();
  });
  return {
    server,
    clock,
    client(options = {}) {
      const client = new NaruClient({
        baseUrl: server.url,
        userId: "alice",
        token: () => makeToken("alice", 3600, clock.now()),
        storage: new MemoryStorage(),
        WebSocket: WebSocket as unknown as WebSocketConstructor,
        clock,
        ...options,
      });
      clients.push(client);
      return observe(client);
    },
  };
}

function observe(client: NaruClient): Observed {
  const observed: Observed = {
    client,
    entries: [],
    errors: [],
    phases: [],
    removed: [],
    added: [],
    seqs: (channelId) => observed.entries.filter((one) => one.channelId === channelId).map((one) => one.seq),
    async started() {
      await client.start();
      await until(() => client.state.phase === "online" && client.state.isCaughtUp);
      return observed;
    },
  };
  client.on("entries", ({ entries }) => observed.entries.push(...entries));
  client.on("error", (error) => observed.errors.push(error));
  client.on("state", ({ phase }) => observed.phases.push(phase));
  client.on("channelRemoved", ({ channelId }) => observed.removed.push(channelId));
  client.on("channelAdded", ({ id }) => observed.added.push(id));
  return observed;
}

/** Waits until it is true; tells what it waited for when it never is. */
export async function until(isTrue: () => boolean, limitMs = 5_000): Promise<void> {
  const deadline = Date.now() + limitMs;
  while (!isTrue()) {
    if (Date.now() > deadline) throw new Error(`not within ${limitMs} ms: ${isTrue}`);
    await pause(2);
  }
}

export function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

export function range(first: number, last: number): number[] {
  return Array.from({ length: last - first + 1 }, (_, at) => first + at);
}
