// The situations of requests.json, and the line that says what a client holds.
const BOTH = { DIRECT: process.env.DIRECT, THROUGH: process.env.THROUGH };
const TABLE = require("./requests.json");
const FLAT = TABLE.tools.map((tool) => ({ type: "function", ...tool.function }));
const NAMED = { "@tools": TABLE.tools, "@flat_tools": FLAT, "@schema": TABLE.schema, "@picture": TABLE.picture, "@pdf": TABLE.pdf };

function filled(value) {
  if (Array.isArray(value)) return value.map(filled);
  if (value && typeof value === "object") {
    return Object.fromEntries(Object.entries(value).filter(([name]) => name !== "as").map(([name, inner]) => [name, filled(inner)]));
  }
  return NAMED[value] ?? value;
}

// Each situation's name and request, the errors last.
function requests(api) {
  const errors = TABLE.errors.map((name) => {
    const prompt = `[[${name}]]`;
    return [name, api === "responses" ? { input: prompt } : { messages: [{ role: "user", content: prompt }] }];
  });
  return [...Object.entries(TABLE[api]).map(([name, body]) => [name, filled(body)]), ...errors];
}

function held(error) {
  const { name, status, code, type, param, statusCode, responseBody, isRetryable } = error;
  const after = error.headers?.get?.("retry-after") ?? error.responseHeaders?.["retry-after"];
  const message = String(error.message);
  return { error: { class: error.constructor?.name ?? name, message, status, code, type, param, statusCode, responseBody, isRetryable, "retry-after": after } };
}

// Asks at both addresses, and prints a line for each.
async function both(situation, ask) {
  for (const way of Object.keys(BOTH)) {
    let value;
    for (let turn = 0; turn < 20; turn++) {
      try {
        value = await ask(way);
      } catch (error) {
        value = held(error);
      }
      // A database on a busy machine may be slow; the client is asked to come again.
      if (!JSON.stringify(value.error ?? "").includes("storage_unavailable")) break;
    }
    console.log(JSON.stringify({ situation, way, held: value }));
  }
}

module.exports = { BOTH, TABLE, both, requests };
