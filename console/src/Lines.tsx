// What was ordered, left, and what it has become, right: links from line to line, and the rules that made them.

import { useState } from "react";
import { type Refusal, ask } from "./api";
import { GAP, HEIGHT, WIDTH, placed, related } from "./decomposition";
import { go, useAddress, withQuery } from "./hooks";
import { Head, More, Trouble, useMore, when } from "./parts";
import { type Line } from "./plan";

const DRAWN_MAX = 200; // lines

export function Lines({ orderId, lines }: { orderId: string; lines: Line[] }) {
  const url = useAddress();
  const chosen = lines.find((line) => line.key === url.searchParams.get("line"));
  const choose = (key?: string) => go(withQuery(url, { line: key }), false);
  const more = useMore(lines);
  return (
    <>
      {lines.length <= DRAWN_MAX && <Picture lines={lines} chosen={chosen?.key} choose={choose} />}
      {chosen && <Values orderId={orderId} line={chosen} />}
      <table>
        <Head names={["Line", "Product", "Action", "Quantity", "Comes from", "By rules", "Delivered"]} />
        <tbody>{more.shown.map((line) => (
          <tr key={line.key} className={line.key === chosen?.key ? "chosen" : undefined}>
            <th scope="row"><button className="plain" aria-pressed={line.key === chosen?.key} onClick={() => choose(line.key === chosen?.key ? undefined : line.key)}>{line.key}</button></th>
            <td>{line.name}</td><td>{line.cancelled ? <s>{line.action}</s> : line.action}</td><td>{line.quantity}</td>
            <td>{line.sources.length ? `← ${line.sources.join(", ")}` : "the order"}</td><td>{line.rules.join(", ") || "–"}</td>
            <td>{line.delivered ? `yes${line.productId ? `, ${line.productId}` : ""}` : "no"}</td>
          </tr>
        ))}</tbody>
      </table>
      <More {...more} what="lines" />
    </>
  );
}

function Picture({ lines, chosen, choose }: { lines: Line[]; chosen?: string; choose: (key?: string) => void }) {
  const places = placed(lines);
  const all = [...places.values()];
  const width = Math.max(...all.map((each) => each.x)) + WIDTH, height = Math.max(...all.map((each) => each.y)) + HEIGHT;
  const near = chosen ? related(lines, chosen) : undefined;
  const isFar = (key: string) => !!near && !near.has(key);
  return (
    <div className="becomes">
      <p className="count"><strong>Left</strong>: what was ordered. <strong>Right</strong>: what it has become, with the rule that made it.</p>
      <div style={{ position: "relative", width, height }}>
        <svg width={width} height={height} aria-hidden="true">{all.flatMap(({ line, x, y }) => line.sources.flatMap((source) => {
          const from = places.get(source);
          if (!from) return [];
          const [x1, y1, x2, y2] = [from.x + WIDTH, from.y + HEIGHT / 2, x, y + HEIGHT / 2];
          return [<path key={`${source} ${line.key}`} d={`M${x1},${y1}C${x1 + GAP / 2},${y1} ${x2 - GAP / 2},${y2} ${x2},${y2}`} className={isFar(line.key) || isFar(source) ? "far" : near ? "near" : undefined} />];
        }))}</svg>
        {all.map(({ line, x, y }) => (
          <button key={line.key} className={`line${isFar(line.key) ? " far" : ""}`} style={{ left: x, top: y, width: WIDTH, height: HEIGHT }} aria-pressed={line.key === chosen} onClick={() => choose(line.key === chosen ? undefined : line.key)}
            title={line.rules.length ? `by ${line.rules.join(", ")}` : "ordered"}>
            <strong>{line.delivered ? "✓ " : ""}{line.name}</strong>
            <span>{line.cancelled ? <s>{line.action}</s> : line.action}{line.quantity !== 1 && ` ×${line.quantity}`}{line.rules.length > 0 && ` · by ${line.rules.join(", ")}`}</span>
          </button>
        ))}
      </div>
    </div>
  );
}

interface Origin { kind: string; text: string; value: unknown; facts: Record<string, unknown> }

const shown = (value: unknown) => (typeof value === "string" ? value : JSON.stringify(value));

// The values of a line, each with where it came from on request.
function Values({ orderId, line }: { orderId: string; line: Line }) {
  const [told, setTold] = useState<{ of: string; origins: Origin[] }>();
  const [error, setError] = useState<Refusal>();
  const names = Object.keys(line.attributes);
  const trace = (attribute: string) => ask<{ origins: Origin[] }>("get_provenance", { order_id: orderId, line: line.key }, { query: { attribute } })
    .then(({ body }) => { setError(undefined); setTold({ of: `${line.key} ${attribute}`, origins: body.origins }); }, setError);
  return (
    <section aria-label={`Values of line ${line.key}`} className="job">
      <h2>{line.name} <span className="by">line {line.key}</span></h2>
      <Trouble error={error} />
      {!names.length && <p>It has no values.</p>}
      {names.length > 0 && <table><Head names={["Value", "Is", "Where from"]} /><tbody>{names.map((name) => (
        <tr key={name}><th scope="row">{name}</th><td className="long">{shown(line.attributes[name])}</td><td className="long">
          {told?.of === `${line.key} ${name}`
            ? <ul className="origins">{told.origins.map((each, at) => <li key={at}>{each.text}{typeof each.facts.at === "string" && <> <span className="by">{when(each.facts.at)}</span></>}</li>)}</ul>
            : <button className="plain" onClick={() => void trace(name)}>Where from?</button>}
        </td></tr>
      ))}</tbody></table>}
    </section>
  );
}
