// A small Naru in memory, with real sockets and with whatever trouble a test asks for.
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { WebSocket, WebSocketServer } from "ws";
import type { Entry } from "../src/index.ts";
import { makeToken } from "./tokens.ts";

interface FakeChannel {
  id: string;
  members: Map<string, number>;
  entries: Entry[];
}

export interface Seen {
  method: string;
  path: string;
  userId: string;
  token: string;
  body: never;
}

type Answer = { status: number; body?: unknown; headers?: Record<string, string> };
type Rule = (seen: Seen) => Answer | "drop" | "storeAndDrop" | undefined;

export class FakeServer {
  readonly channels = new Map<string, FakeChannel>();
  /** Every REST call, in order. */
  readonly seen: Seen[] = [];
  /** Every frame from clients, in order. */
  readonly frames: Array<{ type: string } & Record<string, unknown>> = [];
  /** Looked at before the call is served; the first that answers wins. */
  readonly rules: Rule[] = [];
  resumes = false;
  /** The next `resume` is answered with this error instead. */
  resumeError: { code: string; detail: string } | undefined;
  /** Who is further behind has to resync. */
  resumeLimit = 1_000;
  /** Runs before `resumed`, after the entries. */
  duringResume: (() => void) | undefined;
  socketPath = "/ws";
  refusedTokens = new Set<string>();
  connects = 0;
  /** Up to here nothing is kept of any channel. */
  removedSeq = 0;
  /** Runs between reading the log for `/sync` and answering. */
  duringSync: (() => Promise<void> | void) | undefined;
  pageLimit = 200;
  readonly #http = createServer((request, response) => void this.#serve(request, response));
  readonly #ws = new WebSocketServer({ noServer: true });
  readonly sockets = new Map<WebSocket, string>();
  readonly #tickets = new Map<string, string>();

  static async start(): Promise<FakeServer> {
    const server = new FakeServer();
    server.#http.on("upgrade", (request, socket, head) => {
      const ticket = new URL(request.url ?? "", "http://x").searchParams.get("ticket") ?? "";
      const userId = server.#tickets.get(ticket);
      if (!server.#tickets.delete(ticket) || !userId) return socket.destroy();
      server.#ws.handleUpgrade(request, socket, head, (client) => server.#welcome(client, userId));
    });
    await new Promise<void>((resolve) => server.#http.listen(0, "127.0.0.1", resolve));
    return server;
  }

  get url(): string {
    return `http://127.0.0.1:${(this.#http.address() as AddressInfo).port}`;
  }

  async stop(): Promise<void> {
    for (const socket of this.#ws.clients) socket.terminate();
    this.#http.closeAllConnections();
    await new Promise((resolve) => this.#http.close(resolve));
  }

  addChannel(id: string, members: string[], messages = 0): void {
    this.channels.set(id, { id, members: new Map(members.map((userId) => [userId, 0])), entries: [] });
    for (let at = 1; at <= messages; at += 1) this.store(id, members.at(-1) ?? "", `old ${at}`);
  }

  /** Stores without delivering. */
  store(channelId: string, senderId: string, content: string, clientMessageId?: string): Entry {
    const channel = this.channels.get(channelId);
    if (!channel) throw new Error("no such channel");
    const seq = channel.entries.length + 1;
    const createdAt = new Date(1_800_000_000_000 + seq).toISOString();
    const about = { type: "message", id: `${channelId}-${seq}`, channelId, seq, senderId, createdAt };
    const entry = { ...about, kind: "text", content, ...(clientMessageId ? { clientMessageId } : {}) };
    channel.entries.push(entry);
    return entry;
  }

  /** To every session of a participant. */
  deliver(...entries: Entry[]): void {
    for (const entry of entries) {
      for (const [socket, userId] of this.sockets) {
        if (this.channels.get(entry.channelId)?.members.has(userId)) socket.send(JSON.stringify(entry));
      }
    }
  }

  post(channelId: string, senderId: string, content: string): Entry {
    const entry = this.store(channelId, senderId, content);
    this.deliver(entry);
    return entry;
  }

  send(frame: object): void {
    for (const socket of this.sockets.keys()) socket.send(JSON.stringify(frame));
  }

  closeAll(code: number): void {
    for (const socket of this.sockets.keys()) socket.close(code);
    this.sockets.clear();
  }

  callsTo(path: string): Seen[] {
    return this.seen.filter((one) => one.path === path);
  }

  #welcome(socket: WebSocket, userId: string): void {
    this.connects += 1;
    this.sockets.set(socket, userId);
    socket.on("close", () => this.sockets.delete(socket));
    socket.on("message", (data) => {
      const frame = JSON.parse(String(data)) as { type: string; cursors?: Record<string, number> };
      this.frames.push(frame);
      if (frame.type === "ping") socket.send('{"type":"pong"}');
      if (frame.type === "resume") this.#resume(socket, userId, frame.cursors ?? {});
    });
    const sessionId = `s${this.connects}`;
    socket.send(JSON.stringify({ type: "ready", sessionId, userId, gatewayId: "g1", pingIntervalMs: 25_000 }));
  }

  #resume(socket: WebSocket, userId: string, cursors: Record<string, number>): void {
    if (!this.resumes) {
      const detail = "This gateway does not resume: fetch what you missed by POST /sync.";
      return socket.send(JSON.stringify({ type: "error", code: "invalid_request", detail }));
    }
    const error = this.resumeError;
    this.resumeError = undefined;
    if (error) return socket.send(JSON.stringify({ type: "error", ...error }));
    const channels: Record<string, number> = {};
    const resyncRequired: string[] = [];
    const mine = [...this.channels.values()].filter((channel) => channel.members.has(userId));
    for (const channel of mine.filter((one) => one.id in cursors)) {
      const missed = channel.entries.slice(cursors[channel.id]);
      if (missed.length > this.resumeLimit) {
        resyncRequired.push(channel.id);
        continue;
      }
      for (const entry of missed) socket.send(JSON.stringify(entry));
      channels[channel.id] = channel.entries.length;
    }
    const newChannels = mine.map((channel) => channel.id).filter((id) => !(id in cursors));
    this.duringResume?.();
    socket.send(JSON.stringify({ type: "resumed", channels, resyncRequired, newChannels }));
  }

