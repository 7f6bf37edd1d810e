import { type Channel, type ConnectionState, type Entry, isMessage, NaruClient, type OutboxItem } from "@naru/client";
import { type Account, tokenCallback } from "./account.ts";
import { ChannelList } from "./channel_list.ts";
import { ChannelWindow } from "./channel_window.ts";
import { Peers } from "./peers.ts";
import { Store } from "./store.ts";

/** Everything that the chat shows, from one client. */
export class ChatModel extends Store {
  readonly client: NaruClient;
  readonly channels: ChannelList;
  readonly peers: Peers;
  state: ConnectionState = { phase: "connecting" };
  outbox: OutboxItem[] = [];
  /** What a screen reader is to say next. */
  announcement = "";
  /** First entry of others that came while nobody looked, by channel. */
  readonly unreadFrom = new Map<string, number>();
  /** Counts up when the members of a channel may have changed. */
  readonly membersVersion = new Map<string, number>();
  readonly #windows = new Map<string, ChannelWindow>();
  #openId: string | undefined;
  #unwatch: (() => void) | undefined;

  constructor(account: Account) {
    super();
    // Nothing is kept but the outbox: after a reload the page reads what it shows anew.
    this.client = new NaruClient({ userId: account.userId, token: tokenCallback(account), cursors: "fresh" });
    this.channels = new ChannelList(account.userId);
    this.peers = new Peers(this.client, () => this.changed());
    this.client.on("state", (state) => this.#set(() => (this.state = state)));
    this.client.on("outbox", (items) => this.#set(() => (this.outbox = items)));
    this.client.on("receipts", () => this.changed());
    this.client.on("channels", (channels) => this.#set(() => this.#take(channels)));
    this.client.on("caughtUp", () => this.#openId !== undefined && this.#windows.get(this.#openId)?.fill());
    this.client.on("channelAdded", (channel) => this.#set(() => this.#take([channel])));
    this.client.on("channelRemoved", ({ channelId }) => this.#set(() => this.#remove(channelId)));
    this.client.on("entries", ({ channelId, entries }) => this.#set(() => this.#receive(channelId, entries)));
    this.client.on("read", ({ channelId, readSeq }) => this.#set(() => this.channels.read(channelId, readSeq)));
    void this.client.start();
  }

  get userId(): string {
    return this.client.userId;
  }

  nameOf(channel: Channel): string {
    if (channel.kind === "direct") return this.peers.of(channel.id) ?? "…";
    return channel.name ?? `Group of ${channel.memberCount}`;
  }

  windowOf(channelId: string): ChannelWindow | undefined {
    return this.#windows.get(channelId);
  }

  /** This channel is looked at from now on, and no other. */
  open(channelId: string | undefined): void {
    if (channelId === this.#openId) return;
    this.#unwatch?.();
    this.#unwatch = undefined;
    if (this.#openId !== undefined) this.#windows.delete(this.#openId);
    this.#openId = channelId;
    if (channelId === undefined) return;
    this.unreadFrom.delete(channelId);
    this.#setUnreadMark(this.channels.get(channelId));
    this.#unwatch = this.client.watch(channelId);
    this.#windows.set(channelId, new ChannelWindow(this.client, channelId, () => this.changed()));
    this.changed();
  }

  /** Somebody has seen everything up to here. */
  markRead(channelId: string, seq: number): void {
    if (seq <= (this.channels.get(channelId)?.readSeq ?? 0)) return;
    this.client.markRead(channelId, seq);
    this.#set(() => this.channels.read(channelId, seq));
  }

  send(channelId: string, content: string): void {
    this.unreadFrom.delete(channelId);
    this.client.send(channelId, content).catch((error: Error) => this.announce(error.message));
  }

  announce(text: string): void {
    this.#set(() => (this.announcement = text));
  }

  async openChannel(kind: Channel["kind"], memberIds: string[], name?: string): Promise<Channel> {
    const channel = await this.client.calls.createChannel(kind, memberIds, name);
    if (kind === "direct" && memberIds[0]) this.peers.note(channel.id, memberIds[0]);
    this.#set(() => this.#take([channel]));
    return channel;
  }

  close(): void {
    this.#unwatch?.();
    void this.client.stop();
  }

  #set(change: () => void): void {
    change();
    this.changed();
  }

  #take(channels: Channel[]): void {
    this.channels.isLoaded = true;
    for (const channel of channels) {
      // After a reload the channel is open before it is known.
      if (channel.id === this.#openId && !this.channels.get(channel.id)) this.#setUnreadMark(channel);
      this.channels.put(channel);
      this.peers.want(channel);
    }
  }

  #setUnreadMark(channel: Channel | undefined): void {
    if (channel && channel.unreadCount > 0) this.unreadFrom.set(channel.id, channel.readSeq + 1);
  }

  #remove(channelId: string): void {
    this.channels.remove(channelId);
    this.#windows.delete(channelId);
  }

  #receive(channelId: string, entries: Entry[]): void {
    this.channels.apply(channelId, entries);
    this.#windows.get(channelId)?.append(entries);
    const isSeen = channelId === this.#openId && document.hasFocus() && document.visibilityState === "visible";
    const ofOthers = entries.filter((entry) => isMessage(entry) && entry.senderId !== this.userId);
    const first = ofOthers[0];
    const readSeq = this.channels.get(channelId)?.readSeq ?? 0;
    if (!isSeen && first && (this.unreadFrom.get(channelId) ?? 0) <= readSeq) this.unreadFrom.set(channelId, first.seq);
    if (entries.some(({ type }) => type === "memberJoined" || type === "memberLeft")) {
      this.membersVersion.set(channelId, (this.membersVersion.get(channelId) ?? 0) + 1);
    }
    this.#say(channelId, ofOthers);
  }

  /** One sentence, however many have come: a screen reader that reads a flood aloud is switched off. */
  #say(channelId: string, ofOthers: Entry[]): void {
    const last = ofOthers.at(-1);
    const channel = this.channels.get(channelId);
    if (!last || !channel) return;
    const where = channelId === this.#openId ? "" : ` in ${this.nameOf(channel)}`;
    this.announcement =
      ofOthers.length === 1
        ? `${last.senderId}${channel.kind === "group" ? where : ""}: ${last.content ?? ""}`
        : `${ofOthers.length} new messages${where}`;
  }
}
