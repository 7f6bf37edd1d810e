import type { FieldError, Problem, ProblemCode } from "./openapi.ts";

/** What went wrong, by where: the server refused, nothing came back, the app has no token, or this client's limits. */
export type ErrorKind = "refused" | "unreachable" | "signedOut" | "session" | "outboxFull" | "storage";

/** The only error that this package throws or reports. */
export class NaruError extends Error {
  override readonly name = "NaruError";
  /** HTTP status of a refusal. */
  readonly status: number | undefined;
  /** The contract's word for a refusal. */
  readonly code: ProblemCode | undefined;
  readonly fields: FieldError[];
  readonly requestId: string | undefined;
  /** When the server says that trying again makes sense. */
  readonly retryAfterMs: number | undefined;
  /** Of a session's end. */
  readonly closeCode: number | undefined;

  constructor(
    readonly kind: ErrorKind,
    message: string,
    about: { problem?: Partial<Problem>; status?: number; retryAfterMs?: number; closeCode?: number; cause?: unknown } = {},
  ) {
    super(message, "cause" in about ? { cause: about.cause } : undefined);
    this.status = about.status;
    this.code = about.problem?.code;
    this.fields = about.problem?.errors ?? [];
    this.requestId = about.problem?.requestId;
    this.retryAfterMs = about.retryAfterMs;
    this.closeCode = about.closeCode;
  }

  /** Whether the same request may succeed later without anybody changing it. */
  get isTemporary(): boolean {
    if (this.kind !== "refused") return this.kind === "unreachable";
    const status = this.status ?? 0;
    return status >= 500 || status === 408 || status === 425 || status === 429;
  }
}

/** Whatever was thrown, as ours. */
export function asNaruError(error: unknown): NaruError {
  if (error instanceof NaruError) return error;
  const message = error instanceof Error ? error.message : String(error);
  return new NaruError("unreachable", message, { cause: error });
}
