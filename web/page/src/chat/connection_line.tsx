import type { ConnectionState } from "@naru/client";
import { useEffect, useRef, useState } from "preact/hooks";

/** A short interruption is nobody's business; the messages wait in the outbox meanwhile. */
const GRACE_MS = 700;
const FOUND_MS = 2_500;

interface Props {
  state: ConnectionState;
  onTryNow: () => void;
}

/** Says when the connection is lost and found again. Lies above the page, so that nothing moves. */
export function ConnectionLine({ state, onTryNow }: Props) {
  const isOnline = state.phase === "online";
  const [shown, setShown] = useState<"nothing" | "lost" | "found">("nothing");
  const wasShown = useRef(shown);
  wasShown.current = shown;
  useEffect(() => {
    const next = !isOnline ? "lost" : wasShown.current === "lost" ? "found" : "nothing";
    const timer = setTimeout(() => setShown(next), next === "lost" ? GRACE_MS : 0);
    return () => clearTimeout(timer);
  }, [isOnline]);
  useEffect(() => {
    if (shown !== "found") return;
    const timer = setTimeout(() => setShown("nothing"), FOUND_MS);
    return () => clearTimeout(timer);
  }, [shown]);

  // The spoken part changes twice, not every second.
  const spoken = shown === "lost" ? "Connection lost. Messages wait here." : shown === "found" ? "Connected again." : "";
  return (
    <div class={`connection is-${shown}`}>
      <span class="connection-dot" aria-hidden="true" />
      <span role="status">{spoken}</span>
      {shown === "lost" && <Wait state={state} onTryNow={onTryNow} />}
    </div>
  );
}

function Wait({ state, onTryNow }: Props) {
  const nextTryAtMs = "nextTryAtMs" in state ? state.nextTryAtMs : undefined;
  const [now, setNow] = useState(Date.now());
  useEffect(() => {
    setNow(Date.now());
    const timer = setInterval(() => setNow(Date.now()), 250);
    return () => clearInterval(timer);
  }, [nextTryAtMs]);
  const seconds = Math.max(0, Math.ceil(((nextTryAtMs ?? now) - now) / 1000));
  return (
    <>
      <span class="connection-wait">
        {state.phase === "connecting" ? "Connecting…" : nextTryAtMs ? `Next try in ${seconds} s` : "Not connected"}
      </span>
      <button type="button" class="link" onClick={onTryNow}>
        Try now
      </button>
    </>
  );
}
