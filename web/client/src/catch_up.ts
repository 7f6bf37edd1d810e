import { Backoff } from "./backoff.ts";
import { type Clock, Nudge } from "./clock.ts";
import type { Inbox } from "./inbox.ts";
import type { Channel } from "./openapi.ts";
import { asNaruError, NaruError } from "./problem.ts";
import type { Rest } from "./rest.ts";
import type { Resume } from "./resume.ts";
import type { Session } from "./session.ts";
import { sync } from "./sync.ts";

export interface CatchUpParts {
  rest: Rest;
  inbox: Inbox;
  resume: Resume;
  clock: Clock;
  random: () => number;
  startAt: "latest" | "beginning";
}

export interface CatchUpEvents {
  /** The first list of the user's channels, latest activity first. */
  channels(channels: Channel[]): void;
  channelAdded(channel: Channel): void;
  channelRemoved(channelId: string): void;
  error(error: NaruError): void;
}

const LIMITS = { firstMs: 500, longestMs: 30_000 };
const REFILL_MS = 1_000;
const PAGE = 200;
/** Channels whose cursors are kept; who has more gets the rest as new channels when something happens in them. */
const MAX_CHANNELS = 5_000;

/** Brings the inbox up to date: at the start, after each connect, where a gap is, for channels that turn up. */
export class CatchUp {
  /** Whoever asks while one runs gets one that begins after the asking. */
  #chain: Promise<unknown> = Promise.resolve();
  #isStopped = false;
  #isListed = false;
  readonly #nudge: Nudge;
  readonly #asked = new Set<string>();

  constructor(
    private readonly parts: CatchUpParts,
    private readonly events: CatchUpEvents,
  ) {
    this.#nudge = new Nudge(parts.clock);
  }

  stop(): void {
    this.#isStopped = true;
    this.#nudge.now();
  }

  /** What waits for its next try has it now. */
  tryNow(): void {
    this.#nudge.now();
  }

  /** Lists the channels and sets a cursor for each that has none. */
  start(): Promise<boolean> {
    this.#isStopped = false;
    return this.#untilDone(() => this.#list());
  }

  /** After a connect. Returns false when it was given up because `session` has ended. */
  afterConnect(session: Session): Promise<boolean> {
    const { inbox, resume } = this.parts;
    const isWanted = () => session.ready !== undefined;
    const ask = () => {
      const cursors = inbox.cursors();
      return { cursors, answer: resume.ask(session, cursors) };
    };
    // Before this returns: a gateway holds live entries back until the session's first frame, so that a `resume` comes
    // before them. Without a list there are no cursors yet.
    let asked = this.#isListed ? ask() : undefined;
    return this.#untilDone(async () => {
      const { cursors, answer } = asked ?? ask();
      // Another try asks again.
      asked = undefined;
      const resumed = await answer;
      if (!resumed) return this.#sync([...inbox.cursors().keys()]);
      for (const [channelId, seq] of Object.entries(resumed.channels)) inbox.expect(channelId, seq);
      // What the answer does not name, and what it could not bring up to date, is asked for by REST.
      const byRest = [...cursors.keys()].filter(
        (channelId) =>
          !(channelId in resumed.channels) || resumed.resyncRequired.includes(channelId) || inbox.hasGap(channelId),
      );
      await this.#add(resumed.newChannels.filter((channelId) => inbox.cursorOf(channelId) === undefined));
      if (byRest.length > 0) await this.#sync(byRest);
    }, isWanted);
  }

  /** Everything again by REST, whatever the session brought: heals what nobody noticed. */
  refresh(): Promise<boolean> {
    return this.#untilDone(() => this.#sync([...this.parts.inbox.cursors().keys()]));
  }

  /** A gap in one channel. */
  fill(channelId: string): void {
    this.#once(channelId, async () => {
      if (this.parts.inbox.hasGap(channelId)) await this.#sync([channelId], false);
      if (!this.parts.inbox.hasGap(channelId)) return;
      // The server has told a `seq` that it does not give out yet: it will in a moment. Nobody waits meanwhile.
      this.parts.clock.setTimeout(() => this.fill(channelId), REFILL_MS * (1 + this.parts.random()));
    });
  }

  /** A channel that has no cursor yet but something to say. */
  meet(channelId: string): void {
    this.#once(channelId, () => this.#add([channelId]));
  }

  #once(channelId: string, work: () => Promise<void>): void {
    if (this.#asked.has(channelId)) return;
    this.#asked.add(channelId);
    void this.#untilDone(work).finally(() => this.#asked.delete(channelId));
  }

  async #list(): Promise<void> {
    if (this.#isListed) return;
    const channels: Channel[] = [];
    let cursor: string | undefined;
    do {
      const page = await this.parts.rest.call("get /channels", { query: { limit: PAGE, cursor } });
      channels.push(...page.channels);
      cursor = page.nextCursor ?? undefined;
    } while (cursor && channels.length < MAX_CHANNELS);
    this.#isListed = true;
    // Told before anything of theirs: a listener knows a channel before its entries.
    this.events.channels(channels);
    for (const { id, lastSeq } of channels) this.parts.inbox.adopt(id, this.parts.startAt === "latest" ? lastSeq : 0);
  }

  async #sync(channelIds: string[], withNew = true): Promise<void> {
    const { newChannels, goneChannels } = await sync(this.parts.rest, this.parts.inbox, channelIds);
    for (const channelId of goneChannels) this.#remove(channelId);
    if (withNew) await this.#add(newChannels);
  }

  /** A channel that was not there before starts where its user has read up to, so that nothing new is left out. */
  async #add(channelIds: string[]): Promise<void> {
    const added: string[] = [];
    for (const channelId of channelIds) {
      if (this.parts.inbox.cursorOf(channelId) !== undefined) continue;
      try {
        const channel = await this.parts.rest.call("get /channels/{channelId}", { path: { channelId } });
        this.events.channelAdded(channel);
        this.parts.inbox.adopt(channelId, this.parts.startAt === "latest" ? channel.readSeq : 0);
        this.parts.inbox.expect(channelId, channel.lastSeq);
        added.push(channelId);
      } catch (error) {
        if (!(error instanceof NaruError) || error.status !== 404) throw error;
        this.#remove(channelId);
      }
    }
    if (added.length > 0) await this.#sync(added, false);
  }

  #remove(channelId: string): void {
    const wasKnown = this.parts.inbox.cursorOf(channelId) !== undefined;
    this.parts.inbox.forget(channelId);
    if (wasKnown) this.events.channelRemoved(channelId);
  }

  /** One after the other, each until it has succeeded or is not wanted any more. */
  #untilDone(work: () => Promise<void>, isWanted: () => boolean = () => true): Promise<boolean> {
    const run = async (): Promise<boolean> => {
      const backoff = new Backoff(LIMITS, this.parts.random);
      while (isWanted() && !this.#isStopped) {
        try {
          if (!this.#isListed) await this.#list();
          await work();
          return isWanted();
        } catch (error) {
          const problem = asNaruError(error);
          this.events.error(problem);
          if (problem.kind === "signedOut") return false;
          await this.#nudge.sleep(backoff.nextDelayMs(problem.retryAfterMs));
        }
      }
      return false;
    };
    const done = this.#chain.then(run, run);
    this.#chain = done;
    return done;
  }
}
