/** Small things that outlive the page, where the browser lets them. */
function attempt<Value>(read: () => Value): Value | undefined {
  try {
    return read();
  } catch {
    // Storage is switched off or full; the page works without.
    return undefined;
  }
}

export function load<Value>(storage: "session" | "local", key: string): Value | undefined {
  return attempt(() => {
    const text = (storage === "session" ? sessionStorage : localStorage).getItem(`naru.${key}`);
    return text === null ? undefined : (JSON.parse(text) as Value);
  });
}

export function save(storage: "session" | "local", key: string, value: unknown): void {
  attempt(() => {
    const place = storage === "session" ? sessionStorage : localStorage;
    if (value === undefined) place.removeItem(`naru.${key}`);
    else place.setItem(`naru.${key}`, JSON.stringify(value));
  });
}
