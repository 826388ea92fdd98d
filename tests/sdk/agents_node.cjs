// @openai/agents (npm) with its default model, and with a conversation of the server as its session. The model of
// tests/it/sdk.rs calls the tool once and then repeats its result.
const assert = require("node:assert/strict");
const agents = require("@openai/agents");
const { z } = require("zod");

const { Agent, OpenAIConversationsSession, run, tool } = agents;
agents.setTracingDisabled(true);
process.env.OPENAI_BASE_URL = process.env.BASE;
process.env.OPENAI_API_KEY = "none";

const ANSWER = "It: the answer is 42.";
const look_up = tool({
  name: "look_up",
  description: "Looks something up.",
  parameters: z.object({ what: z.string() }),
  execute: async ({ what }) => `${what} is 42`,
});
const agent = new Agent({ name: "a", instructions: "Answer.", tools: [look_up] });

const cases = {
  async the_default_model_calls_a_tool() {
    const first = await run(agent, "What is it?");
    assert.equal(first.finalOutput, ANSWER);
    const again = await run(agent, [...first.history, { role: "user", content: "And again?" }]);
    assert.equal(again.finalOutput, ANSWER);
  },

  async the_same_streamed() {
    const result = await run(agent, "What is it?", { stream: true });
    for await (const _ of result);
    await result.completed;
    assert.equal(result.finalOutput, ANSWER);
  },

  async a_conversation_of_the_server_is_the_session() {
    const session = new OpenAIConversationsSession();
    for (const prompt of ["What is it?", "And again?"]) {
      assert.equal((await run(agent, prompt, { session })).finalOutput, ANSWER);
    }
    const items = await session.getItems();
    const turn = ["message", "function_call", "function_call_result", "message"];
    assert.deepEqual(items.map((item) => item.type ?? "message"), [...turn, ...turn]);
    await session.popItem();
    assert.equal((await session.getItems()).length, 7);
    await session.clearSession();
  },
};

(async () => {
  for (const [name, test] of Object.entries(cases)) {
    await test();
    console.log("ok", name);
  }
  process.exit(0);
})().catch((error) => {
  console.error(error);
  process.exit(1);
});
