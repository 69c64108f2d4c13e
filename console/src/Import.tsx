// A catalogue of another system, read into the working copy as one step: an export of Dynamic Revenue Orchestrator, whose
// workspaces become diagrams, or a TMF620 catalogue.

import { useRef, useState } from "react";
import { Refusal, ask, refusedBecause } from "./api";
import type { Diagram } from "./Diagrams";
import type { Release } from "./release";
import { Trouble, many } from "./parts";

export interface Imported { release: Release; diagrams: Diagram[]; findings: string[] }

// Tables make an export; without any a document is a TMF620 catalogue. What else is there is the bindings.
function sorted(files: File[]) {
  const tables = files.filter((file) => /\.csv$/i.test(file.name)), documents = files.filter((file) => /\.(ya?ml|json)$/i.test(file.name));
  const catalogue = tables.length ? undefined : documents.find((file) => /\.json$/i.test(file.name) && !/bindings/i.test(file.name));
  return { tables, catalogue, bindings: documents.find((file) => file !== catalogue) };
}

export function Import({ version, done, close }: { version: string; done: (imported: Imported) => void; close: () => void }) {
  const [files, setFiles] = useState<File[]>([]);
  const [error, setError] = useState<Refusal>();
  const [isReading, setReading] = useState(false);
  const [found, setFound] = useState<Imported & { told: string[] }>();
  const first = useRef<HTMLInputElement>(null);
  const refused = refusedBecause("import_dro_catalogue");
  const { tables, catalogue, bindings } = sorted(files);
  const send = async () => {
    setReading(true);
    setError(undefined);
    try {
      const bound = { version, ...(bindings && { bindings: await bindings.text() }) }, query = { dryRun: "true" };
      const { body } = catalogue
        ? await ask<Omit<Imported, "diagrams">>("import_tmf620_catalogue", {}, { query, body: { ...bound, catalogue: JSON.parse(await catalogue.text()) } })
        : await ask<Imported>("import_dro_catalogue", {}, { query, body: { ...bound, files: Object.fromEntries(await Promise.all(tables.map(async (file) => [file.name, await file.text()]))) } });
      const imported = { diagrams: [], ...body };
      setFound({ ...imported, told: await keep(imported.diagrams) });
      done(imported);
    } catch (problem) { setError(problem instanceof Refusal ? problem : new Refusal(`The file is no JSON: ${(problem as Error).message}`, 400)); } finally { setReading(false); }
  };
  return (
    <section className="job" aria-label="Import a catalogue">
      <h2>Import a catalogue</h2>
      <p className="why">The CSV files of a Dynamic Revenue Orchestrator export, or a TMF620 catalogue (.json); and a file of bindings (.yaml) if there is one. The import replaces the working copy as one step that can be undone, and publishes nothing. Workspaces are saved as diagrams.</p>
      <div className="actions">
        <button onClick={() => first.current?.click()} disabled={!!refused} title={refused}>Choose files…</button>
        <input ref={first} hidden multiple type="file" accept=".csv,.yaml,.yml,.json" aria-label="Files of the catalogue" onChange={(event) => { setFiles([...(event.target.files ?? [])]); event.target.value = ""; setFound(undefined); }} />
        <button className="primary" disabled={!(tables.length || catalogue) || isReading || !!refused} onClick={() => void send()}>{isReading ? "Importing…" : "Import"}</button>
        <button onClick={close}>Close</button>
        <span className="count">{files.length ? `${catalogue ? `catalogue ${catalogue.name}` : many(tables.length, "table")}${bindings ? `, bindings ${bindings.name}` : ", no bindings"}` : "No file is chosen."}</span>
      </div>
      <Trouble error={error} />
      {error && error.problems.length > 0 && <ul className="findings">{error.problems.map((each) => { const text = typeof each === "string" ? each : `${each.path}: ${each.reason}`; return <li key={text} className="bad">{text}</li>; })}</ul>}
      {found && <p role="status">{many(found.release.plans?.length ?? 0, "plan definition")} and {many(found.release.products.length, "product")} are imported. {found.told.join(" ")}</p>}
      {found && found.findings.length > 0 && <details><summary>{many(found.findings.length, "remark")}</summary><ul className="findings">{found.findings.map((each) => <li key={each}>{each}</li>)}</ul></details>}
    </section>
  );
}

// Saves the diagrams that are new; one that is there is left as it is.
async function keep(diagrams: Diagram[]): Promise<string[]> {
  const known = (await ask<Diagram[]>("list_diagrams", {})).body;
  const told: string[] = [];
  for (const { name, catalogue, plans, description } of diagrams) {
    const other = known.find((each) => each.name === name);
    if (!other) await ask("put_diagram", { name }, { body: { catalogue, plans, ...(description && { description }) } });
    else if (other.catalogue !== catalogue || JSON.stringify(other.plans) !== JSON.stringify(plans)) told.push(`Diagram “${name}” was there already, with other lanes: it is left as it is.`);
  }
  const saved = diagrams.length - told.length;
  return saved ? [`${many(saved, "diagram")} ${saved === 1 ? "is" : "are"} saved.`, ...told] : told;
}
