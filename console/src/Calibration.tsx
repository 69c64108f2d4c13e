// How good the scores of orders at risk are: what the models said, and what became true.

import { ask, refusedBecause } from "./api";
import { NO_FACT, useLive } from "./hooks";
import { Columns } from "./Numbers";
import { lasted, percent } from "./figures";
import { Link, Trouble, many, when } from "./parts";

type Bin = [said: number, became: number, count: number];
interface Live { outcomes: number; points: number; knownFrom: string | null; knownTo: string | null; labelLagS: number | null; lateShare: number | null; auc: number | null; brier: number | null; brierSkill: number | null; ece: number | null; reliability: Bin[] }
interface Model { name: string; version: string; stage: string; simulated: boolean | null; live: Live; waiting: number; trained: { brier?: number; auc?: number } | null; againstChampion: { isBetter: boolean; reason: string } | null }
interface Report { at: string; champion: string | null; models: Model[]; shift: Record<string, number>; fallbackShare: number | null }

const POLL_MS = 60_000;
const SHIFTED = 0.1; // below it is chance, mostly
const STAGES: Record<string, string> = { champion: "says what is shown", shadow: "in shadow", builtIn: "built in" };
const figure = (value: number | null, digits = 3) => (value === null ? "–" : value.toFixed(digits));

export function Calibration() {
  const found = useLive("calibration", async (signal) => (await ask<Report>("report_models", {}, { signal })).body, NO_FACT, { pollMs: () => POLL_MS });
  const refused = refusedBecause("report_models");
  const report = found.data;
  const shown = report ? [...report.models].sort((one, other) => Number(other.name === report.champion) - Number(one.name === report.champion)) : [];
  const moved = Object.entries(report?.shift ?? {}).filter(([, index]) => index >= SHIFTED).sort(([, one], [, other]) => other - one);
  return (
    <>
      <h1>How good the scores are <Link className="button" href="/console/risk">Orders at risk</Link></h1>
      {refused && <p className="trouble">{refused}</p>}
      <Trouble error={found.error} again={found.again} />
      {!report && !found.error && <p role="status">Reading…</p>}
      {report && <>
        <p>{report.champion ? <>The model <strong>{report.champion}</strong> says what is shown.</> : "The built-in model says what is shown."}
          {report.fallbackShare !== null && report.champion && <> The built-in model answered in its place for {percent(report.fallbackShare)} of the scores.</>} Each model is asked at 25, 50, 75 and 90 % of the time that an order is allowed, and judged when the order has ended or its due date is over.</p>
        {shown.map((each) => <OneModel key={each.name} model={each} />)}
        {moved.length > 0 && <section aria-label="Shift"><h2>What the champion sees has moved since its training</h2><ul>{moved.map(([name, index]) => <li key={name}>{name}: {index.toFixed(2)}</li>)}</ul><p className="why">Population stability index; from 0.25 on it is time to train anew.</p></section>}
      </>}
    </>
  );
}

function OneModel({ model }: { model: Model }) {
  const { live } = model;
  return (
    <section aria-label={model.name}>
      <h2>{model.name} <span className="why">{STAGES[model.stage] ?? model.stage}, version {model.version.slice(0, 12)}{model.simulated && ", trained on simulated orders"}</span></h2>
      {!live.points ? <p>Nothing that it has said has become known yet{model.waiting ? `; ${many(model.waiting, "score")} wait for their outcome` : ""}.</p> : <>
        <p>{many(live.points, "score")} of {many(live.outcomes, "order")} whose outcome became known between {when(live.knownFrom)} and {when(live.knownTo)}; {many(model.waiting, "score")} wait. Half of the outcomes are known within {lasted(live.labelLagS)}.</p>
        <dl className="figures">
          <div><dt>Late</dt><dd>{percent(live.lateShare)}</dd></div>
          <div><dt>Brier</dt><dd>{figure(live.brier, 4)}</dd></div>
          <div><dt>Skill</dt><dd>{figure(live.brierSkill)}</dd></div>
          <div><dt>ECE</dt><dd>{figure(live.ece)}</dd></div>
          <div><dt>AUC</dt><dd>{figure(live.auc)}</dd></div>
          {model.trained?.brier !== undefined && <div><dt>Brier when trained</dt><dd>{figure(model.trained.brier, 4)}</dd></div>}
        </dl>
        {model.againstChampion && <p>{model.againstChampion.isBetter ? "Better" : "Not better"} than the champion: {model.againstChampion.reason}.</p>}
        <div className="reliability">
          <Picture bins={live.reliability} />
          <table className="numbers"><Columns names={["#Said", "#Became true", "#Off by", "#Scores"]} /><tbody>{live.reliability.map(([said, became, count], at) => (
            <tr key={at}><th scope="row" className="num">{percent(said)}</th><td className="num">{percent(became)}</td><td className="num">{became >= said ? "+" : "−"}{Math.abs((became - said) * 100).toFixed(1)}</td><td className="num">{count.toLocaleString()}</td></tr>
          ))}</tbody></table>
        </div>
      </>}
    </section>
  );
}

const SIDE = 220, EDGE = 44;

// A model that is right about its own certainty has its points on the line; the table says the same.
function Picture({ bins }: { bins: Bin[] }) {
  const x = (share: number) => EDGE + share * SIDE, y = (share: number) => 8 + (1 - share) * SIDE;
  const most = Math.max(...bins.map(([, , count]) => count));
  return (
    <svg className="calibration" viewBox={`0 0 ${SIDE + EDGE + 12} ${SIDE + EDGE + 10}`} role="img" aria-label={`What was said against what became true, in ${bins.length} bins`}>
      {[0, 0.25, 0.5, 0.75, 1].map((at) => <g key={at}>
        <line className="grid" x1={x(0)} x2={x(1)} y1={y(at)} y2={y(at)} /><line className="grid" x1={x(at)} x2={x(at)} y1={y(0)} y2={y(1)} />
        <text x={EDGE - 5} y={y(at) + 4} textAnchor="end">{at * 100}</text><text x={x(at)} y={y(0) + 15} textAnchor="middle">{at * 100}</text>
      </g>)}
      <line className="right" x1={x(0)} y1={y(0)} x2={x(1)} y2={y(1)} />
      <polyline points={bins.map(([said, became]) => `${x(said).toFixed(1)},${y(became).toFixed(1)}`).join(" ")} />
      {bins.map(([said, became, count], at) => <circle key={at} cx={x(said)} cy={y(became)} r={3 + 4 * Math.sqrt(count / most)} />)}
      <text x={x(0.5)} y={y(0) + 30} textAnchor="middle">said, %</text>
      <text transform={`translate(10 ${y(0.5)}) rotate(-90)`} textAnchor="middle">became true, %</text>
    </svg>
  );
}
