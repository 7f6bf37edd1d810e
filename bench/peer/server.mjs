// One of two Socket.IO servers joined by the Redis adapter: `gateway` has the sockets, `publisher` emits.
//
// node server.mjs ROLE PORT REDIS_URL

import { createServer } from "node:http";

import { createAdapter } from "@socket.io/redis-adapter";
import { createClient } from "redis";
import { Server } from "socket.io";

const [role, port, redisUrl] = process.argv.slice(2);
// An hour: the bench's sockets answer no heartbeats, and a measurement has none in it.
const NO_HEARTBEAT = 3_600_000;

const publishing = createClient({ url: redisUrl });
const subscribing = publishing.duplicate();
await Promise.all([publishing.connect(), subscribing.connect()]);

const http = createServer();
const io = new Server(http, {
  adapter: createAdapter(publishing, subscribing),
  transports: ["websocket"],
  serveClient: false,
  pingInterval: NO_HEARTBEAT,
  pingTimeout: NO_HEARTBEAT,
});

// A socket is in the one room that its URL names.
io.on("connection", (socket) => {
  socket.join(socket.handshake.query.room);
  socket.emit("ready");
});

// `POST /emit {rooms, entries, content}`: so many entries to each of these rooms, one after the other, as many events.
if (role === "publisher") {
  const lastSeqs = new Map();
  const emit = ({ rooms, entries, content }) => {
    for (let entry = 0; entry < entries; entry++) {
      for (const room of rooms) {
        const seq = (lastSeqs.get(room) ?? 0) + 1;
        lastSeqs.set(room, seq);
        io.to(room).emit("message", {
          type: "message",
          id: "00000000-0000-0000-0000-000000000000",
          channelId: "00000000-0000-0000-0000-000000000000",
          seq,
          senderId: "bench-0000000",
          createdAt: "2026-01-01T00:00:00.000Z",
          kind: "text",
          content,
          clientMessageId: `m-0000-000000-${String(seq).padStart(10, "0")}`,
        });
      }
    }
  };
  http.on("request", async (request, response) => {
    if (request.url !== "/emit") return;
    const chunks = [];
    for await (const chunk of request) chunks.push(chunk);
    emit(JSON.parse(Buffer.concat(chunks)));
    response.writeHead(204).end();
  });
}

// On the connection of the adapter's subscriptions, so these are there when this one is.
await subscribing.subscribe("naru-bench-ready", () => {});
http.listen(Number(port), "127.0.0.1");
