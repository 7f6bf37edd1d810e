import { Store } from "../model/store.ts";
import { buckets, parse, perGateway, quantile, type Sample, sum, sumBy } from "./prometheus.ts";

const EVERY_MS = 1_000;
/** Two minutes. */
export const KEPT = 120;

/** Lines of one chart, by name; each as long as the others. */
export type Series = Map<string, number[]>;

interface Reading {
  atMs: number;
  samples: Sample[];
}

/** Reads the metrics once a second while somebody looks, and keeps the last two minutes. */
export class MetricsStore extends Store {
  readonly charts = {
    sessions: new Map() as Series,
    sends: new Map() as Series,
    deliveries: new Map() as Series,
    delay: new Map() as Series,
    queues: new Map() as Series,
    pushes: new Map() as Series,
  };
  users = 0;
  readings = 0;
  error = "";
  #before: Reading | undefined;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #isStopped = false;

  start(): void {
    this.#isStopped = false;
    void this.#read();
  }

  stop(): void {
    this.#isStopped = true;
    clearTimeout(this.#timer);
  }

  async #read(): Promise<void> {
    try {
      if (document.visibilityState === "visible") {
        const response = await fetch("/try/metrics");
        if (!response.ok) throw new Error(`The server answers ${response.status}.`);
        this.#take({ atMs: performance.now(), samples: parse(await response.text()) });
        this.error = "";
      } else {
        // The next reading would be compared with one long ago.
        this.#before = undefined;
      }
    } catch (thrown) {
      this.error = thrown instanceof TypeError ? "The server is not reachable." : String((thrown as Error).message);
      this.#before = undefined;
    }
    this.changed();
    if (!this.#isStopped) this.#timer = setTimeout(() => void this.#read(), EVERY_MS);
  }

  #take(now: Reading): void {
    const { samples } = now;
    const before = this.#before;
    this.#before = now;
    this.users = sum(samples, "naru_gateway_users");
    push(this.charts.sessions, perGateway(samples, "naru_gateway_sessions"));
    push(
      this.charts.queues,
      new Map([
        ["waiting sends", sum(samples, "naru_api_waiting_sends")],
        ["undelivered entries", sum(samples, "naru_api_undelivered_entries")],
        ["waiting for gateways", sum(samples, "naru_api_lane_depth")],
      ]),
    );
    this.readings += 1;
    if (!before) return;
    const rates = (name: string, label: string) => rateOf(now, before, (read) => sumBy(read, name, label));
    push(this.charts.sends, rates("naru_api_sends_total", "outcome"));
    push(this.charts.deliveries, rates("naru_api_deliveries_total", "outcome"));
    push(this.charts.pushes, rates("naru_api_pushes_total", "outcome"));
    const of = (read: Sample[]) => buckets(read, "naru_api_delivery_duration_seconds");
    const [bucketsNow, bucketsBefore] = [of(samples), of(before.samples)];
    const delayMs = (share: number) => (quantile(bucketsNow, bucketsBefore, share) ?? 0) * 1000;
    push(this.charts.delay, new Map([["half below", delayMs(0.5)], ["99 % below", delayMs(0.99)]]));
  }
}

/** What has been added in a second, by key. A counter that has gone down began anew. */
function rateOf(now: Reading, before: Reading, read: (samples: Sample[]) => Map<string, number>): Map<string, number> {
  const seconds = Math.max((now.atMs - before.atMs) / 1000, 0.001);
  const old = read(before.samples);
  return new Map(
    [...read(now.samples)].map(([key, total]) => {
      const added = total - (old.get(key) ?? 0);
      return [key, (added < 0 ? total : added) / seconds];
    }),
  );
}

/** Lines come and go; one that is new has been at zero, one that is gone is at zero now. */
function push(series: Series, values: Map<string, number>): void {
  const length = Math.max(0, ...[...series.values()].map((line) => line.length));
  for (const key of values.keys()) if (!series.has(key)) series.set(key, Array.from({ length }, () => 0));
  for (const [key, line] of series) {
    line.push(values.get(key) ?? 0);
    if (line.length > KEPT) line.shift();
  }
}
