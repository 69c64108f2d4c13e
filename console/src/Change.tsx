// A new order, and a running one amended or cancelled: first what would come of it, then the same document for good.

import { type FormEvent, useState } from "react";
import { type Refusal, ask, refusedBecause } from "./api";
import { type Operation, type Parameters } from "./api.generated";
import { go, useLive } from "./hooks";
import { Link, Trouble, WithReason, orderAddress, usePress } from "./parts";
import { type Summary } from "./plan";
import { Preview, type Told } from "./Preview";

type Document = Record<string, unknown>;

const NEW: Document = {
  externalId: "", billingAccount: { id: "" },
  productOrderItem: [{ id: "1", action: "add", quantity: 1, product: { productSpecification: { id: "" }, productCharacteristic: [{ name: "", value: "" }] } }],
};
// What the server says of an order, and nobody orders.
const SAID = new Set(["id", "href", "state", "stateReasons", "orderDate", "completionDate", "expectedCompletionDate", "cancellationDate"]);

function orderable(document: Document): Document {
  const items = (document.productOrderItem as Document[]).map(({ state: _, ...item }) => {
    const { id, ...product } = (item.product ?? {}) as Document;
    const nested = item.productOrderItem ? orderable(item) : {};
    return { ...item, ...(item.product ? { product: item.action === "add" ? product : { id, ...product } } : {}), ...nested };
  });
  return { ...Object.fromEntries(Object.entries(document).filter(([name]) => !SAID.has(name) || (name === "id" && "action" in document))), productOrderItem: items };
}

interface AskedProps<O extends Operation> {
  operation: O; parameters: Parameters[O]; first: string; // the text to begin with
  label: string; bodyOf: (document: Document) => unknown; canSend: boolean; done: (answer: unknown) => void; children?: React.ReactNode;
}

// The text of a document, its preview, and the button that is there once the preview of this very text is.
function Asked<O extends Operation>({ operation, parameters, first, label, bodyOf, canSend, done, children }: AskedProps<O>) {
  const [text, setText] = useState(first);
  const [told, setTold] = useState<{ body: string; told: Told }>();
  const [error, setError] = useState<Refusal>();
  const [isAsking, setAsking] = useState(false);
  const press = usePress(operation, parameters, done);
  const refused = refusedBecause(operation);
  let document: Document | undefined, wrong = "";
  try { document = JSON.parse(text); } catch (problem) { wrong = (problem as Error).message; }
  const body = document && bodyOf(document), key = JSON.stringify(body);
  const isShown = told?.body === key;
  const look = async (event: FormEvent) => {
    event.preventDefault();
    setAsking(true);
    setError(undefined);
    try {
      setTold({ body: key, told: (await ask<Told>(operation, parameters, { query: { dryRun: "true" }, body })).body });
    } catch (problem) {
      setTold(undefined);
      setError(problem as Refusal);
    } finally {
      setAsking(false);
    }
  };
  return (
    <form onSubmit={look} aria-label={label} className={isShown ? "asked shown" : "asked"}>
      <div>
      {children}
      <p className="field"><label htmlFor="document">Order (TMF622, JSON)</label>
        <textarea id="document" className="code" rows={18} spellCheck={false} readOnly={press.isOpen} value={text} aria-invalid={!!wrong || undefined} aria-describedby="document-told" onChange={(event) => setText(event.target.value)} />
        <span id="document-told" className="wrong">{wrong && `This is no JSON: ${wrong}`}</span></p>
      <div className="actions">
        <button className={isShown ? undefined : "primary"} disabled={!!wrong || isAsking || !canSend || !!refused} title={refused}>{isAsking ? "Asking…" : "Show what comes of it"}</button>
        {isShown && <button type="button" className="primary" disabled={press.isSending || !!told.told.refused?.length} onClick={() => void press.send(body)}>{press.isSending ? "Sending…" : label}</button>}
        {refused && <span className="why">{refused}</span>}
      </div>
      <Trouble error={error ?? press.error} />
      </div>
      {isShown && <Preview told={told.told} />}
    </form>
  );
}

