// The frame: navigation, the state of the stream, role, user and theme; and which screen an address shows.

import { type ComponentType, useEffect, useRef, useState } from "react";
import { Account } from "./Account";
import { Calibration } from "./Calibration";
import { Amend, NewOrder } from "./Change";
import { Designer } from "./Designer";
import { Ended } from "./Ended";
import { Fallout } from "./Fallout";
import { useAddress, useLiveState } from "./hooks";
import { listen } from "./keys";
import { Listeners } from "./Listeners";
import { Order } from "./Order";
import { Orders } from "./Orders";
import { Overview } from "./Overview";
import { Help, Palette } from "./Palette";
import { Link } from "./parts";
import { Releases } from "./Releases";
import { Risk } from "./Risk";
import { ROLES, chosenRole, chosenUser, keep } from "./role";
import { pause, pausedNow, resyncedNow } from "./stream";
import { Systems } from "./Systems";
import { Tasks } from "./Tasks";

const PLACES = [["/console/overview", "Overview"], ["/console/orders", "Orders"], ["/console/fallout", "Fallout"], ["/console/tasks", "Queues"], ["/console/risk", "At risk"],
  ["/console/systems", "Systems"], ["/console/releases", "Releases"], ["/console/designer", "Designer"], ["/console/listeners", "Listeners"]] as const;
const LIVE = { connecting: "Connecting…", live: "Live", reconnecting: "Reconnecting…" };

const NOWHERE = <><h1>There is no such page</h1><p>Begin at <Link href="/console/orders">the orders</Link>.</p></>;
const SCREENS: Record<string, ComponentType> = {
  overview: Overview, fallout: Fallout, tasks: Tasks, risk: Risk, systems: Systems, releases: Releases, listeners: Listeners, designer: Designer, new: NewOrder,
  calibration: Calibration, ended: Ended,
};

function screenOf(path: string) {
  const [, , place, id, part] = path.split("/").map(decodeURIComponent);
  if (!place || place === "orders") {
    if (part) return part === "amend" ? <Amend key={id} orderId={id} /> : NOWHERE;
    return id ? <Order key={id} orderId={id} /> : <Orders />;
  }
  if (place === "accounts" && id) return <Account key={id} account={id} />;
  const Screen = id ? undefined : SCREENS[place];
  return Screen ? <Screen /> : NOWHERE;
}

export function Shell() {
  const url = useAddress();
  const live = useLiveState();
  const [role, setRole] = useState(chosenRole());
  const [user, setUser] = useState(chosenUser());
  const [theme, setTheme] = useState(document.documentElement.dataset.theme ?? "system");
  const [isPaused, setPaused] = useState(pausedNow());
  const [dialog, setDialog] = useState<"palette" | "help">();
  const main = useRef<HTMLElement>(null);
  useEffect(() => listen(setDialog), []);
  const path = url.pathname === "/" ? "/console/orders" : url.pathname;
  const first = useRef(path);
  useEffect(() => {
    document.title = `${path.split("/").slice(2).map(decodeURIComponent).join(" ")} – Orderplan`;
    if (first.current !== path) main.current?.focus(); // a reader of the screen hears that the page is another one
    first.current = "";
  }, [path]);
  return (
    <>
      <a className="skip" href="#main">Skip to the content</a>
      <header>
        <strong>Orderplan</strong>
        <nav aria-label="Screens">
          {PLACES.map(([href, name]) => (
            <Link key={href} href={href} aria-current={path.startsWith(href) ? "page" : undefined}>{name}</Link>
          ))}
          <a href="/status">Status</a>
        </nav>
        <div className="tools">
        <button className="plain" aria-keyshortcuts="Control+K" onClick={() => setDialog("palette")}>Go to…</button>
        <button className="plain" aria-label="Keys" title="Keys" onClick={() => setDialog("help")}>?</button>
        <span className={`live ${isPaused ? "paused" : live}`} role="status">{isPaused ? "Paused" : LIVE[live]}{!isPaused && live === "live" && resyncedNow() !== undefined && <span className="by">, read anew {new Date(resyncedNow()!).toLocaleTimeString()}</span>}</span>
        <button className="plain" aria-pressed={isPaused} onClick={() => { pause(!isPaused); setPaused(!isPaused); }}>{isPaused ? "Go on" : "Pause"}</button>
        <label>Role <select value={role} onChange={(event) => { keep("role", event.target.value); setRole(event.target.value); }}>
          {ROLES.map((each) => <option key={each}>{each}</option>)}
        </select></label>
        <label>User <input className="user" value={user} maxLength={100} onChange={(event) => { keep("user", event.target.value); setUser(event.target.value); }} /></label>
        <label>Theme <select value={theme} onChange={(event) => {
          const chosen = event.target.value;
          keep("theme", chosen === "system" ? "" : chosen);
          if (chosen === "system") delete document.documentElement.dataset.theme;
          else document.documentElement.dataset.theme = chosen;
          setTheme(chosen);
        }}>
          {["system", "light", "dark"].map((each) => <option key={each}>{each}</option>)}
        </select></label>
        </div>
      </header>
      {dialog === "palette" && <Palette places={PLACES} close={() => setDialog(undefined)} />}
      {dialog === "help" && <Help close={() => setDialog(undefined)} />}
      <main id="main" ref={main} tabIndex={-1} key={role}>{screenOf(path)}</main>
    </>
  );
}
