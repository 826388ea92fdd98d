// The AI SDK with its three providers for OpenAI's APIs: see tests/it/without.rs.
const { generateText, jsonSchema, Output, streamText, tool } = require("ai");
const { createOpenAI } = require("@ai-sdk/openai");
const { createOpenAICompatible } = require("@ai-sdk/openai-compatible");
const { BOTH, TABLE, both } = require("./table.cjs");

const providers = {
  chat: (baseURL) => createOpenAI({ baseURL, apiKey: "none" }).chat("gpt-4o"),
  responses: (baseURL) => createOpenAI({ baseURL, apiKey: "none" }).responses("gpt-5"),
  compatible: (baseURL) => createOpenAICompatible({ name: "own", baseURL, apiKey: "none", includeUsage: true, supportsStructuredOutputs: true })("gpt-4o"),
};
const tools = Object.fromEntries(
  TABLE.tools.map(({ function: { name, description, parameters } }) => [name, tool({ description, inputSchema: jsonSchema(parameters) })]),
);
const part = { type: "file", mediaType: "image/png", data: TABLE.picture };
const pdf = { type: "file", mediaType: "application/pdf", data: TABLE.pdf.split(",")[1], filename: "bill.pdf" };
const ask = (name, ...parts) => [{ role: "user", content: [{ type: "text", text: `[[${name}]]` }, ...parts] }];
const call = (toolCallId, place) => ({ type: "tool-call", toolCallId, toolName: "weather", input: { place } });
const result = (toolCallId, value) => ({ type: "tool-result", toolCallId, toolName: "weather", output: { type: "text", value } });

const plain = ["text", "details", "reasoning", "refusal", "logprobs", "length", "filtered", "citations", "unicode", "empty", ...TABLE.errors];
const situations = {
  ...Object.fromEntries(plain.map((name) => [name, { messages: ask(name) }])),
  tool: { messages: ask("tool"), tools, toolChoice: "auto" },
  parallel: { messages: ask("parallel"), tools },
  results: {
    messages: [
      ...ask("results"),
      { role: "assistant", content: [call("call_a", "Rome"), call("7", "Oslo")] },
      { role: "tool", content: [result("call_a", "warm"), result("7", "cold")] },
    ],
    tools,
  },
  picture: { messages: ask("picture", part, { type: "text", text: "and" }) },
  file: { messages: ask("file", pdf) },
  structured: { messages: ask("structured"), output: Output.object({ schema: jsonSchema(TABLE.schema) }) },
};

const held = async (result, structured) => ({
  content: await result.content,
  text: await result.text,
  reasoning: await result.reasoningText,
  toolCalls: await result.toolCalls,
  finishReason: await result.finishReason,
  rawFinishReason: await result.rawFinishReason,
  usage: await result.usage,
  providerMetadata: await result.providerMetadata,
  sources: await result.sources,
  messages: (await result.response).messages,
  output: structured ? await result.output : undefined,
});

async function streamed(options) {
  let failure;
  const result = streamText({ ...options, onError: ({ error }) => { failure = error; } });
  for await (const _ of result.fullStream);
  if (failure) throw failure;
  return held(result, options.output);
}

globalThis.AI_SDK_LOG_WARNINGS = false;
(async () => {
  for (const [provider, model] of Object.entries(providers)) {
    for (const [name, situation] of Object.entries(situations)) {
      const options = (way) => ({
        model: model(BOTH[way]), instructions: "Answer.", maxRetries: 0, maxOutputTokens: 200, ...situation,
        providerOptions: name === "logprobs" ? { openai: { logprobs: 2 } } : undefined,
      });
      // A refusal is the same answer to both; the streamed one is the harder.
      if (!TABLE.errors.includes(name)) await both(`${provider} ${name} whole`, async (way) => held(await generateText(options(way)), situation.output));
      await both(`${provider} ${name} stream`, (way) => streamed(options(way)));
    }
  }
  process.exit(0);
})();
