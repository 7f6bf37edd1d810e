import { useEffect, useState } from "preact/hooks";

export type Route = { view: "chat"; channelId?: string } | { view: "operator" };

/** In the hash: the page is one file, wherever it is served from. */
export function readRoute(hash = location.hash): Route {
  const [, view, id] = hash.replace(/^#/, "").split("/");
  if (view === "operator") return { view: "operator" };
  return view === "c" && id ? { view: "chat", channelId: decodeURIComponent(id) } : { view: "chat" };
}

export const hrefOf = (channelId: string) => `#/c/${encodeURIComponent(channelId)}`;

export function go(href: string): void {
  location.hash = href;
}

export function useRoute(): Route {
  const [route, setRoute] = useState(readRoute);
  useEffect(() => {
    const changed = () => setRoute(readRoute());
    addEventListener("hashchange", changed);
    return () => removeEventListener("hashchange", changed);
  }, []);
  return route;
}
