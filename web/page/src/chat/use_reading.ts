import { useEffect, useState } from "preact/hooks";
import type { ChatModel } from "../model/chat_model.ts";

/** Whether somebody looks: the page is shown and has the focus. */
function useIsLooking(): boolean {
  const looks = () => document.visibilityState === "visible" && document.hasFocus();
  const [isLooking, setLooking] = useState(looks);
  useEffect(() => {
    const changed = () => setLooking(looks());
    addEventListener("focus", changed);
    addEventListener("blur", changed);
    document.addEventListener("visibilitychange", changed);
    return () => {
      removeEventListener("focus", changed);
      removeEventListener("blur", changed);
      document.removeEventListener("visibilitychange", changed);
    };
  }, []);
  return isLooking;
}

/** Marks as read what is in sight while somebody looks. */
export function useReading(model: ChatModel, channelId: string, seqInSight: number): void {
  const isLooking = useIsLooking();
  const readSeq = model.channels.get(channelId)?.readSeq ?? Number.POSITIVE_INFINITY;
  useEffect(() => {
    if (isLooking && seqInSight > readSeq) model.markRead(channelId, seqInSight);
  }, [isLooking, seqInSight, readSeq, channelId]);
}
