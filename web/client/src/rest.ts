import type { Clock } from "./clock.ts";
import type { Operations, Problem } from "./openapi.ts";
import { asNaruError, NaruError } from "./problem.ts";
import type { Tokens } from "./tokens.ts";

export type Operation = keyof Operations;
export type Result<Name extends Operation> = Operations[Name]["result"];

/** Only the parts that the operation has. */
export type Request<Name extends Operation> = {
  [Part in "path" | "query" | "body" as Operations[Name][Part] extends undefined
    ? never
    : Part]: Operations[Name][Part];
};

/** Long enough for a busy server, short enough that a dead connection does not look like a slow one for long. */
const TIMEOUT_MS = 15_000;

/** REST calls, typed by the OpenAPI document. */
export class Rest {
  constructor(
    private readonly baseUrl: string,
    private readonly fetch: typeof globalThis.fetch,
    private readonly tokens: Tokens,
    private readonly clock: Clock,
  ) {}

  /** Calls with the current token, once more with a new one when that is refused. */
  async call<Name extends Operation>(name: Name, request: Request<Name>): Promise<Result<Name>> {
    const token = await this.#token();
    try {
      return await this.#send(name, request, token);
    } catch (error) {
      if (!(error instanceof NaruError) || error.status !== 401) throw error;
    }
    return this.#send(name, request, await this.#token(token));
  }

  async #token(refused?: string): Promise<string> {
    try {
      return await (refused === undefined ? this.tokens.get() : this.tokens.renew("refused", refused));
    } catch (error) {
      throw asNaruError(error);
    }
  }

  async #send<Name extends Operation>(name: Name, request: Request<Name>, token: string): Promise<Result<Name>> {
    const parts = request as { path?: Record<string, string>; query?: Record<string, unknown>; body?: unknown };
    const [method = "", template = ""] = name.split(" ");
    const url = this.baseUrl + fillIn(template, parts.path ?? {}) + search(parts.query ?? {});
    const abort = new AbortController();
    const timer = this.clock.setTimeout(() => abort.abort(), TIMEOUT_MS);
    let response: Response;
    let text: string;
    try {
      response = await this.fetch(url, {
        method: method.toUpperCase(),
        headers: {
          authorization: `Bearer ${token}`,
          ...(parts.body === undefined ? {} : { "content-type": "application/json" }),
        },
        ...(parts.body === undefined ? {} : { body: JSON.stringify(parts.body) }),
        signal: abort.signal,
      });
      text = await response.text();
    } catch (error) {
      const message = abort.signal.aborted ? `no answer within ${TIMEOUT_MS / 1000} s` : "the server is not reachable";
      throw new NaruError("unreachable", message, { cause: error });
    } finally {
      this.clock.clearTimeout(timer);
    }
    const body = parse(text);
    if (!response.ok) throw refusal(response, body);
    if (body === undefined && text !== "") throw new NaruError("unreachable", "the answer is not JSON");
    return body as Result<Name>;
  }
}

function fillIn(template: string, values: Record<string, string>): string {
  return template.replace(/\{(\w+)\}/g, (_, name: string) => encodeURIComponent(values[name] ?? ""));
}

function search(query: Record<string, unknown>): string {
  const given = Object.entries(query).filter(([, value]) => value !== undefined);
  if (given.length === 0) return "";
  return `?${given.map(([name, value]) => `${name}=${encodeURIComponent(String(value))}`).join("&")}`;
}

function parse(text: string): unknown {
  try {
    return text === "" ? undefined : JSON.parse(text);
  } catch {
    return undefined;
  }
}

function refusal(response: Response, body: unknown): NaruError {
  const problem = (typeof body === "object" && body !== null ? body : {}) as Partial<Problem>;
  const seconds = Number(response.headers.get("retry-after") ?? Number.NaN);
  return new NaruError("refused", problem.detail ?? problem.title ?? `HTTP ${response.status}`, {
    problem,
    status: response.status,
    ...(Number.isFinite(seconds) && seconds >= 0 ? { retryAfterMs: seconds * 1000 } : {}),
  });
}
