/** What the device tells: whether it has a network, and whether anybody looks. */
export interface Environment {
  isOffline(): boolean;
  isHidden(): boolean;
  /**
   * `woke`: the network came, or the app was looked at again, so a connection is worth a try or a test now.
   * `changed`: `isOffline` or `isHidden` has changed. Returns how to stop listening.
   */
  subscribe(events: { woke(): void; changed(): void }): () => void;
}

/** A browser's; elsewhere (Node, React Native) one that knows nothing, and the app calls `tryNow` and `setBackground`. */
export function detectEnvironment(): Environment {
  const hasWindow = typeof window === "object" && typeof window.addEventListener === "function";
  if (!hasWindow || typeof document !== "object") return unknownEnvironment;
  return {
    isOffline: () => navigator.onLine === false,
    isHidden: () => document.visibilityState === "hidden",
    subscribe({ woke, changed }) {
      const looked = () => {
        changed();
        if (document.visibilityState === "visible") woke();
      };
      const online = () => {
        changed();
        woke();
      };
      // A page from the back-forward cache has lost its socket without having been told.
      const shown = (event: PageTransitionEvent) => event.persisted && woke();
      // The network may be gone, or only one of two: whether the session is dead is found out by asking it.
      const offline = online;
      document.addEventListener("visibilitychange", looked);
      window.addEventListener("online", online);
      window.addEventListener("offline", offline);
      window.addEventListener("pageshow", shown);
      return () => {
        document.removeEventListener("visibilitychange", looked);
        window.removeEventListener("online", online);
        window.removeEventListener("offline", offline);
        window.removeEventListener("pageshow", shown);
      };
    },
  };
}

const unknownEnvironment: Environment = {
  isOffline: () => false,
  isHidden: () => false,
  subscribe: () => () => {},
};

/** What the device says of its network does not matter for a server on itself. */
export function isLoopback(url: string): boolean {
  try {
    const { hostname } = new URL(url);
    return hostname === "localhost" || hostname === "[::1]" || hostname.startsWith("127.");
  } catch {
    return false;
  }
}
