// The OpenAPI page: what the server says of itself, as text.

const make = (tag, text = "", ...children) => {
  const element = document.createElement(tag);
  element.textContent = text;
  element.append(...children);
  return element;
};
const spec = await (await fetch("/openapi.json")).json();
const base = location.origin;

function kind(schema = {}) {
  if (schema.$ref) return schema.$ref.split("/").at(-1);
  if (schema.anyOf) return schema.anyOf.map(kind).join(" or ");
  if (schema.enum) return schema.enum.map((value) => JSON.stringify(value)).join(", ");
  if (schema.type === "array") return `list of ${kind(schema.items)}`;
  const range = "minimum" in schema || "maximum" in schema ? ` from ${schema.minimum ?? "any"} to ${schema.maximum ?? "any"}` : "";
  return (schema.type ?? "anything") + range;
}

function table(rows) {
  return make("table", "", make("tbody", "", ...rows.map(([name, what, said]) =>
    make("tr", "", make("th", name), make("td", what), make("td", said ?? "")))));
}

const fields = (schema) => Object.entries(schema?.properties ?? {}).map(([name, value]) => [name, kind(value), value.description]);

document.getElementById("about").textContent = spec.info.description;
document.getElementById("example").textContent = `curl -H 'Content-Type: image/jpeg' --data-binary @photo.jpg '${base}/api/photos?name=photo.jpg'
curl -H 'Content-Type: application/json' -d '{"photo": "ID OF THE PHOTO"}' ${base}/api/restore
curl ${base}/api/jobs/ID_OF_THE_JOB
curl -o better.jpg ${base}/api/jobs/ID_OF_THE_JOB/result`;
for (const [path, methods] of Object.entries(spec.paths)) {
  for (const [method, operation] of Object.entries(methods)) {
    const section = make("section", "", make("h2", `${method.toUpperCase()} ${path}`), make("p", operation.description ?? operation.summary));
    const parameters = (operation.parameters ?? []).map(({ name, schema, description }) => [name, kind(schema), description]);
    const body = operation.requestBody?.content?.["application/json"]?.schema;
    if (body) parameters.push(...fields(spec.components.schemas[kind(body)]));
    if (parameters.length) section.append(table(parameters));
    document.getElementById("paths").append(section);
  }
}
for (const name of ["Photo", "Job"]) {
  document.getElementById("paths").append(make("section", "", make("h2", name), table(fields(spec.components.schemas[name]))));
}
