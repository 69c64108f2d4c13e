// What a JSON Schema asks for, as fields that a person fills in.

export interface Schema {
  type?: string | string[]; title?: string; description?: string; properties?: Record<string, Schema>; required?: string[]; items?: Schema;
  enum?: unknown[]; format?: string; minimum?: number; maximum?: number; minLength?: number; maxLength?: number; $ref?: string;
}
export type Kind = "object" | "list" | "text" | "number" | "yesNo" | "choice" | "json";

// A schema with its own references followed; they point into the same document.
export function resolved(schema: Schema, root: Schema, depth = 0): Schema {
  if (!schema.$ref?.startsWith("#") || depth > 20) return schema;
  const parts = schema.$ref.slice(1).split("/").slice(1).map((part) => decodeURIComponent(part).replace(/~1/g, "/").replace(/~0/g, "~"));
  const found = parts.reduce<unknown>((at, part) => (at as Record<string, unknown> | undefined)?.[part], root) as Schema | undefined;
  const { $ref, ...rest } = schema;
  return found ? { ...resolved(found, root, depth + 1), ...rest } : schema;
}

export function kindOf(schema: Schema): Kind {
  if (schema.enum?.every((each) => typeof each !== "object")) return "choice";
  switch (schema.type) {
    case "object": return schema.properties ? "object" : "json";
    case "array": return schema.items ? "list" : "json";
    case "string": return "text";
    case "number": case "integer": return "number";
    case "boolean": return "yesNo";
    default: return "json";
  }
}

export const inputType = (schema: Schema) => ({ date: "date", email: "email", "date-time": "datetime-local" })[schema.format ?? ""] ?? "text";

// What is sent: fields that nobody has filled in are left out, an object without any too, unless it is asked for.
export function cleaned(value: unknown, schema: Schema, root: Schema, isRequired = true): unknown {
  const found = resolved(schema, root);
  switch (kindOf(found)) {
    case "object": {
      const given = (value ?? {}) as Record<string, unknown>;
      const kept = Object.entries(found.properties!).map(([name, each]) => [name, cleaned(given[name], each, root, !!found.required?.includes(name))] as const).filter(([, each]) => each !== undefined);
      return kept.length || isRequired ? Object.fromEntries(kept) : undefined;
    }
    case "list": return Array.isArray(value) && value.length ? value.map((each) => cleaned(each, found.items!, root)) : isRequired && value ? [] : undefined;
    case "text": return value === "" || value === undefined ? undefined : found.format === "date-time" ? new Date(value as string).toISOString() : value;
    default: return value === "" ? undefined : value;
  }
}
