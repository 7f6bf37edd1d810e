import assert from "node:assert/strict";
import { test } from "node:test";
import { fixture, until } from "./fixture.ts";

test("an own message is sent, and read when everybody else has read it", async (t) => {
  const { server, client } = await fixture(t);
  server.addChannel("c", ["alice", "bob", "carol"]);
  const alice = await client().started();
  await alice.client.send("c", "hello");
  await until(() => alice.entries.length === 1);
  const stopWatching = alice.client.watch("c");
  const state = () => alice.client.messageState(alice.entries[0]!);
  assert.equal(state(), "sent");
  server.channels.get("c")!.members.set("bob", 1);
  await until(() => alice.client.receiptsOf("c").some(({ readSeq }) => readSeq === 1));
  assert.equal(state(), "sent", "carol has not");
  server.channels.get("c")!.members.set("carol", 1);
  await until(() => state() === "read");
  stopWatching();
});

test("delivered is shown from the moment the server tells it, and not before", async (t) => {
  const { server, client } = await fixture(t);
  server.addChannel("c", ["alice", "bob"]);
  const alice = await client().started();
  await alice.client.calls.members("c");
  const entry = server.post("c", "alice", "hello");
  assert.equal(alice.client.messageState(entry), "sent");
  server.send({ type: "delivered", channelId: "c", userId: "bob", deliveredSeq: 1 });
  await until(() => alice.client.messageState(entry) === "delivered");
  server.send({ type: "read", channelId: "c", userId: "bob", readSeq: 1 });
  await until(() => alice.client.messageState(entry) === "read");
});

test("reading moves the cursor forward only, with few calls", async (t) => {
  const { server, client } = await fixture(t);
  server.addChannel("c", ["alice", "bob"], 9);
  const alice = await client().started();
  const told: number[] = [];
  alice.client.on("read", ({ readSeq }) => told.push(readSeq));
  for (const seq of [1, 2, 3, 9, 4]) alice.client.markRead("c", seq);
  await until(() => told.length > 0);
  assert.deepEqual(told, [9]);
  assert.equal(server.callsTo("/channels/c/read").length, 1);
});
