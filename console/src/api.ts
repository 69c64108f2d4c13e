// The public API: one typed call for every operation, refusals with their mend, every wait bounded.

import { OPERATIONS, type Operation, type Parameters } from "./api.generated";
import { chosenRole, chosenUser, mayUse } from "./role";

const TIMEOUT_MS = 20_000;

export interface Problem { path: string; reason: string }

export class Refusal extends Error {
  constructor(message: string, readonly status: number, readonly mend?: string, readonly path?: string, readonly problems: (Problem | string)[] = [], readonly facts: Record<string, unknown> = {}) {
    super(message);
  }

  // Whether nobody knows if it was done: to be sent again with the key it had.
  get isOpen(): boolean {
    return this.status === 0 || this.status >= 500 || this.status === 429;
  }
}

interface Extra {
  query?: Record<string, string | number | undefined>;
  body?: unknown;
  version?: number; // that the request was made for
  key?: string; // of the press that this sends; without one the request has its own
  signal?: AbortSignal;
}

export interface Answer<T> { body: T; total: number; status: number }

export function addressOf<O extends Operation>(operation: O, parameters: Parameters[O], query: Extra["query"] = {}): string {
  const given = parameters as Record<string, string>;
  const path = OPERATIONS[operation].path.replace(/\{(\w+)\}/g, (_, name: string) => encodeURIComponent(given[name]));
  const asked = Object.entries(query).filter(([, value]) => value !== undefined && value !== "");
  return asked.length ? `${path}?${new URLSearchParams(asked.map(([name, value]) => [name, String(value)]))}` : path;
}

export async function ask<T, O extends Operation = Operation>(
  operation: O, parameters: Parameters[O], extra: Extra = {},
): Promise<Answer<T>> {
  const { method } = OPERATIONS[operation];
  const timeout = AbortSignal.timeout(TIMEOUT_MS);
  const headers: Record<string, string> = { Accept: "application/json", "X-User": chosenUser() };
  if (method !== "GET") headers["Idempotency-Key"] = extra.key ?? crypto.randomUUID();
  if (extra.version !== undefined) headers["If-Match"] = `"${extra.version}"`;
  if (extra.body !== undefined) headers["Content-Type"] = "application/json";
  let response: Response;
  try {
    response = await fetch(addressOf(operation, parameters, extra.query), {
      method, headers, body: extra.body === undefined ? undefined : JSON.stringify(extra.body),
      signal: extra.signal ? AbortSignal.any([extra.signal, timeout]) : timeout,
    });
  } catch (error) {
    if (extra.signal?.aborted) throw error;
    throw new Refusal("The server does not answer.", 0, "Check that it runs; the page tries again when it is back.");
  }
  const text = await response.text();
  const body = text ? JSON.parse(text) : null;
  if (!response.ok) {
    const said = body?.detail ?? body?.reason ?? `The server answers ${response.status}.`;
    throw new Refusal(body?.path ? `${body.path}: ${said}` : said, response.status, body?.mend, body?.path, body?.problems, body ?? {});
  }
  return { body, status: response.status, total: Number(response.headers.get("X-Total-Count") ?? 0) };
}

// Why the chosen role may not use an operation; undefined: it may.
export function refusedBecause(operation: Operation): string | undefined {
  const needed = OPERATIONS[operation].role;
  return mayUse(needed) ? undefined : `Needs the role ${needed}; you are trying out ${chosenRole()}.`;
}