export function NewOrder() {
  return (
    <>
      <h1>New order</h1>
      <Asked operation="create_product_order" parameters={{}} first={JSON.stringify(NEW, null, 2)} label="Submit the order" bodyOf={(document) => document} canSend
        done={(order) => go(orderAddress((order as { id: string }).id))} />
    </>
  );
}

export function Amend({ orderId }: { orderId: string }) {
  const [reason, setReason] = useState("");
  const of = { order_id: orderId };
  const found = useLive(orderId, async (signal) => {
    const [summary, order] = await Promise.all([ask<Summary>("get_order", of, { signal }), ask<Document>("get_product_order", of, { signal })]);
    return { version: summary.body.version, order: orderable(order.body) };
  }, () => false); // what is being written is not changed by what happens; the version tells if it was too late
  return (
    <>
      <h1>Amend order <Link href={orderAddress(orderId)}>{orderId}</Link></h1>
      <Trouble error={found.error} again={found.again} />
      {found.data && <Asked key={found.data.version} operation="act_on_order" parameters={{ ...of, action: "amend" }} first={JSON.stringify(found.data.order, null, 2)} label="Amend the order"
        bodyOf={(order) => ({ order, reason, version: found.data!.version })} canSend={!!reason.trim()} done={() => go(orderAddress(orderId))}>
        <p className="field"><label htmlFor="reason">Reason</label><input id="reason" required maxLength={500} value={reason} onChange={(event) => setReason(event.target.value)} /></p>
      </Asked>}
    </>
  );
}

// What may be done with a running order.
export function OrderActions({ summary, changed }: { summary: Summary; changed: () => void }) {
  const of = { order_id: summary.id };
  const [told, setTold] = useState<Told>();
  const [error, setError] = useState<Refusal>();
  if (summary.endedAt) return null;
  const steer = (action: "hold" | "resume" | "freeze" | "thaw", label: string, effect: string) => (
    <WithReason key={action} operation="act_on_order" parameters={{ ...of, action }} label={label} effect={effect} done={changed} />
  );
  const prioritize = (priority: string, label: string, taken: string) => (
    <WithReason key={priority} operation="act_on_order" parameters={{ ...of, action: "prioritize" }} label={label} body={{ priority }} effect={`Its priority becomes ${priority}: its items and tasks are taken ${taken}.`} done={changed} />
  );
  const isHeld = summary.planState === "Held", isFrozen = summary.planState === "Frozen" || summary.planState === "Freezing";
  const rehearse = () => ask<Told>("act_on_order", { ...of, action: "cancel" }, { query: { dryRun: "true" }, body: { reason: "preview" } }).then(({ body }) => { setError(undefined); setTold(body); }, setError);
  return (
    <>
      <div className="actions">
        {summary.priority !== "high" && prioritize("high", "Expedite", "first")}
        <Link className="button" href={`${orderAddress(summary.id)}/amend`}>Amend…</Link>
        {isHeld ? steer("resume", "Resume", "What was held begins.") : !isFrozen && steer("hold", "Hold", "Nothing of it begins until it is resumed; work under way goes on.")}
        {isFrozen ? steer("thaw", "Thaw", "It goes on as it was.") : !isHeld && steer("freeze", "Freeze", "Nothing of it begins any more, so that it can be changed.")}
        {(summary.priority ?? "normal") !== "normal" && prioritize("normal", "Priority normal", "in their turn")}
        {summary.priority !== "low" && prioritize("low", "Priority low", "last")}
        {told
          ? <WithReason operation="act_on_order" parameters={{ ...of, action: "cancel" }} label="Cancel the order" body={{ version: summary.version }} effect="What has been done is undone as the preview says." done={() => { setTold(undefined); changed(); }} />
          : <button onClick={rehearse} disabled={!!refusedBecause("act_on_order")} title={refusedBecause("act_on_order")}>Cancel…</button>}
        {told && <button onClick={() => setTold(undefined)}>Close the preview</button>}
      </div>
      <Trouble error={error} />
      {told && <Preview told={told} />}
    </>
  );
}
