import { Acks } from "./acks.ts";
import { Calls } from "./calls.ts";
import { CatchUp } from "./catch_up.ts";
import { Connection } from "./connection.ts";
import { Emitter } from "./emitter.ts";
import { isLoopback } from "./environment.ts";
import { Inbox } from "./inbox.ts";
import { KeptCursors } from "./kept_cursors.ts";
import { newMessageId } from "./message_id.ts";
import type { Channel, Entry } from "./openapi.ts";
import { type NaruOptions, type ResolvedOptions, resolve } from "./options.ts";
import { type Draft, Outbox } from "./outbox.ts";
import { asNaruError, NaruError } from "./problem.ts";
import { ReadMarks } from "./read_marks.ts";
import { Receipts } from "./receipts.ts";
import { Rest } from "./rest.ts";
import { Resume } from "./resume.ts";
import type { ServerFrame, Session } from "./session.ts";
import { Tokens } from "./tokens.ts";
import type { ConnectionState, EphemeralFrame, MessageState, OutboxItem, Receipt } from "./types.ts";

export interface NaruEvents {
  state: ConnectionState;
  /** The user's channels at the start, latest activity first. */
  channels: Channel[];
  channelAdded: Channel;
  channelRemoved: { channelId: string };
  /** The next entries of a channel: in order of `seq`, none twice, none left out. */
  entries: { channelId: string; entries: Entry[] };
  /** After each connect, when everything that was missed has come. */
  caughtUp: undefined;
  outbox: OutboxItem[];
  /** Somebody has got or read more of this channel. */
  receipts: { channelId: string };
  /** The user's own read cursor has moved. */
  read: { channelId: string; readSeq: number };
  ephemeral: EphemeralFrame;
  error: NaruError;
}

/** Coming back to the app asks whether something went unnoticed, this often at most. */
const REFRESH_MS = 30_000;

/** One user's chat with one Naru server. */
export class NaruClient {
  readonly userId: string;
  /** REST calls by name. */
  readonly calls: Calls;
  readonly #emitter = new Emitter<NaruEvents>();
  readonly #options: ResolvedOptions;
  readonly #inbox: Inbox;
  readonly #resume: Resume;
  readonly #catchUp: CatchUp;
  readonly #connection: Connection;
  readonly #outbox: Outbox;
  readonly #acks: Acks;
  readonly #receipts: Receipts;
  readonly #readMarks: ReadMarks;
  readonly #keptCursors: KeptCursors | undefined;
  #state: ConnectionState = { phase: "offline", reason: "stopped" };
  #lastError: NaruError | undefined;
  #isStarted = false;
  #unsubscribe: (() => void) | undefined;
  #refreshedAtMs = 0;

