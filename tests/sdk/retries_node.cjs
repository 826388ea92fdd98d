// openai and @anthropic-ai/sdk (npm) while the server that answers is killed: see tests/it/sdk/retries.rs, and
// retries_python.py, which does the same.
const assert = require("node:assert/strict");
const readline = require("node:readline");
const Anthropic = require("@anthropic-ai/sdk");
const OpenAI = require("openai");

const base = process.env.BASE;
const openai = new OpenAI({ baseURL: base, apiKey: "none", maxRetries: 9 });
const anthropic = new Anthropic({ baseURL: base.replace(/\/v1$/, ""), apiKey: "none", maxRetries: 9 });
const lines = readline.createInterface({ input: process.stdin })[Symbol.asyncIterator]();

let begun = 0;
let noteBegun;
const allBegun = new Promise((resolve) => (noteBegun = resolve));
let noteKilled;
const killed = new Promise((resolve) => (noteKilled = resolve));

const asked = (text) => `q=node ${text};`;
const message = (text, more) => ({
  model: "dies",
  max_tokens: 99,
  messages: [{ role: "user", content: asked(text) }],
  ...more,
});
const ofResponse = (event) => (event.type === "response.output_text.delta" ? event.delta : "");
const ofMessage = (event) => event.delta?.text ?? "";

async function all(stream, textOf) {
  let text = "";
  for await (const event of stream) text += textOf(event);
  return text;
}

/** The text of a stream that is begun, cut by the kill, and asked for again by the application. */
async function repeated(ask, textOf) {
  let seen = false;
  try {
    for await (const event of await ask())
      if (textOf(event) && !seen) {
        seen = true;
        if (++begun === 2) noteBegun();
      }
  } catch (error) {
    if (error instanceof assert.AssertionError) throw error;
  }
  assert.ok(seen);
  await killed;
  return all(await ask(), textOf);
}

const cases = {
  async a_response_waited_for() {
    const answer = await openai.responses.create({ model: "dies", input: asked("response waited for") });
    assert.equal(answer.status, "completed");
    return answer.output_text;
  },

  async a_message_waited_for() {
    const answer = await anthropic.messages.create(message("message waited for"));
    assert.equal(answer.stop_reason, "end_turn");
    return answer.content[0].text;
  },

  async a_response_cut_before_its_head() {
    const ask = { model: "dies", input: asked("response with no head"), stream: true };
    return all(await openai.responses.create(ask), ofResponse);
  },

  async a_message_cut_before_its_head() {
    return anthropic.messages.stream(message("message with no head")).finalText();
  },

  async a_response_that_the_application_repeats() {
    const ask = { model: "goes-on", input: asked("response that is begun"), stream: true };
    return repeated(() => openai.responses.create(ask), ofResponse);
  },

  async a_message_that_the_application_repeats() {
    const ask = message("message that is begun", { model: "goes-on", stream: true });
    return repeated(() => anthropic.messages.create(ask), ofMessage);
  },
};

// What a model's server answers, and the class of it here.
const classes = {
  400: Anthropic.BadRequestError,
  401: Anthropic.AuthenticationError,
  403: Anthropic.PermissionDeniedError,
  404: Anthropic.NotFoundError,
  422: Anthropic.UnprocessableEntityError,
  429: Anthropic.RateLimitError,
  503: Anthropic.InternalServerError,
};

async function errorsOfEachStatus() {
  const once = anthropic.withOptions({ maxRetries: 0 });
  for (const [status, kind] of Object.entries(classes))
    for (const stream of [false, true]) {
      const messages = [{ role: "user", content: `status=${status};` }];
      const ask = { model: "refuses", max_tokens: 9, messages, stream };
      const error = await once.messages.create(ask).catch((error) => error);
      assert.ok(error instanceof kind, `${status}: ${error}`);
      assert.match(error.requestID, /^req_/);
    }
}

(async () => {
  const answers = Object.entries(cases).map(([name, run]) => [name, run()]);
  // They are awaited below; an error before the kill must not be lost.
  const failed = Promise.race(answers.map(([, answer]) => answer.then(() => new Promise(() => {}))));
  await Promise.race([allBegun, failed]);
  console.log("begun", answers.length);
  assert.equal((await lines.next()).value, "killed");
  noteKilled();
  for (const [name, answer] of answers) {
    assert.equal(await answer, "One two three.", name);
    console.log("ok", name);
  }
  await errorsOfEachStatus();
  console.log("ok errors of each status");
  process.exit(0);
})().catch((error) => {
  console.error(error);
  process.exit(1);
});
