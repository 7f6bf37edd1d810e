import { useEffect, useState } from "preact/hooks";
import { useStore } from "../model/store.ts";
import { Icon, Logo } from "../ui/icon.tsx";
import { ThemeSwitch } from "../ui/theme_switch.tsx";
import { MetricsStore, type Series } from "./metrics_store.ts";
import { Sparkline } from "./sparkline.tsx";

/** What the server is doing, from its own metrics. */
export function Operator({ isServed }: { isServed: boolean }) {
  const [store] = useState(() => new MetricsStore());
  useStore(store);
  useEffect(() => {
    document.title = "Naru operator";
    if (!isServed) return;
    store.start();
    return () => store.stop();
  }, [store, isServed]);
  const { charts } = store;
  return (
    <div class="operator">
      <header class="bar">
        <a class="icon-button" href="#/">
          <Icon name="back" />
          <span class="hidden">Back to the chat</span>
        </a>
        <Logo />
        <div class="bar-title">
          <h1>Operator</h1>
          <p class="quiet">the last two minutes, every second</p>
        </div>
        <ThemeSwitch />
      </header>
      <main>
        {!isServed && <p class="notice">This server does not show its metrics here. Ask Prometheus instead.</p>}
        <p class="error" role="status">
          {store.error}
        </p>
        <div class="cards">
          <Card title="Sessions" series={charts.sessions} note={`of ${whole(store.users)} users`} />
          <Card title="Sends" unit="/s" series={charts.sends} names={sendNames} />
          <Card title="Deliveries" unit="/s" series={charts.deliveries} names={deliveryNames} />
          <Card title="Delivery delay" unit="ms" series={charts.delay} isLargest note="from commit to handed over" />
          <Card title="Queues" series={charts.queues} />
          <Card title="Pushes" unit="/s" series={charts.pushes} />
        </div>
      </main>
    </div>
  );
}

const sendNames: Record<string, string> = { deduplicated: "repeated" };
const deliveryNames: Record<string, string> = { session: "to a session", absent: "nobody there", push: "to push" };

interface CardProps {
  title: string;
  series: Series;
  unit?: string;
  note?: string;
  names?: Record<string, string>;
  /** The headline is the largest line instead of all together. */
  isLargest?: boolean;
}

function Card({ title, series, unit = "", note, names = {}, isLargest = false }: CardProps) {
  const latest = [...series].map(([name, line]) => [names[name] ?? name, line.at(-1) ?? 0] as const);
  const headlines = headlinesOf(series, isLargest);
  const headline = headlines.at(-1) ?? 0;
  const highest = Math.max(0, ...headlines);
  const words = `${title}: now ${number(headline)} ${unit}, highest ${number(highest)} ${unit}`;
  return (
    <section class="card" aria-label={title}>
      <header>
        <h2>{title}</h2>
        <p class="quiet">{highest > 0 && `highest ${number(highest)}${unit && ` ${unit}`}`}</p>
      </header>
      <p class="headline" data-value={headline}>
        {number(headline)}
        <span class="unit">{unit}</span>
      </p>
      <Sparkline series={series} label={words} isStacked={!isLargest} />
      <ul class="legend">
        {latest.map(([name, value], index) => (
          <li key={name} class={`line-${index % 6}`}>
            <span class="key" aria-hidden="true" />
            {name}
            <span class="value">{number(value)}</span>
          </li>
        ))}
        {latest.length === 0 && <li class="quiet">nothing yet</li>}
      </ul>
      {note && <p class="quiet">{note}</p>}
    </section>
  );
}

/** Of each moment: the largest line, or all together. */
function headlinesOf(series: Series, isLargest: boolean): number[] {
  const lines = [...series.values()];
  return (lines[0] ?? []).map((_, at) => {
    const values = lines.map((line) => line[at] ?? 0);
    return isLargest ? Math.max(...values) : values.reduce((total, value) => total + value, 0);
  });
}

const whole = (value: number) => value.toLocaleString();

function number(value: number): string {
  if (!Number.isFinite(value)) return "∞";
  return value.toLocaleString(undefined, { maximumFractionDigits: value < 10 ? 1 : 0 });
}
