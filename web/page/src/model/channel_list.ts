import { type Channel, type Entry, isMessage } from "@naru/client";

/** The user's channels, kept up to date by entries instead of by asking again. */
export class ChannelList {
  readonly #channels = new Map<string, Channel>();
  isLoaded = false;

  constructor(private readonly userId: string) {}

  /** Latest activity first. */
  get sorted(): Channel[] {
    return [...this.#channels.values()].sort((one, other) => (one.updatedAt < other.updatedAt ? 1 : -1));
  }

  get(channelId: string): Channel | undefined {
    return this.#channels.get(channelId);
  }

  get unreadCount(): number {
    return [...this.#channels.values()].reduce((sum, channel) => sum + channel.unreadCount, 0);
  }

  put(channel: Channel): void {
    // What entries have told meanwhile is newer than an answer that was on its way.
    const known = this.#channels.get(channel.id);
    if (!known || known.lastSeq <= channel.lastSeq) this.#channels.set(channel.id, channel);
  }

  remove(channelId: string): void {
    this.#channels.delete(channelId);
  }

  apply(channelId: string, entries: Entry[]): void {
    const known = this.#channels.get(channelId);
    if (!known) return;
    const channel = { ...known };
    for (const entry of entries) {
      if (entry.seq <= known.lastSeq) continue;
      channel.lastSeq = entry.seq;
      channel.updatedAt = entry.createdAt;
      if (isMessage(entry)) {
        channel.lastMessage = entry;
        if (entry.senderId !== this.userId && entry.seq > channel.readSeq) channel.unreadCount += 1;
      }
      if (entry.type === "channelRenamed") channel.name = entry.name ?? null;
      if (entry.type === "memberJoined") channel.memberCount += entry.userIds?.length ?? 0;
      if (entry.type === "memberLeft") channel.memberCount -= entry.userIds?.length ?? 0;
    }
    this.#channels.set(channelId, channel);
  }

  /** The user has read up to here, in this tab or by the server's word. */
  read(channelId: string, seq: number): void {
    const known = this.#channels.get(channelId);
    if (!known || seq <= known.readSeq) return;
    // Between the two nobody knows how many there are without counting; a reader of everything has none left.
    const unreadCount = seq >= known.lastSeq ? 0 : known.unreadCount;
    this.#channels.set(channelId, { ...known, readSeq: seq, unreadCount });
  }
}
