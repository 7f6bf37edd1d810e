/** One line of Prometheus text. */
export interface Sample {
  name: string;
  labels: Record<string, string>;
  value: number;
}

const LINE = /^([A-Za-z_:][\w:]*)(?:\{(.*)\})?\s+(\S+)/;
const LABEL = /(\w+)="((?:[^"\\]|\\.)*)"/g;

/** Lines that are no samples are passed over: comments, and whatever a newer server writes. */
export function parse(text: string): Sample[] {
  const samples: Sample[] = [];
  for (const line of text.split("\n")) {
    const match = line.startsWith("#") ? null : LINE.exec(line);
    if (!match) continue;
    const labels: Record<string, string> = {};
    for (const [, name = "", value = ""] of (match[2] ?? "").matchAll(LABEL)) labels[name] = value;
    samples.push({ name: match[1] ?? "", labels, value: Number(match[3]) });
  }
  return samples;
}

export function sum(samples: Sample[], name: string): number {
  return samples.reduce((total, sample) => (sample.name === name ? total + sample.value : total), 0);
}

/** Totals of one metric by the value of one label. */
export function sumBy(samples: Sample[], name: string, label: string): Map<string, number> {
  const totals = new Map<string, number>();
  for (const sample of samples) {
    if (sample.name !== name) continue;
    const key = sample.labels[label] ?? "";
    totals.set(key, (totals.get(key) ?? 0) + sample.value);
  }
  return totals;
}

/** One value for each gateway: by its label, or by the order in which their texts follow each other. */
export function perGateway(samples: Sample[], name: string): Map<string, number> {
  const values = new Map<string, number>();
  for (const { name: found, labels, value } of samples) {
    if (found !== name) continue;
    const gateway = labels.gateway ?? labels.instance ?? `gateway ${values.size + 1}`;
    values.set(gateway, (values.get(gateway) ?? 0) + value);
  }
  return values;
}

/** Cumulative counts by upper bound, of all series of a histogram together. */
export function buckets(samples: Sample[], name: string): Map<number, number> {
  const counts = new Map<number, number>();
  for (const { name: found, labels, value } of samples) {
    if (found !== `${name}_bucket`) continue;
    const bound = labels.le === "+Inf" ? Number.POSITIVE_INFINITY : Number(labels.le);
    counts.set(bound, (counts.get(bound) ?? 0) + value);
  }
  return counts;
}

/** The bound below which this share of what was counted between two readings lies. */
export function quantile(now: Map<number, number>, before: Map<number, number>, share: number): number | undefined {
  const counts = [...now]
    .map(([bound, count]) => [bound, count - (before.get(bound) ?? 0)] as const)
    .sort(([one], [other]) => one - other);
  const total = counts.at(-1)?.[1] ?? 0;
  if (total <= 0) return undefined;
  return counts.find(([, count]) => count >= total * share)?.[0];
}
