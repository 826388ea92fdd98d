// openai (npm) against two instances behind a dumb proxy: see tests/it/sdk.rs. Every case is a
// function; the process ends with an error at the first that fails.
const assert = require("node:assert/strict");
const readline = require("node:readline");
const OpenAI = require("openai");
const { ResponsesWS } = require("openai/resources/responses/ws");

const client = new OpenAI({ baseURL: process.env.BASE, apiKey: "none", maxRetries: 0 });
const answers = readline.createInterface({ input: process.stdin })[Symbol.asyncIterator]();

/** Asks the test that runs this to kill or to heal, and waits until that is done. */
async function tell(word) {
  console.log(word);
  assert.equal((await answers.next()).value, "done");
}

const plain = (event) => JSON.parse(JSON.stringify(event));

async function all(stream) {
  const events = [];
  for await (const event of stream) events.push(plain(event));
  return events;
}

function numbered(events) {
  assert.deepEqual(
    events.map((event) => event.sequence_number),
    events.map((_, n) => n),
  );
}

const textOf = (events) =>
  events.map((e) => (e.type === "response.output_text.delta" ? e.delta : "")).join("");

async function rejects(kind, promise) {
  try {
    await promise;
  } catch (error) {
    assert.ok(error instanceof kind, `${kind.name} expected, not ${error}`);
    return error;
  }
  assert.fail(`${kind.name} expected`);
}

/** The events of one response over a socket; they end early where the connection does. */
async function* overSocket(socket, ask) {
  const messages = socket.stream();
  for await (const message of messages) {
    if (message.type === "open") socket.send(ask);
    if (message.type === "close") return;
    // An event of the type `error` comes as the socket's error.
    if (message.type === "error" && !message.error.error) return;
    if (message.type !== "message" && message.type !== "error") continue;
    const event = plain(message.message ?? message.error.error);
    yield event;
    if (["error", "response.completed", "response.incomplete", "response.failed"].includes(event.type)) return;
  }
}

/** A connection of its own for one frame: its events. */
async function asked(ask) {
  const socket = new ResponsesWS(client);
  socket.on("error", () => {});
  const events = await all(overSocket(socket, ask));
  socket.close();
  return events;
}

