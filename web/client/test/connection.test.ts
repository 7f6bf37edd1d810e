import assert from "node:assert/strict";
import { test } from "node:test";
import { closeCode } from "../src/index.ts";
import { problem } from "./fake_server.ts";
import { fixture, pause, until } from "./fixture.ts";
import { makeToken } from "./tokens.ts";

const isUp = (observed: { client: { state: { phase: string } } }) => observed.client.state.phase === "online";

test("connects by ticket: the token never goes into a URL", async (t) => {
  const { server, client } = await fixture(t);
  const alice = await client().started();
  assert.equal(server.callsTo("/connect").length, 1);
  assert.deepEqual(alice.phases.slice(0, 2), ["connecting", "online"]);
});

test("a socket named by its full address is used as it is", async (t) => {
  const { server, client } = await fixture(t);
  server.socketPath = "full";
  await client().started();
  assert.equal(server.connects, 1);
});

test("4001: a new token is asked for before the next try", async (t) => {
  const { server, client } = await fixture(t);
  const reasons: string[] = [];
  const alice = await client({
    token: (reason) => {
      reasons.push(reason);
      return makeToken("alice");
    },
  }).started();
  const old = server.callsTo("/connect").at(-1)?.token;
  server.closeAll(closeCode.unauthorized);
  await until(() => server.connects === 2 && isUp(alice));
  assert.deepEqual(reasons, ["needed", "refused"]);
  assert.notEqual(server.callsTo("/connect").at(-1)?.token, old);
});

test("1012: comes back at the time that `draining` named, on a new session while the old one serves", async (t) => {
  const { server, clock, client } = await fixture(t);
  server.addChannel("c", ["alice", "bob"]);
  const alice = await client().started();
  const beganMs = clock.now();
  server.send({ type: "draining", reconnectInMs: 4_000 });
  await pause(50);
  server.post("c", "bob", "still here");
  await until(() => alice.entries.length === 1);
  assert.equal(server.connects, 1);
  await until(() => server.connects === 2 && isUp(alice));
  const tookMs = clock.now() - beganMs;
  assert.ok(tookMs >= 3_900 && tookMs < 8_000, `${tookMs}`);
  // Nobody has noticed: it was never anything but online.
  assert.deepEqual([...new Set(alice.phases)], ["connecting", "online"]);
});

test("1012 before its time: waits for the rest of it", async (t) => {
  const { server, clock, client } = await fixture(t);
  const alice = await client().started();
  const beganMs = clock.now();
  server.send({ type: "draining", reconnectInMs: 6_000 });
  await pause(30);
  server.closeAll(closeCode.restart);
  await until(() => alice.client.state.phase === "waiting");
  await until(() => server.connects === 2);
  assert.ok(clock.now() - beganMs >= 5_800, `${clock.now() - beganMs}`);
});

test("4008: comes back and catches up", async (t) => {
  const { server, client } = await fixture(t);
  server.addChannel("c", ["alice", "bob"], 1);
  const alice = await client().started();
  server.closeAll(closeCode.tooSlow);
  server.store("c", "bob", "missed");
  await until(() => alice.entries.length === 1);
  assert.deepEqual(alice.seqs("c"), [2]);
});

for (const code of [closeCode.tooManySessions, closeCode.badFrames, closeCode.protocolError, closeCode.badUtf8, closeCode.tooBig]) {
  test(`${code}: says what is wrong and does not come back soon`, async (t) => {
    const { server, clock, client } = await fixture(t);
    const alice = await client().started();
    server.closeAll(code);
    await until(() => alice.client.state.phase === "waiting");
    assert.equal(alice.client.lastError?.closeCode, code);
    const { state } = alice.client;
    const leftMs = state.phase === "waiting" ? state.nextTryAtMs - clock.now() : 0;
    assert.ok(leftMs > 12_000 && leftMs <= 30_000, `${leftMs}`);
    alice.client.tryNow();
    await until(() => server.connects === 2);
  });
}

test("a refused token is replaced once, and the call repeated", async (t) => {
  const { server, client } = await fixture(t);
  const tokens = [makeToken("alice"), makeToken("alice")];
  server.refusedTokens.add(tokens[0]!);
  const reasons: string[] = [];
  await client({
    token: (reason) => {
      reasons.push(reason);
      return tokens[reasons.length - 1] ?? null;
    },
  }).started();
  assert.deepEqual(reasons, ["needed", "refused"]);
});

