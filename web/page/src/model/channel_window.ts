import type { Entry, NaruClient } from "@naru/client";

const PAGE = 50;
/** While somebody reads the newest, older ones beyond this are let go; scrolling up brings them back. */
const MAX_AT_END = 300;

/** The part of a channel's log that is shown: gapless, from some entry up to the newest. */
export class ChannelWindow {
  entries: Entry[] = [];
  state: "loading" | "ready" | "failed" = "loading";
  isLoadingOlder = false;
  /** What came live before what stands before it was read; merged with that. */
  #early: Entry[] = [];
  #isFilling = false;

  constructor(
    private readonly client: NaruClient,
    private readonly channelId: string,
    private readonly changed: () => void,
  ) {
    void this.load();
  }

  get firstSeq(): number {
    return this.entries[0]?.seq ?? 0;
  }

  get lastSeq(): number {
    return this.entries.at(-1)?.seq ?? 0;
  }

  get hasOlder(): boolean {
    return this.firstSeq > 1;
  }

  async load(): Promise<void> {
    this.state = "loading";
    this.changed();
    try {
      const { entries } = await this.client.calls.history(this.channelId, { limit: PAGE });
      this.entries = newestGapless([...entries, ...this.#early]);
      this.#early = [];
      this.state = "ready";
    } catch {
      this.state = "failed";
    }
    this.changed();
    this.fill();
  }

  /**
   * Reads what lies between this window and the client's cursor. The client tells what comes after its cursor, and a
   * page that was read before the cursor was set can end before it.
   */
  fill(): void {
    const isBehind = this.#early.length > 0 || (this.client.cursorOf(this.channelId) ?? 0) > this.lastSeq;
    if (this.state === "ready" && isBehind && !this.#isFilling) void this.#fill();
  }

  async #fill(): Promise<void> {
    this.#isFilling = true;
    try {
      let hasMore = true;
      while (hasMore) {
        const page = await this.client.calls.history(this.channelId, { afterSeq: this.lastSeq, limit: 200 });
        this.entries = newestGapless([...this.entries, ...page.entries]);
        hasMore = page.hasMore && page.entries.length > 0;
      }
      this.entries = newestGapless([...this.entries, ...this.#early]);
      this.#early = [];
    } catch {
      this.state = "failed";
    }
    this.#isFilling = false;
    this.changed();
  }

  async loadOlder(): Promise<void> {
    if (this.isLoadingOlder || this.state !== "ready" || !this.hasOlder) return;
    this.isLoadingOlder = true;
    this.changed();
    try {
      const page = await this.client.calls.history(this.channelId, { beforeSeq: this.firstSeq, limit: PAGE });
      this.entries = newestGapless([...page.entries, ...this.entries]);
    } catch {
      // The next scroll tries again; the line at the top says that the connection is lost.
    }
    this.isLoadingOlder = false;
    this.changed();
  }

  /** The next entries, from the client: in order, and gapless among themselves. */
  append(entries: Entry[]): void {
    const isNext = (entries[0]?.seq ?? 0) <= this.lastSeq + 1;
    if (this.state === "ready" && isNext && !this.#isFilling) {
      const last = this.lastSeq;
      this.entries = [...this.entries, ...entries.filter(({ seq }) => seq > last)];
    } else {
      this.#early = [...this.#early, ...entries].slice(-MAX_AT_END);
      this.fill();
    }
  }

  trim(): void {
    if (this.entries.length > MAX_AT_END) this.entries = this.entries.slice(-MAX_AT_END);
  }
}

function newestGapless(entries: Entry[]): Entry[] {
  const bySeq = new Map(entries.map((entry) => [entry.seq, entry]));
  const sorted = [...bySeq.values()].sort((one, other) => one.seq - other.seq);
  let start = sorted.length - 1;
  while (start > 0 && sorted[start - 1]?.seq === (sorted[start]?.seq ?? 0) - 1) start -= 1;
  return sorted.slice(Math.max(start, 0));
}
