// Writes TypeScript types for an OpenAPI document: one type for each schema, one line for each call.
// Of our own, since the known generators need an older TypeScript's compiler API at run time.
//
//   node generate-types.js openapi.json out.ts
import { readFileSync, writeFileSync } from "node:fs";

const [source, target] = process.argv.slice(2);
const document = JSON.parse(readFileSync(source, "utf8"));

const pascal = (name) => name[0].toUpperCase() + name.slice(1);
const key = (name) => (/^[A-Za-z_]\w*$/.test(name) ? name : JSON.stringify(name));
const comment = (text, indent) => (text ? `${indent}/** ${text.trim().replace(/\s*\n\s*/g, " ")} */\n` : "");
const union = (types) => [...new Set(types)].join(" | ");

function typeOf(schema, indent) {
  if (!schema) return "undefined";
  if (schema.$ref) return pascal(schema.$ref.split("/").at(-1));
  if (schema.enum) return union(schema.enum.map((value) => JSON.stringify(value)));
  const either = schema.oneOf ?? schema.anyOf;
  if (either) return union(either.map((one) => typeOf(one, indent)));
  if (Array.isArray(schema.type)) return union(schema.type.map((type) => typeOf({ ...schema, type }, indent)));
  switch (schema.type) {
    case "string":
      return "string";
    case "integer":
    case "number":
      return "number";
    case "boolean":
      return "boolean";
    case "null":
      return "null";
    case "array":
      return `Array<${typeOf(schema.items, indent)}>`;
    case "object":
      return objectType(schema, indent);
    default:
      return "unknown";
  }
}

function objectType(schema, indent) {
  if (!schema.properties) {
    const values = schema.additionalProperties;
    return `Record<string, ${values && values !== true ? typeOf(values, indent) : "unknown"}>`;
  }
  const required = new Set(schema.required ?? []);
  const inner = `${indent}  `;
  const fields = Object.entries(schema.properties)
    .sort(([one], [other]) => (one < other ? -1 : 1))
    .map(([name, field]) => {
      const mark = required.has(name) ? "" : "?";
      return `${comment(field.description, inner)}${inner}${key(name)}${mark}: ${typeOf(field, inner)};\n`;
    });
  return `{\n${fields.join("")}${indent}}`;
}

function parameters(operation, where) {
  const found = (operation.parameters ?? []).filter((parameter) => parameter.in === where);
  if (found.length === 0) return "undefined";
  // Numbers are text in a query anyway; callers may pass either.
  const type = where === "query" ? "string | number | undefined" : "string";
  return `{ ${found.map((one) => `${key(one.name)}${one.required ? "" : "?"}: ${type}`).join("; ")} }`;
}

const body = (holder) => typeOf(holder?.content?.["application/json"]?.schema, "  ");

function operationLine(method, path, operation) {
  const good = Object.entries(operation.responses).filter(([status]) => status.startsWith("2"));
  const fields = [
    `path: ${parameters(operation, "path")}`,
    `query: ${parameters(operation, "query")}`,
    `body: ${body(operation.requestBody)}`,
    `result: ${union(good.map(([, response]) => body(response)))}`,
  ];
  return `${comment(operation.summary, "  ")}  "${method} ${path}": { ${fields.join("; ")} };\n`;
}

const schemas = Object.entries(document.components.schemas)
  .sort(([one], [other]) => (one < other ? -1 : 1))
  .map(([name, schema]) => `${comment(schema.description, "")}export type ${pascal(name)} = ${typeOf(schema, "")};\n`);

const operations = Object.entries(document.paths)
  .sort(([one], [other]) => (one < other ? -1 : 1))
  .flatMap(([path, item]) =>
    ["get", "post", "put", "patch", "delete"]
      .filter((method) => item[method])
      .map((method) => operationLine(method, path, item[method])),
  );

writeFileSync(
  target,
  `// Written by scripts/generate-types.js from openapi.json; do not edit.

${schemas.join("\n")}
/** Every REST call, by method and path. */
export interface Operations {
${operations.join("")}}
`,
);
