// The AI SDK's Anthropic provider (npm), on a server: see tests/it/sdk.rs.
import assert from "node:assert/strict";
import { createRequire } from "node:module";

// From NODE_PATH, which `import` does not look at.
const require = createRequire(`${process.env.NODE_PATH}/`);
const { createAnthropic } = require("@ai-sdk/anthropic");
const { generateText, jsonSchema, stepCountIs, streamText, tool } = require("ai");

const model = createAnthropic({ baseURL: process.env.BASE, apiKey: "none" })("demo");
const asked = { model, maxRetries: 0, maxOutputTokens: 500 };

const prompt = "/demo tokens=30 tps=0 reasoning seed=6 unicode";
const whole = await generateText({ ...asked, prompt });
const stream = streamText({ ...asked, prompt });
let text = "";
let pieces = 0;
for await (const piece of stream.textStream) {
  text += piece;
  pieces += 1;
}
assert.ok(pieces > 1 && text.length > 0);
assert.equal(text, whole.text);
assert.equal(await stream.reasoningText, whole.reasoningText);
assert.ok(whole.reasoningText.length > 0);
assert.equal(await stream.finishReason, "stop");
assert.equal((await stream.usage).outputTokens, whole.usage.outputTokens);
console.log("ok ai sdk anthropic");

const weather = tool({
  description: "Says how warm it is",
  inputSchema: jsonSchema({
    type: "object",
    required: ["city"],
    properties: { city: { type: "string" } },
    additionalProperties: false,
  }),
  execute: async ({ city }) => `9 degrees in ${city}`,
});
const loop = await generateText({
  ...asked,
  prompt: "/demo tps=0 ttft_ms=0",
  tools: { weather },
  // Required in each step, it would call for ever.
  prepareStep: ({ stepNumber }) => (stepNumber === 0 ? { toolChoice: "required" } : {}),
  stopWhen: stepCountIs(3),
});
assert.equal(loop.steps.length, 2, "it calls, and then it answers");
assert.deepEqual(loop.steps[0].toolCalls[0].input, { city: "a demo of city" });
assert.match(loop.text, /9 degrees in a demo of city/);
console.log("ok ai sdk anthropic tools");