const cases = {
  async earlier_turns_are_counted_and_become_one_item() {
    const first = await client.responses.create({ model: "demo", input: "/demo tokens=30 tps=0" });
    const ask = { model: "demo", previous_response_id: first.id };
    const counted = await client.responses.inputTokens.count(ask);
    assert.equal(counted.object, "response.input_tokens");
    assert.ok(counted.input_tokens > 5);
    const compacted = await client.responses.compact({ ...ask, input: "and then?" });
    assert.equal(compacted.object, "response.compaction");
    assert.deepEqual(compacted.output.map((item) => item.type), ["message", "message", "compaction"]);
    assert.ok(compacted.usage.total_tokens > 0);
    const input = [...compacted.output, { role: "user", content: "/demo tokens=3 tps=0" }];
    assert.equal((await client.responses.create({ model: "demo", input })).status, "completed");
    await rejects(OpenAI.BadRequestError, client.responses.compact({ input: "x" }));
    await rejects(OpenAI.BadRequestError, client.responses.compact({ model: "demo" }));
  },

  async responses_over_a_socket() {
    const events = await asked({ type: "response.create", model: "demo", input: "/demo tokens=20 tps=0 seed=1" });
    numbered(events);
    const final = events.at(-1).response;
    assert.equal(final.output[0].content[0].text, textOf(events));
    assert.equal((await client.responses.retrieve(final.id)).output_text, textOf(events));
    const [refused] = await asked({ type: "response.create", model: "no-such", input: "x" });
    assert.deepEqual([refused.type, refused.status, refused.error.code], ["error", 404, "model_not_found"]);
  },

  async responses_in_every_way() {
    const whole = await client.responses.create({
      model: "demo",
      input: [{ role: "user", content: "/demo tokens=20 tps=0 seed=1 unicode" }],
      instructions: "be brief",
    });
    assert.equal(whole.status, "completed");
    const events = await all(
      await client.responses.create({ model: "demo", input: "/demo tokens=30 tps=200 reasoning", stream: true }),
    );
    numbered(events);
    const id = events[0].response.id;
    for (const after of [0, 7, events.length - 2, events.length - 1]) {
      const rest = await client.responses.retrieve(id, { stream: true, starting_after: after });
      assert.deepEqual(await all(rest), events.slice(after + 1));
    }
    assert.equal((await client.responses.retrieve(id)).output_text, textOf(events));
  },

  async the_helper_resumes_by_a_full_replay() {
    const { id } = await client.responses.create({
      model: "demo",
      input: "/demo tokens=40 tps=100 seed=3 tool_call",
      background: true,
    });
    const final = await client.responses.stream({ response_id: id }).finalResponse();
    assert.equal(final.status, "completed");
    assert.deepEqual(final.output.map((item) => item.type), ["message", "function_call"]);
  },

  async a_cancel_is_seen_by_the_helper() {
    const { id } = await client.responses.create({
      model: "demo",
      input: "/demo tokens=100000 tps=100",
      background: true,
    });
    const stream = client.responses.stream({ response_id: id });
    await new Promise((resolve) => stream.once("response.output_text.delta", resolve));
    const cancelled = await client.responses.cancel(id);
    assert.equal(cancelled.status, "cancelled");
    const final = await stream.finalResponse();
    assert.equal(final.status, "cancelled");
    assert.equal(final.output_text, cancelled.output[0].content[0].text);
    await client.responses.delete(id);
    await rejects(OpenAI.NotFoundError, client.responses.retrieve(id));
  },

  async chat_in_one_piece_and_streamed() {
    const messages = [{ role: "user", content: "/demo tokens=20 tps=0 seed=4 unicode" }];
    const whole = await client.chat.completions.create({ model: "demo", messages });
    const chunks = await all(
      await client.chat.completions.create({
        model: "demo",
        messages,
        stream: true,
        stream_options: { include_usage: true },
      }),
    );
    const said = chunks.map((chunk) => chunk.choices[0]?.delta.content ?? "").join("");
    assert.equal(said, whole.choices[0].message.content);
    assert.deepEqual(chunks.at(-1).usage, whole.usage);
    const helper = client.chat.completions.stream({
      model: "demo",
      messages: [{ role: "user", content: "/demo tokens=3 tps=0 tool_call" }],
    });
    const final = await helper.finalChatCompletion();
    assert.equal(final.choices[0].message.tool_calls[0].function.name, "look_up");
  },

  async completions_of_a_prompt() {
    const ask = { model: "demo", prompt: "/demo tokens=20 tps=0 seed=4 unicode" };
    const whole = await client.completions.create(ask);
    const options = { include_usage: true, continuous_usage_stats: true };
    const chunks = await all(
      await client.completions.create({ ...ask, stream: true, stream_options: options }),
    );
    assert.equal(chunks.map((chunk) => chunk.choices[0]?.text ?? "").join(""), whole.choices[0].text);
    assert.equal(whole.object, "text_completion");
    assert.equal(whole.choices[0].finish_reason, "stop");
    assert.deepEqual(chunks.at(-1).usage, whole.usage);
    assert.ok(chunks.every((chunk) => chunk.usage.total_tokens > 0));
    const refused = await rejects(OpenAI.BadRequestError, client.completions.create({ ...ask, suffix: "x" }));
    assert.equal(refused.param, "suffix");
    await rejects(OpenAI.RateLimitError, client.completions.create({ ...ask, model: "limited" }));
    const broken = client.completions.create({ ...ask, model: "broken", stream: true }).then(all);
    assert.equal((await rejects(OpenAI.APIError, broken)).code, "upstream_unavailable");
  },

  async a_conversation_is_kept_and_gone_on_with() {
    const items = [{ type: "message", role: "user", content: "one" }];
    const made = await client.conversations.create({ items, metadata: { a: "b" } });
    assert.equal(made.object, "conversation");
    const ask = { model: "demo", conversation: made.id, input: "/demo tokens=3 tps=0" };
    const response = await client.responses.create(ask);
    assert.equal(response.conversation.id, made.id);
    const kept = [];
    for await (const item of client.conversations.items.list(made.id, { order: "asc", limit: 2 })) kept.push(item);
    assert.deepEqual(kept.map((item) => item.role), ["user", "user", "assistant"]);
    assert.equal(kept[2].content[0].text, response.output_text);
    const count = async (more) => {
      const counted = await client.responses.inputTokens.count({ model: "demo", conversation: made.id, ...more });
      return counted.input_tokens;
    };
    assert.equal(await count({ input: "four" }), (await count({})) + 1);
    await client.conversations.items.delete(kept[2].id, { conversation_id: made.id });
    const rest = await client.conversations.items.list(made.id);
    assert.deepEqual(rest.data.map((item) => item.id), [kept[1].id, kept[0].id]);
    assert.equal((await client.conversations.delete(made.id)).deleted, true);
    await rejects(OpenAI.NotFoundError, client.conversations.retrieve(made.id));
  },

  async errors_have_their_class() {
    const messages = [{ role: "user", content: "hi" }];
    const ask = (more) => client.chat.completions.create({ model: "demo", messages, ...more });
    await rejects(OpenAI.NotFoundError, ask({ model: "gpt-9" }));
    const error = await rejects(OpenAI.BadRequestError, ask({ functions: [{ name: "f" }] }));
    assert.equal(error.param, "functions");
    await rejects(OpenAI.RateLimitError, ask({ model: "limited" }));
    const broken = await rejects(OpenAI.APIError, ask({ model: "broken", stream: true }).then(all));
    assert.equal(broken.code, "upstream_unavailable");
    assert.ok((await client.models.list()).data.some((model) => model.id === "demo"));
  },

  async an_answer_that_begins_again() {
    const stream = client.responses.stream({ model: "restarts", input: "hi" });
    const final = await stream.finalResponse();
    assert.equal(final.output_text, "Hello");
    assert.equal(final.output.length, 1);
  },

  async a_killed_instance_is_not_noticed_but_for_a_pause() {
    const stream = await client.responses.create({
      model: "demo",
      input: "/demo tokens=300 tps=100 ttft_ms=0 seed=8",
      stream: true,
    });
    const seen = [];
    try {
      for await (const event of stream) {
        seen.push(plain(event));
        if (seen.length === 40) await tell(`kill ${seen[0].response.id}`);
      }
    } catch (error) {
      if (error instanceof assert.AssertionError) throw error;
    }
    const id = seen[0].response.id;
    const starting_after = seen.at(-1).sequence_number;
    seen.push(...(await all(await client.responses.retrieve(id, { stream: true, starting_after }))));
    numbered(seen);
    assert.equal(seen.at(-1).type, "response.completed");
    assert.deepEqual(await all(await client.responses.retrieve(id, { stream: true })), seen);
    const final = await client.responses.stream({ response_id: id }).finalResponse();
    assert.equal(final.output_text, textOf(seen));
    await tell("heal");
  },

  async a_socket_that_is_cut_is_resumed_elsewhere() {
    const socket = new ResponsesWS(client);
    socket.on("error", () => {});
    const seen = [];
    const ask = { type: "response.create", model: "demo", input: "/demo tokens=300 tps=100 ttft_ms=0 seed=9" };
    for await (const event of overSocket(socket, ask)) {
      assert.notEqual(event.type, "error", JSON.stringify(event));
      seen.push(event);
      if (seen.length === 40) await tell(`kill ${seen[0].response.id}`);
    }
    assert.notEqual(seen.at(-1).type, "response.completed", "the connection was cut");
    const response_id = seen[0].response.id;
    const starting_after = seen.at(-1).sequence_number;
    seen.push(...(await asked({ type: "response.retrieve", response_id, starting_after })));
    numbered(seen);
    assert.equal(seen.at(-1).type, "response.completed");
    assert.equal((await client.responses.retrieve(response_id)).output_text, textOf(seen));
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
