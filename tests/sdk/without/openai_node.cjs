// openai (npm) in both APIs, whole and streamed: see tests/it/without.rs.
const { OpenAI } = require("openai");
const { BOTH, both, requests } = require("./table.cjs");

const clients = Object.fromEntries(
  Object.entries(BOTH).map(([way, baseURL]) => [way, new OpenAI({ baseURL, apiKey: "none", maxRetries: 0 })]),
);

async function collect(stream) {
  const all = [];
  for await (const one of await stream) all.push(one);
  return all;
}

const ask = {
  chat: async (client, body, stream) =>
    stream
      ? { chunks: await collect(client.chat.completions.create({ ...body, stream, stream_options: { include_usage: true } })) }
      : client.chat.completions.create(body),
  responses: async (client, body, stream) =>
    stream ? { events: await collect(client.responses.create({ ...body, stream })) } : client.responses.create(body),
};

(async () => {
  for (const [api, model] of [["chat", "gpt-4o"], ["responses", "gpt-5"]]) {
    for (const [name, { extra_body, ...body }] of requests(api)) {
      for (const stream of [false, true]) {
        const asked = { model, ...body, ...extra_body };
        await both(`${api} ${name} ${stream ? "stream" : "whole"}`, (way) => ask[api](clients[way], asked, stream));
      }
    }
  }
  for (const [name, body] of requests("chat")) {
    if (!["tool", "parallel", "logprobs", "refusal"].includes(name)) continue;
    await both(`chat ${name} accumulated`, (way) =>
      clients[way].chat.completions.stream({ model: "gpt-4o", ...body }).finalChatCompletion());
  }
  process.exit(0);
})();
