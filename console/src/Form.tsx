// A form made from a JSON Schema. What cannot be made a field is given as JSON.

import { useId } from "react";
import { type Problem } from "./api";
import { type Schema, inputType, kindOf, resolved } from "./schema";

interface Props { schema: Schema; root: Schema; path: string; name: string; value: unknown; isRequired: boolean; problems: Problem[]; change: (value: unknown) => void }

const LONG = 200; // characters from which on a text gets several lines

export function Field({ schema: given, root, path, name, value, isRequired, problems, change }: Props) {
  const schema = resolved(given, root), kind = kindOf(schema), id = useId();
  const wrong = problems.find((each) => each.path === path);
  const label = <>{schema.title ?? name}{isRequired && <span className="needed"> (required)</span>}</>;
  const told = { id, "aria-invalid": !!wrong || undefined, "aria-describedby": wrong || schema.description ? `${id}-told` : undefined, required: isRequired };
  const text = (event: { target: { value: string } }) => change(event.target.value);
  const below = (wrong || schema.description) && <span id={`${id}-told`} className={wrong ? "wrong" : "why"}>{wrong?.reason ?? schema.description}</span>;

  if (kind === "object") {
    const held = (value ?? {}) as Record<string, unknown>;
    return (
      <fieldset><legend>{label}</legend>{below}
        {Object.entries(schema.properties!).map(([each, inner]) => (
          <Field key={each} schema={inner} root={root} path={`${path}.${each}`} name={each} value={held[each]} isRequired={!!schema.required?.includes(each)} problems={problems}
            change={(now) => change({ ...held, [each]: now })} />
        ))}
      </fieldset>
    );
  }
  if (kind === "list") {
    const held = (value ?? []) as unknown[];
    return (
      <fieldset><legend>{label}</legend>{below}
        {held.map((each, at) => (
          <div key={at} className="entry">
            <Field schema={schema.items!} root={root} path={`${path}[${at}]`} name={`${name} ${at + 1}`} value={each} isRequired={false} problems={problems}
              change={(now) => change(held.map((old, index) => (index === at ? now : old)))} />
            <button type="button" onClick={() => change(held.filter((_, index) => index !== at))} aria-label={`Remove ${name} ${at + 1}`}>✕</button>
          </div>
        ))}
        <button type="button" onClick={() => change([...held, undefined])}>Add {name}</button>
      </fieldset>
    );
  }
  const shown = (value ?? "") as string;
  return (
    <p className="field">
      <label htmlFor={id}>{label}</label>
      {kind === "choice" ? (
        <select {...told} value={schema.enum!.findIndex((each) => each === value)} onChange={(event) => change(schema.enum![Number(event.target.value)])}>
          <option value={-1} /> {schema.enum!.map((each, at) => <option key={at} value={at}>{String(each)}</option>)}
        </select>
      ) : kind === "yesNo" ? (
        <select {...told} value={value === undefined ? "" : String(value)} onChange={(event) => change(event.target.value === "" ? undefined : event.target.value === "true")}>
          <option value="" /> <option value="true">yes</option> <option value="false">no</option>
        </select>
      ) : kind === "number" ? (
        <input {...told} type="number" step={schema.type === "integer" ? 1 : "any"} min={schema.minimum} max={schema.maximum} value={shown}
          onChange={(event) => change(event.target.value === "" ? undefined : event.target.valueAsNumber)} />
      ) : kind === "json" ? (
        <JsonField told={told} value={value} change={change} />
      ) : (schema.maxLength ?? 0) > LONG ? (
        <textarea {...told} rows={4} minLength={schema.minLength} maxLength={schema.maxLength} value={shown} onChange={text} />
      ) : (
        <input {...told} type={inputType(schema)} minLength={schema.minLength} maxLength={schema.maxLength} value={shown} onChange={text} />
      )}
      {below}
    </p>
  );
}

function JsonField({ told, value, change }: { told: object; value: unknown; change: (value: unknown) => void }) {
  return (
    <textarea {...told} rows={3} className="code" placeholder="JSON" defaultValue={value === undefined ? "" : JSON.stringify(value)}
      onChange={({ target }) => {
        try {
          change(target.value.trim() ? JSON.parse(target.value) : undefined);
          target.setCustomValidity("");
        } catch {
          target.setCustomValidity("This is no JSON.");
        }
      }} />
  );
}
