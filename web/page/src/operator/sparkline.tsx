import { KEPT, type Series } from "./metrics_store.ts";

const WIDTH = 300;
const HEIGHT = 72;
const PAD = 3;

interface Props {
  series: Series;
  label: string;
  /** One on top of the other, so that the upper edge is the sum; else each for itself. */
  isStacked: boolean;
}

/** The last two minutes. The numbers stand beside it in words, so it is an image with a short label. */
export function Sparkline({ series, label, isStacked }: Props) {
  const bands = bandsOf([...series.values()], isStacked);
  // Nothing but zeros lies at the bottom, and a small number does not fill the chart as if it were a large one.
  const top = Math.max(1, ...bands.flatMap(({ upper }) => upper));
  const point = (value: number, at: number, length: number) => {
    const x = WIDTH - ((length - 1 - at) / (KEPT - 1)) * WIDTH;
    const y = HEIGHT - PAD - (value / top) * (HEIGHT - 2 * PAD);
    return `${x.toFixed(1)} ${y.toFixed(1)}`;
  };
  const path = (line: number[]) => line.map((value, at) => point(value, at, line.length));
  return (
    <svg class="sparkline" viewBox={`0 0 ${WIDTH} ${HEIGHT}`} preserveAspectRatio="none" role="img" aria-label={label}>
      <path class="grid" d={`M0 ${HEIGHT - PAD}H${WIDTH}M0 ${HEIGHT / 2}H${WIDTH}M0 ${PAD}H${WIDTH}`} />
      {bands.map(({ upper, lower }, index) =>
        upper.length < 2 ? null : (
          <g key={index} class={`line-${index % 6}`}>
            <path class="area" d={`M${[...path(upper), ...path(lower).toReversed()].join("L")}Z`} />
            <path class="line" d={`M${path(upper).join("L")}`} />
          </g>
        ),
      )}
    </svg>
  );
}

function bandsOf(lines: number[][], isStacked: boolean): Array<{ upper: number[]; lower: number[] }> {
  const bands: Array<{ upper: number[]; lower: number[] }> = [];
  for (const line of lines) {
    const below = isStacked ? bands.at(-1)?.upper : undefined;
    const lower = line.map((_, at) => below?.[at] ?? 0);
    bands.push({ lower, upper: line.map((value, at) => value + (lower[at] ?? 0)) });
  }
  return bands;
}
