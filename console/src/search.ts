// What stands in the search box of orders, as far as the console itself has to know: the server reads it.

const TERM = /(?:^|\s)([A-Za-z]+)(>=|<=|[:=<>])("[^"]*"|[^\s"]+)/g;
const OLD = { state: "state:", externalId: "external:", "billingAccount.id": "customer:", "orderDate.gte": "ordered>=", "orderDate.lte": "ordered<=" };

export const quoted = (value: string) => (/[\s:=<>*]/.test(value) ? `"${value}"` : value);

// The value that a name has in the text, if it has one.
export function valueOf(text: string, ...names: string[]): string | undefined {
  for (const [, name, sign, value] of text.matchAll(TERM)) {
    if ((sign === ":" || sign === "=") && names.includes(name.toLowerCase())) return value.replace(/^"|"$/g, "");
  }
}

// The text with another value under a name; empty takes it away.
export function withValue(text: string, name: string, value: string): string {
  const rest = text.replace(TERM, (term, each: string, sign: string) => ((sign === ":" || sign === "=") && each.toLowerCase() === name ? "" : term)).trim();
  return value ? `${rest} ${name}:${quoted(value)}`.trim() : rest;
}

// Addresses from before there was one box.
export function searchOf(query: URLSearchParams): string {
  const old = Object.entries(OLD).flatMap(([name, term]) => (query.get(name) ? [term + (term.endsWith("=") ? new Date(query.get(name)!).toISOString() : quoted(query.get(name)!))] : []));
  return [query.get("search") ?? "", ...old].filter(Boolean).join(" ");
}

interface Told { kind: string; orderId: string | null; account: string | null; state?: string }

// Whether a fact may change what a search shows: new orders come on top; of the others those that are shown, or that
// have come into a state that is asked for. Orders of accounts that are not asked for change nothing.
export function mayChange(text: string, shown: Set<string>, { kind, orderId, account, state }: Told): boolean {
  const wanted = valueOf(text, "customer", "account");
  if (!kind.startsWith("order.") && !kind.startsWith("item.f")) return false;
  if (wanted !== undefined && account !== wanted) return false;
  const states = (valueOf(text, "state") ?? "").toLowerCase().split(",");
  return kind === "order.accepted" || kind === "order.rejected" || shown.has(orderId ?? "") || (!!state && states.includes(state.toLowerCase()))
    || (kind.startsWith("item.f") && states.includes("fallout")) || (kind === "order.ended" && states.includes("ended"));
}
