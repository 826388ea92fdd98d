// openai (npm) in a tool loop with Claude, which refuses a result whose thinking is missing: see tests/it/sdk.rs.
const assert = require("node:assert/strict");
const OpenAI = require("openai");

const client = new OpenAI({ baseURL: process.env.BASE, apiKey: "none", maxRetries: 0 });
const user = { role: "user", content: "go" };
const fn = { name: "f", parameters: { type: "object" } };

async function chat() {
  const tools = [{ type: "function", function: fn }];
  const ask = { model: "claude", messages: [user], tools };
  const whole = await client.chat.completions.create(ask);
  const streamed = await client.chat.completions.stream(ask).finalMessage();
  for (const message of [whole.choices[0].message, streamed]) {
    const result = { role: "tool", tool_call_id: message.tool_calls[0].id, content: "r" };
    const answer = await client.chat.completions.create({ ...ask, messages: [user, message, result] });
    assert.equal(answer.choices[0].message.content, "done");
  }
  console.log("ok chat");
}

async function responses() {
  const tools = [{ type: "function", ...fn, strict: false }];
  const ask = { model: "claude", input: [user], tools, store: false, include: ["reasoning.encrypted_content"] };
  const whole = await client.responses.create(ask);
  const streamed = await client.responses.stream(ask).finalResponse();
  for (const response of [whole, streamed]) {
    const call = response.output.find((item) => item.type === "function_call");
    const result = { type: "function_call_output", call_id: call.call_id, output: "r" };
    const second = await client.responses.create({ ...ask, input: [user, ...response.output, result] });
    assert.equal(second.output_text, "done");
  }
  console.log("ok responses");
}

chat().then(responses);