test("a token is renewed before its end, by an `auth` frame on the open session", async (t) => {
  const { server, clock, client } = await fixture(t);
  let asked = 0;
  const alice = client({ token: () => makeToken("alice", asked++ === 0 ? 20 : 3600, clock.now()) });
  await alice.started();
  await until(() => server.frames.some(({ type }) => type === "auth"));
  assert.equal(server.connects, 1);
  assert.equal(asked, 2);
});

test("without a token the client stops and says so", async (t) => {
  const { client } = await fixture(t);
  const alice = client({ token: () => null });
  await alice.client.start();
  await until(() => alice.client.state.phase === "offline");
  assert.deepEqual(alice.client.state, { phase: "offline", reason: "signedOut" });
});

test("somebody else's token is not used", async (t) => {
  const { server, client } = await fixture(t);
  const alice = client({ token: () => makeToken("mallory") });
  await alice.client.start();
  await until(() => alice.client.state.phase === "offline");
  assert.equal(server.seen.length, 0);
});

test("while nothing answers, tries grow apart with full jitter up to a bound, and waiting names the next one", async (t) => {
  const { server, clock, client } = await fixture(t);
  const randoms = [0.5, 1, 0.25, 0.75];
  let at = 0;
  const alice = client({ random: () => randoms[at++ % randoms.length]! });
  server.rules.push(({ path }) => (path === "/connect" ? "drop" : undefined));
  const waits: number[] = [];
  alice.client.on("state", (state) => {
    if (state.phase === "waiting") waits.push(state.nextTryAtMs - clock.now());
  });
  await alice.client.start();
  await until(() => waits.length >= 5);
  waits.forEach((waitMs, attempt) => {
    const bound = Math.min(30_000, 500 * 2 ** attempt);
    assert.ok(waitMs <= bound + 1 && waitMs >= bound * 0.25 - 250, `try ${attempt}: ${waitMs} of ${bound}`);
  });
});

test("an overloaded server is given the time that it asks for", async (t) => {
  const { server, clock, client } = await fixture(t);
  let refusals = 1;
  server.rules.push(({ path }) =>
    path === "/connect" && refusals-- > 0 ? problem(503, "overloaded", { "retry-after": "9" }) : undefined,
  );
  const beganMs = clock.now();
  await client().started();
  assert.ok(clock.now() - beganMs >= 8_900);
});

test("a network that dies without a word is found out, and left", async (t) => {
  const { server, client } = await fixture(t);
  server.addChannel("c", ["alice", "bob"], 1);
  const woken: { now?: () => void } = {};
  const environment = {
    isOffline: () => false,
    isHidden: () => false,
    subscribe: ({ woke }: { woke(): void }) => {
      woken.now = woke;
      return () => {};
    },
  };
  const alice = await client({ environment }).started();
  // The other side is silent from here on, as after a lid was closed for an hour.
  for (const socket of server.sockets.keys()) socket.removeAllListeners("message").pause();
  server.sockets.clear();
  server.store("c", "bob", "missed");
  woken.now?.();
  await until(() => server.connects === 2 && alice.entries.length === 1);
  assert.deepEqual(alice.seqs("c"), [2]);
});

test("a session's first frame asks to resume, whatever else is due", async (t) => {
  const { server, client } = await fixture(t);
  server.resumes = true;
  server.addChannel("c", ["alice", "bob"]);
  const alice = await client().started();
  alice.client.setBackground(true);
  // What has just come is not acked yet when the connection breaks.
  server.post("c", "bob", "ahoy");
  await until(() => alice.entries.length === 1);
  const before = server.frames.length;
  server.closeAll(closeCode.tooSlow);
  await until(() => server.connects === 2 && isUp(alice));
  await until(() => server.frames.slice(before).some(({ type }) => type === "ack"));
  const types = server.frames.slice(before).map(({ type }) => type);
  assert.equal(types[0], "resume", `${types}`);
  assert.ok(types.includes("background"), `${types}`);
});

test("a hidden page is told as background, and a shown one as not", async (t) => {
  const { server, client } = await fixture(t);
  let isHidden = false;
  const page: { changed?: () => void } = {};
  const environment = {
    isOffline: () => false,
    isHidden: () => isHidden,
    subscribe: ({ changed }: { changed(): void }) => {
      page.changed = changed;
      return () => {};
    },
  };
  await client({ environment }).started();
  isHidden = true;
  page.changed?.();
  isHidden = false;
  page.changed?.();
  const values = () => server.frames.filter(({ type }) => type === "background").map(({ value }) => value);
  await until(() => values().length === 2);
  assert.deepEqual(values(), [true, false]);
});