  async #serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    let text = "";
    for await (const chunk of request) text += chunk;
    const { pathname: path, searchParams } = new URL(request.url ?? "", this.url);
    const token = (request.headers.authorization ?? "").replace("Bearer ", "");
    const userId = makeToken.read(token);
    const body = (text ? JSON.parse(text) : undefined) as never;
    const seen: Seen = { method: request.method ?? "", path, userId, token, body };
    this.seen.push(seen);
    const ruled = this.rules.map((rule) => rule(seen)).find((answer) => answer !== undefined);
    if (ruled === "drop") return void request.socket.destroy();
    const answer = typeof ruled === "object" ? ruled : await this.#answer(seen, searchParams);
    if (ruled === "storeAndDrop") return void request.socket.destroy();
    response.writeHead(answer.status, { "content-type": "application/json", ...answer.headers });
    response.end(answer.body === undefined ? undefined : JSON.stringify(answer.body));
  }

  async #answer({ method, path, userId, token, body }: Seen, query: URLSearchParams): Promise<Answer> {
    if (this.refusedTokens.has(token)) return problem(401, "unauthorized");
    const mine = [...this.channels.values()].filter((channel) => channel.members.has(userId));
    const [, , channelId = "", part] = path.split("/");
    const channel = mine.find((one) => one.id === channelId);
    if (path === "/connect") {
      const ticket = `t${Math.random()}`;
      this.#tickets.set(ticket, userId);
      const url = this.socketPath.startsWith("/") ? this.socketPath : `${this.url.replace("http", "ws")}/ws`;
      return { status: 200, body: { url, ticket, expiresAt: "", gateway: "g1" } };
    }
    if (path === "/sync") return this.#sync(mine, body);
    if (path === "/send/message") return this.#send(mine, userId, body);
    if (path === "/channels") return { status: 200, body: { channels: mine.map((one) => view(one, userId)) } };
    if (!channel) return problem(404, "channel_not_found");
    if (part === undefined) return { status: 200, body: view(channel, userId) };
    if (part === "members") {
      const about = { role: "member", joinedAt: "", deliveredSeq: 0 };
      const members = [...channel.members].map(([id, readSeq]) => ({ userId: id, ...about, readSeq }));
      return { status: 200, body: { members } };
    }
    if (part === "read") {
      channel.members.set(userId, Math.max((body as { seq: number }).seq, channel.members.get(userId) ?? 0));
      return { status: 200, body: { readSeq: channel.members.get(userId) } };
    }
    if (part === "messages" && method === "GET") {
      const limit = Number(query.get("limit") ?? 50);
      return { status: 200, body: { entries: channel.entries.slice(-limit), hasMore: channel.entries.length > limit } };
    }
    return problem(404, "not_found");
  }

  async #sync(mine: FakeChannel[], body: { channels: Record<string, number> }): Promise<Answer> {
    const channels: Record<string, unknown> = {};
    for (const channel of mine.filter((one) => one.id in body.channels)) {
      const cursor = body.channels[channel.id] ?? 0;
      const removedSeq = cursor < this.removedSeq ? this.removedSeq : undefined;
      const after = channel.entries.slice(Math.max(cursor, this.removedSeq));
      const hasMore = after.length > this.pageLimit;
      channels[channel.id] = { entries: after.slice(0, this.pageLimit), hasMore, removedSeq };
    }
    const newChannels = mine.map((channel) => channel.id).filter((id) => !(id in body.channels));
    await this.duringSync?.();
    return { status: 200, body: { channels, newChannels } };
  }

  #send(
    mine: FakeChannel[],
    userId: string,
    body: { channelId: string; content: string; clientMessageId?: string },
  ): Answer {
    const channel = mine.find((one) => one.id === body.channelId);
    if (!channel) return problem(404, "channel_not_found");
    const { clientMessageId, content } = body;
    const first = channel.entries.find((one) => one.senderId === userId && one.clientMessageId === clientMessageId);
    if (first && first.content !== content) return problem(409, "conflict");
    if (first) return { status: 200, body: { ...first, deduplicated: true } };
    const entry = this.store(channel.id, userId, content, clientMessageId);
    setImmediate(() => this.deliver(entry));
    return { status: 201, body: entry };
  }
}

function view({ id, members, entries }: FakeChannel, userId: string) {
  const readSeq = members.get(userId) ?? 0;
  const counts = { lastSeq: entries.length, readSeq, unreadCount: 0, memberCount: members.size };
  return { id, kind: "group", name: null, ...counts, updatedAt: "" };
}

export function problem(status: number, code: string, headers: Record<string, string> = {}): Answer {
  return { status, body: { type: "about:blank", title: code, status, detail: code, code, requestId: "r" }, headers };
}
