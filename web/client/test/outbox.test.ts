import assert from "node:assert/strict";
import { test } from "node:test";
import { MemoryStorage, NaruError } from "../src/index.ts";
import { problem, type Seen } from "./fake_server.ts";
import { fixture, range, until } from "./fixture.ts";

const contents = (entries: Array<{ content?: string | null }>) => entries.map(({ content }) => content);
const idOf = (seen: Seen) => (seen.body as { clientMessageId: string }).clientMessageId;

test("a message goes from queued to its entry", async (t) => {
  const { server, client } = await fixture(t);
  server.addChannel("c", ["alice", "bob"]);
  const alice = await client().started();
  const item = await alice.client.send("c", "hello");
  assert.match(item.clientMessageId, /^[0-9a-f]{32}$/);
  await until(() => alice.entries.length === 1);
  assert.equal(alice.entries[0]?.clientMessageId, item.clientMessageId);
  assert.deepEqual(alice.client.outbox, []);
});

test("a lost answer is asked for again under the same id, and makes no second message", async (t) => {
  const { server, client } = await fixture(t);
  server.addChannel("c", ["alice", "bob"]);
  const alice = await client().started();
  let faults = 3;
  server.rules.push(({ path }) => (path === "/send/message" && faults-- > 0 ? "storeAndDrop" : undefined));
  await alice.client.send("c", "once");
  await alice.client.send("c", "twice");
  await until(() => alice.entries.length === 2 && alice.client.outbox.length === 0);
  assert.deepEqual(contents(server.channels.get("c")!.entries), ["once", "twice"]);
  const ids = new Set(server.callsTo("/send/message").map(idOf));
  assert.equal(ids.size, 2);
});

test("messages are stored in the order in which they were written, whatever fails between", async (t) => {
  const { server, client } = await fixture(t);
  server.addChannel("c", ["alice", "bob"]);
  const alice = await client().started();
  let calls = 0;
  server.rules.push(({ path }) => {
    if (path !== "/send/message") return undefined;
    calls += 1;
    if (calls % 4 === 1) return problem(503, "overloaded", { "retry-after": "1" });
    if (calls % 4 === 2) return "drop";
    return undefined;
  });
  await Promise.all(range(1, 12).map((at) => alice.client.send("c", `${at}`)));
  await until(() => alice.entries.length === 12);
  assert.deepEqual(contents(alice.entries), range(1, 12).map(String));
});

test("the outbox survives a reload in the middle of sending", async (t) => {
  const { server, client } = await fixture(t);
  server.addChannel("c", ["alice", "bob"]);
  const storage = new MemoryStorage();
  const before = await client({ storage }).started();
  // The third is stored, but its answer never arrives; the rest never leaves.
  let calls = 0;
  server.rules.push(({ path }) => {
    if (path !== "/send/message") return undefined;
    calls += 1;
    return calls < 3 ? undefined : calls === 3 ? "storeAndDrop" : "drop";
  });
  for (const at of range(1, 8)) await before.client.send("c", `${at}`);
  await until(() => calls >= 4);
  await before.client.stop();
  server.rules.length = 0;

  const after = client({ storage });
  await after.client.start();
  await until(() => after.client.outbox.length === 0 && server.channels.get("c")!.entries.length >= 8);
  assert.deepEqual(contents(server.channels.get("c")!.entries), range(1, 8).map(String));
  assert.deepEqual((await storage.load()).outbox, []);
});

test("a refusal for good is kept as failed, holds nobody up, and can be tried again", async (t) => {
  const { server, client } = await fixture(t);
  server.addChannel("c", ["alice", "bob"]);
  const alice = await client().started();
  const isBad = (seen: Seen) => (seen.body as { content?: string })?.content === "bad";
  server.rules.push((seen) => (isBad(seen) ? problem(422, "invalid_request") : undefined));
  const bad = await alice.client.send("c", "bad");
  await alice.client.send("c", "good");
  await until(() => alice.entries.length === 1);
  assert.deepEqual(alice.client.outbox.map(({ state, failure }) => [state, failure?.code]), [["failed", "invalid_request"]]);
  server.rules.length = 0;
  await alice.client.retry(bad.clientMessageId);
  await until(() => alice.entries.length === 2);
  assert.deepEqual(alice.client.outbox, []);
});

test("after a conflict the message goes out under a new id, when the user says so", async (t) => {
  const { server, client } = await fixture(t);
  server.addChannel("c", ["alice", "bob"]);
  const alice = await client().started();
  server.rules.push(({ path }) => (path === "/send/message" ? problem(409, "conflict") : undefined));
  const item = await alice.client.send("c", "hello");
  await until(() => alice.client.outbox[0]?.state === "failed");
  server.rules.length = 0;
  await alice.client.retry(item.clientMessageId);
  await until(() => alice.entries.length === 1);
  assert.notEqual(alice.entries[0]?.clientMessageId, item.clientMessageId);
});

test("the server's Retry-After is waited for", async (t) => {
  const { server, clock, client } = await fixture(t);
  server.addChannel("c", ["alice", "bob"]);
  const alice = await client({ random: () => 0 }).started();
  let refusals = 1;
  server.rules.push(({ path }) =>
    path === "/send/message" && refusals-- > 0 ? problem(429, "rate_limited", { "retry-after": "7" }) : undefined,
  );
  await alice.client.send("c", "hello");
  await until(() => alice.entries.length === 1);
  assert.ok(clock.delaysMs.includes(7_000));
});

test("the outbox is bounded", async (t) => {
  const { server, client } = await fixture(t);
  server.addChannel("c", ["alice", "bob"]);
  const alice = await client({ maxOutboxItems: 2 }).started();
  server.rules.push(({ path }) => (path === "/send/message" ? "drop" : undefined));
  await alice.client.send("c", "1");
  await alice.client.send("c", "2");
  await assert.rejects(alice.client.send("c", "3"), (error: NaruError) => error.kind === "outboxFull");
});

test("a storage that fails costs nothing but what it is for", async (t) => {
  const { server, client } = await fixture(t);
  server.addChannel("c", ["alice", "bob"]);
  class Broken extends MemoryStorage {
    override async putOutboxItem() {
      throw new Error("quota");
    }
  }
  const alice = await client({ storage: new Broken() }).started();
  await alice.client.send("c", "hello");
  await until(() => alice.entries.length === 1);
  assert.deepEqual(alice.errors.map(({ kind }) => kind), ["storage"]);
});
