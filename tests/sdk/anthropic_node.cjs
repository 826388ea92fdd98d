// @anthropic-ai/sdk (npm) against two instances behind a dumb proxy: see tests/it/sdk.rs. Every
// case is a function; the process ends with an error at the first that fails.
const assert = require("node:assert/strict");
const readline = require("node:readline");
const Anthropic = require("@anthropic-ai/sdk");

const baseURL = process.env.BASE.replace(/\/v1$/, "");
const client = new Anthropic({ baseURL, apiKey: "none", maxRetries: 0 });
const answers = readline.createInterface({ input: process.stdin })[Symbol.asyncIterator]();

/** Asks the test that runs this to kill or to heal, and waits until that is done. */
async function tell(word) {
  console.log(word);
  assert.equal((await answers.next()).value, "done");
}

async function rejects(kind, promise) {
  try {
    await promise;
  } catch (error) {
    assert.ok(error instanceof kind, `${kind.name} expected, not ${error}`);
    return error;
  }
  assert.fail(`${kind.name} expected`);
}

const asking = (content, more) => ({
  model: "demo",
  max_tokens: 1000,
  messages: [{ role: "user", content }],
  ...more,
});
const tools = [{ name: "look_up", input_schema: { type: "object" } }];

const cases = {
  async in_one_piece_and_streamed() {
    const body = asking("/demo tokens=20 tps=0 reasoning tool_call seed=4 unicode", { tools });
    const whole = await client.messages.create(body);
    const stream = client.messages.stream(body);
    const texts = [];
    stream.on("text", (text) => texts.push(text));
    const final = await stream.finalMessage();
    assert.deepEqual(
      final.content.map((block) => block.type),
      ["thinking", "text", "tool_use"],
    );
    assert.deepEqual(final.content.slice(0, 2), whole.content.slice(0, 2));
    assert.equal(texts.join(""), whole.content[1].text);
    assert.deepEqual(final.content[2].input, whole.content[2].input);
    assert.equal(final.stop_reason, "tool_use");
    assert.deepEqual(final.usage, whole.usage);
  },

  async the_tool_runner_goes_through_a_loop() {
    const calls = [];
    const runner = client.beta.messages.toolRunner(
      asking("/demo tokens=3 tps=0 tool_call", {
        max_iterations: 2,
        tools: [
          {
            ...tools[0],
            run: (input) => {
              calls.push(input);
              return "/demo tokens=3 tps=0";
            },
            parse: (input) => input,
          },
        ],
      }),
    );
    await runner.runUntilDone();
    assert.ok(calls.length >= 1, "the tool was called");
  },

  async pictures_and_failed_tools() {
    const picture = { type: "base64", media_type: "image/png", data: "AAAA" };
    const result = { type: "tool_result", tool_use_id: "t", is_error: true, content: "no" };
    const answer = await client.messages.create({
      model: "demo",
      max_tokens: 1000,
      messages: [
        { role: "user", content: [{ type: "image", source: picture }, { type: "text", text: "see" }] },
        { role: "assistant", content: [{ type: "tool_use", id: "t", name: "look_up", input: {} }] },
        { role: "user", content: [result, { type: "text", text: "/demo tokens=3 tps=0" }] },
      ],
    });
    assert.equal(answer.stop_reason, "end_turn");
  },

  async tokens_and_models() {
    const { input_tokens } = await client.messages.countTokens({
      model: "demo",
      messages: [{ role: "user", content: "word ".repeat(400) }],
    });
    assert.equal(input_tokens, 500);
    const ids = [];
    for await (const model of client.models.list({ limit: 2 })) ids.push(model.id);
    assert.deepEqual(ids, ["broken", "demo", "limited", "restarts"]);
    assert.equal((await client.models.retrieve("demo")).type, "model");
  },

  async errors_have_their_class() {
    await rejects(Anthropic.NotFoundError, client.messages.create(asking("hi", { model: "claude" })));
    const error = await rejects(Anthropic.BadRequestError, client.messages.create(asking(" ")));
    assert.match(error.requestID, /^req_/);
    assert.equal(error.error.error.type, "invalid_request_error");
    await rejects(Anthropic.RateLimitError, client.messages.create(asking("hi", { model: "limited" })));
    await rejects(Anthropic.APIError, client.messages.stream(asking("hi", { model: "broken" })).finalMessage());
  },

  async a_cut_stream_is_read_again() {
    const stream = client.messages.stream(asking("/demo tokens=300 tps=100 ttft_ms=0 seed=8"));
    let seen = 0;
    const { response } = await stream.withResponse();
    const generation = response.headers.get("lastword-generation");
    try {
      for await (const _ of stream) if (++seen === 40) await tell(`kill ${generation}`);
    } catch (error) {
      if (error instanceof assert.AssertionError) throw error;
    }
    const path = `/v1/messages/msg_${generation.replaceAll("-", "")}`;
    const again = await client.get(path, { query: { stream: true }, stream: true });
    let text = "";
    let last;
    for await (const event of again) {
      text += event.delta?.text ?? "";
      last = event.type;
    }
    assert.equal(last, "message_stop");
    const whole = await client.get(path);
    assert.equal(whole.content[0].text, text);
    // The sum over both attempts, one of them estimated.
    assert.ok(whole.usage.output_tokens >= 300);
    await tell("heal");
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
