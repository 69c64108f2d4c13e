// Reading the public API of the server that this page came from.

const TIMEOUT_MS = 10_000;
export const TMF622 = "/tmf-api/productOrderingManagement/v4/productOrder";

// {status, body, total}; `body` is null when there is no such thing (404). Throws when the server does not answer or refuses.
export async function read(path) {
  const response = await fetch(path, { headers: { Accept: "application/json" }, signal: AbortSignal.timeout(TIMEOUT_MS) });
  if (response.status === 404) return { status: 404, body: null, total: 0 };
  const body = await response.json();
  if (!response.ok) throw new Error(body.detail ?? body.message ?? `the server answers ${response.status}`);
  return { status: response.status, body, total: Number(response.headers.get("X-Total-Count") ?? 0) };
}

// The rows of an answer: it is a list, or has one among its members.
export const rowsOf = (body) => (Array.isArray(body) ? body : Object.values(body ?? {}).find(Array.isArray) ?? []);

export const ordersPath = (filters) => `${TMF622}?${new URLSearchParams(filters)}`;
