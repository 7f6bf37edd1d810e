/** Close codes of the contract that ask for something; every other end is answered by back-off alone. */
export const closeCode = {
  protocolError: 1002,
  badUtf8: 1007,
  tooBig: 1009,
  restart: 1012,
  unauthorized: 4001,
  badFrames: 4002,
  tooSlow: 4008,
  tooManySessions: 4009,
} as const;

/** What to do after a session has ended. */
export interface NextStep {
  /** Ask the application for a new token before anything else. */
  needsNewToken: boolean;
  /**
   * `soon`: at once the first time, then with back-off. `atDrainTime`: when the server said, else with back-off.
   * `late`: coming back quickly would only repeat the fault.
   */
  wait: "soon" | "backoff" | "atDrainTime" | "late";
  /** For whoever looks into it; `undefined` where nothing is wrong. */
  complaint: string | undefined;
}

const step = (wait: NextStep["wait"], complaint?: string, needsNewToken = false): NextStep => ({
  needsNewToken,
  wait,
  complaint,
});

/** The table of protocol.md. */
export function afterClose(code: number): NextStep {
  switch (code) {
    case closeCode.unauthorized:
      return step("soon", "the token is expired or was refused", true);
    case closeCode.restart:
      return step("atDrainTime");
    case closeCode.tooSlow:
      return step("backoff", "the connection was too slow for what came in");
    case closeCode.tooManySessions:
      return step("late", "this user has too many sessions; close another one");
    case closeCode.protocolError:
    case closeCode.badUtf8:
    case closeCode.tooBig:
    case closeCode.badFrames:
      return step("late", `the server found a fault in what this client sent (${code})`);
    default:
      return step("backoff");
  }
}