  constructor(options: NaruOptions) {
    this.#options = resolve(options);
    const { baseUrl, userId, clock, random, storage, environment, WebSocket, startAt } = this.#options;
    this.userId = userId;
    const tokens = new Tokens(this.#options.token, userId, clock);
    const error = (problem: NaruError) => this.#fail(problem);
    const rest = new Rest(baseUrl, this.#options.fetch, tokens, clock);
    this.#inbox = new Inbox(clock, {
      entries: (channelId, entries) => this.#pass(channelId, entries),
      gap: (channelId) => this.#catchUp.fill(channelId),
      stranger: (channelId) => this.#catchUp.meet(channelId),
    });
    this.#resume = new Resume(clock);
    this.#catchUp = new CatchUp(
      { rest, inbox: this.#inbox, resume: this.#resume, clock, random, startAt },
      {
        channels: (channels) => {
          // The device has the list with its counts and last messages; what is read needs no ack.
          for (const { id, lastSeq, unreadCount } of channels) if (unreadCount > 0) this.#acks.note(id, lastSeq);
          this.#emitter.emit("channels", channels);
        },
        channelAdded: (channel) => this.#emitter.emit("channelAdded", channel),
        channelRemoved: (channelId) => this.#forget(channelId),
        error,
      },
    );
    this.#connection = new Connection(
      { baseUrl, rest, tokens, clock, random, WebSocket, environment, needsNetwork: !isLoopback(baseUrl) },
      {
        state: (state) => this.#become(state),
        ready: (session) => void this.#began(session),
        frame: (frame) => this.#hear(frame),
        error,
      },
    );
    this.#outbox = new Outbox(
      { rest, storage, clock, random, maxItems: this.#options.maxOutboxItems },
      {
        changed: () => this.#emitter.emit("outbox", this.#outbox.items),
        stored: (_item, entry) => this.#stored(entry),
        error,
      },
    );
    this.#acks = new Acks(clock, () => this.#connection.session);
    this.#receipts = new Receipts(rest, clock, userId, () => environment.isHidden() || !this.#connection.session, {
      changed: (channelId) => this.#emitter.emit("receipts", { channelId }),
      error,
    });
    this.#readMarks = new ReadMarks(rest, clock, {
      marked: (channelId, readSeq) => this.#emitter.emit("read", { channelId, readSeq }),
      error,
    });
    this.calls = new Calls(rest, userId, {
      opened: (channel) => this.#opened(channel),
      left: (channelId) => this.#leave(channelId),
      readMembers: (channelId, members) => this.#receipts.take(channelId, members),
      readEntries: (channelId, page) => this.#receipts.note(channelId, page.entries),
    });
    if (this.#options.cursors === "kept") this.#keptCursors = new KeptCursors(storage, clock, error);
  }

  on<Name extends keyof NaruEvents>(name: Name, listener: (payload: NaruEvents[Name]) => void): () => void {
    return this.#emitter.on(name, listener);
  }

  get state(): ConnectionState {
    return this.#state;
  }

  get lastError(): NaruError | undefined {
    return this.#lastError;
  }

  /** What waits, is on its way or has failed, in the order in which it was written. */
  get outbox(): OutboxItem[] {
    return this.#outbox.items;
  }

  /** Up to where everything of this channel has come; `undefined` for a channel that is not known. */
  cursorOf(channelId: string): number | undefined {
    return this.#inbox.cursorOf(channelId);
  }

  /** Restores what an earlier run has left and connects. Listeners should be there before. Once in a client's life. */
  async start(): Promise<void> {
    if (this.#isStarted) return;
    this.#isStarted = true;
    try {
      const { outbox, cursors } = await this.#options.storage.load();
      this.#outbox.restore(outbox);
      if (this.#keptCursors) for (const [channelId, seq] of Object.entries(cursors)) this.#inbox.adopt(channelId, seq);
    } catch (cause) {
      this.#fail(new NaruError("storage", "What an earlier run has left could not be read.", { cause }));
    }
    if (!this.#isStarted) return;
    const { environment, backgroundWhenHidden } = this.#options;
    this.#unsubscribe = environment.subscribe({
      woke: () => this.#woke(),
      changed: () => backgroundWhenHidden && this.#connection.setBackground(environment.isHidden()),
    });
    if (backgroundWhenHidden && environment.isHidden()) this.#connection.setBackground(true);
    void this.#catchUp.start();
    this.#connection.start();
    this.#outbox.start();
  }

  /** Ends the session and everything that is planned. The outbox keeps what is in it. */
  async stop(): Promise<void> {
    this.#isStarted = false;
    this.#unsubscribe?.();
    this.#resume.abandon();
    this.#catchUp.stop();
    this.#acks.flush();
    this.#connection.stop();
    this.#outbox.stop();
    this.#inbox.close();
    this.#receipts.close();
    this.#readMarks.close();
    this.#acks.close();
    await this.#keptCursors?.flush();
    this.#options.storage.close();
  }

  /** Does not wait for the next try. */
  tryNow(): void {
    this.#connection.tryNow();
    this.#catchUp.tryNow();
    this.#outbox.tryNow();
  }

  /** For platforms without a visible or hidden page: whether the app is in the background. */
  setBackground(isBackground: boolean): void {
    this.#connection.setBackground(isBackground);
    if (!isBackground) this.#woke();
  }

  /** Resolves when the message would survive a reload. What becomes of it: `outbox` and then `entries`. */
  send(channelId: string, content: string, draft: Draft = {}): Promise<OutboxItem> {
    return this.#outbox.add(channelId, content, draft, newMessageId());
  }

  /** A failed message once more. */
  retry(clientMessageId: string): Promise<void> {
    return this.#outbox.retry(clientMessageId, newMessageId());
  }

  /** Forgets a message that waits or has failed. */
  discard(clientMessageId: string): Promise<void> {
    return this.#outbox.discard(clientMessageId);
  }

  /** Of an own message that the server has stored. */
  messageState(entry: Entry): MessageState {
    return this.#receipts.stateOf(entry);
  }

  receiptsOf(channelId: string): Receipt[] {
    return this.#receipts.of(channelId);
  }

  /** Keeps an eye on who has read what in a channel, until the returned function is called. */
  watch(channelId: string): () => void {
    return this.#receipts.watch(channelId);
  }

  markRead(channelId: string, seq: number): void {
    this.#readMarks.mark(channelId, seq);
  }

  #opened(channel: Channel): void {
    if (this.#inbox.cursorOf(channel.id) === undefined) this.#emitter.emit("channelAdded", channel);
    this.#inbox.adopt(channel.id, channel.lastSeq);
  }

  #leave(channelId: string): void {
    if (this.#inbox.cursorOf(channelId) === undefined) return;
    this.#inbox.forget(channelId);
    this.#forget(channelId);
  }

  #become(state: ConnectionState): void {
    this.#state = state;
    if (state.phase !== "online") this.#resume.abandon();
    this.#emitter.emit("state", state);
  }

  async #began(session: Session): Promise<void> {
    const { sessionId, gatewayId } = session.ready ?? { sessionId: "", gatewayId: "" };
    // First, as its `resume` has to be the session's first frame.
    const catchingUp = this.#catchUp.afterConnect(session);
    this.#become({ phase: "online", sessionId, gatewayId, isCaughtUp: false });
    this.#catchUp.tryNow();
    this.#outbox.tryNow();
    this.#readMarks.retry();
    this.#receipts.refresh();
    this.#acks.flush();
    const isCaughtUp = await catchingUp;
    if (!isCaughtUp || this.#connection.session !== session) return;
    this.#refreshedAtMs = this.#options.clock.now();
    this.#become({ phase: "online", sessionId, gatewayId, isCaughtUp: true });
    this.#emitter.emit("caughtUp", undefined);
  }

  #hear(frame: ServerFrame | { type: string }): void {
    // A `resume` that is refused is no fault: sync has the entries too.
    if (this.#resume.hear(frame)) return;
    if ("seq" in frame && "channelId" in frame) {
      const entry = frame as unknown as Entry;
      this.#inbox.offer(entry.channelId, [entry]);
    } else if (frame.type === "error") {
      this.#fail(new NaruError("session", (frame as { detail: string }).detail));
    } else if (frame.type !== "resumed" && frame.type !== "draining") {
      this.#receipts.hear(frame as EphemeralFrame);
      this.#emitter.emit("ephemeral", frame as EphemeralFrame);
    }
  }

  /** Entries on their way to the application. */
  #pass(channelId: string, entries: Entry[]): void {
    const last = entries.at(-1)?.seq ?? 0;
    // First, so that nobody sees a message twice: once as waiting and once as stored.
    this.#outbox.settle(entries);
    this.#receipts.note(channelId, entries);
    this.#emitter.emit("entries", { channelId, entries });
    this.#acks.note(channelId, last);
    this.#keptCursors?.note(channelId, last);
  }

  #stored(entry: Entry): void {
    this.#inbox.offer(entry.channelId, [entry]);
    // An earlier try had stored it and its entry has passed already.
    if ((this.#inbox.cursorOf(entry.channelId) ?? 0) >= entry.seq) this.#outbox.settle([entry]);
  }

  #woke(): void {
    this.tryNow();
    const nowMs = this.#options.clock.now();
    if (!this.#connection.session || nowMs - this.#refreshedAtMs < REFRESH_MS) return;
    this.#refreshedAtMs = nowMs;
    this.#receipts.refresh();
    void this.#catchUp.refresh();
  }

  #forget(channelId: string): void {
    this.#acks.forget(channelId);
    this.#receipts.forget(channelId);
    this.#readMarks.forget(channelId);
    this.#keptCursors?.note(channelId, null);
    this.#outbox.abandon(channelId);
    this.#emitter.emit("channelRemoved", { channelId });
  }

  #fail(error: unknown): void {
    this.#lastError = asNaruError(error);
    this.#emitter.emit("error", this.#lastError);
  }
}
