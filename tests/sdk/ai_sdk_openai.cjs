// The AI SDK with its default OpenAI provider (Responses, `store` on): a tool loop and a second turn, whose earlier
// items come as references. See tests/it/sdk.rs, whose model calls the tool once and then says what it returned.
const assert = require("node:assert/strict");
const { generateText, stepCountIs, streamText, tool } = require("ai");
const { createOpenAI } = require("@ai-sdk/openai");
const { z } = require("zod");

const openai = createOpenAI({ baseURL: process.env.BASE, apiKey: "none" });
const ANSWER = "It: the answer is 42.";
const look_up = tool({
  description: "Looks something up.",
  inputSchema: z.object({ what: z.string() }),
  execute: async ({ what }) => `${what} is 42`,
});
const options = { model: openai("gpt-5.6-luna"), tools: { look_up }, stopWhen: stepCountIs(3), maxRetries: 0 };

async function two_turns(ask) {
  let messages = [{ role: "user", content: "What is it?" }];
  for (let turn = 0; turn < 2; turn++) {
    const { text, steps, said } = await ask(messages);
    assert.equal(text, ANSWER);
    assert.equal(steps.length, 2, "a call and its answer");
    messages = [...messages, ...said, { role: "user", content: "And again?" }];
  }
}

const cases = {
  async a_tool_loop_and_a_second_turn() {
    await two_turns(async (messages) => {
      const result = await generateText({ ...options, messages });
      return { text: result.text, steps: result.steps, said: result.response.messages };
    });
  },

  async the_same_streamed() {
    await two_turns(async (messages) => {
      const result = streamText({ ...options, messages, onError: ({ error }) => console.error(error) });
      let text = "";
      for await (const piece of result.textStream) text += piece;
      return { text, steps: await result.steps, said: (await result.response).messages };
    });
  },
};

(async () => {
  for (const [name, run] of Object.entries(cases)) {
    await run();
    console.log("ok", name);
  }
  process.exit(0);
})().catch((error) => {
  console.error(error);
  process.exit(1);
});
