const clock = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit" });
const weekday = new Intl.DateTimeFormat(undefined, { weekday: "long" });
const date = new Intl.DateTimeFormat(undefined, { day: "numeric", month: "long" });
const dateAndYear = new Intl.DateTimeFormat(undefined, { day: "numeric", month: "long", year: "numeric" });
const whole = new Intl.DateTimeFormat(undefined, { dateStyle: "full", timeStyle: "medium" });

const DAY_MS = 86_400_000;

function daysAgo(then: Date, now: Date): number {
  const midnight = (day: Date) => new Date(day.getFullYear(), day.getMonth(), day.getDate()).getTime();
  // Rounded: a day of the change to summer time has 23 hours.
  return Math.round((midnight(now) - midnight(then)) / DAY_MS);
}

export const timeOf = (at: string | number) => clock.format(new Date(at));
export const wholeTimeOf = (at: string | number) => whole.format(new Date(at));
export const isSameDay = (one: string, other: string) => daysAgo(new Date(one), new Date(other)) === 0;

export function dayOf(at: string, now = new Date()): string {
  const then = new Date(at);
  const days = daysAgo(then, now);
  if (days === 0) return "Today";
  if (days === 1) return "Yesterday";
  if (days > 1 && days < 7) return weekday.format(then);
  return (then.getFullYear() === now.getFullYear() ? date : dateAndYear).format(then);
}

/** For a list: the time today, else the day. */
export function shortTimeOf(at: string, now = new Date()): string {
  return daysAgo(new Date(at), now) === 0 ? timeOf(at) : dayOf(at, now);
}
