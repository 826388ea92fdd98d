// openai and @anthropic-ai/sdk (npm) while the server that answers is killed: see tests/it/sdk/retries.rs. The SDKs try
// again by themselves where an answer has not begun; where it has, the application repeats its request.
const assert = require("node:assert/strict");
const readline = require("node:readline");
const Anthropic = require("@anthropic-ai/sdk");
const OpenAI = require("openai");

const base = process.env.BASE;
const openai = new OpenAI({ baseURL: base, apiKey: "none", maxRetries: 9 });
const anthropic = new Anthropic({ baseURL: base.replace(/\/v1$/, ""), apiKey: "none", maxRetries: 9 });
const answers = readline.createInterface({ input: process.stdin })[Symbol.asyncIterator]();
// Each question is asked twice.
let asked = 1;

async function tell(word) {
  console.log(word);
  assert.equal((await answers.next()).value, "done");
}

async function started() {
  const rows = await (await fetch(`${base}/generations?limit=100`)).json();
  return rows.data.filter((row) => row.model === "dies").length;
}

/** The result of a call under which the server is killed. */
async function waits(call) {
  const answer = call();
  // It is awaited below.
  answer.catch(() => {});
  await tell(`asked ${asked}`);
  asked += 2;
  await tell("kill");
  return answer;
}

/** The text of a stream that is begun, cut by a kill, and asked for again by the application. */
async function repeats(stream, textOf) {
  let killed = false;
  try {
    for await (const event of await stream())
      if (textOf(event) && !killed) {
        killed = true;
        asked += 2;
        await tell("kill");
      }
  } catch (error) {
    if (error instanceof assert.AssertionError) throw error;
  }
  assert.ok(killed);
  return all(await stream(), textOf);
}

async function all(stream, textOf) {
  let text = "";
  for await (const event of stream) text += textOf(event) ?? "";
  return text;
}

const user = (content) => [{ role: "user", content }];
const message = (content, more) => ({ model: "dies", max_tokens: 99, messages: user(content), ...more });
const ofChat = (chunk) => chunk.choices[0]?.delta.content;
const ofResponse = (event) => (event.type === "response.output_text.delta" ? event.delta : undefined);
const ofMessage = (event) => event.delta?.text;

const cases = {
  async a_waited_for_response() {
    return (await waits(() => openai.responses.create({ model: "dies", input: "waited for" }))).output_text;
  },

  async a_waited_for_message() {
    const answer = await waits(() => anthropic.messages.create(message("waited for")));
    assert.equal(answer.stop_reason, "end_turn");
    return answer.content[0].text;
  },

  async a_streamed_response_cut_before_its_head() {
    const ask = () => openai.responses.create({ model: "dies", input: "no head", stream: true });
    return waits(async () => all(await ask(), ofResponse));
  },

  async a_streamed_message_cut_before_its_head() {
    const ask = () => anthropic.messages.create(message("no head", { stream: true }));
    return waits(async () => all(await ask(), ofMessage));
  },

  async a_completion_that_the_application_repeats() {
    const body = { model: "dies", messages: user("begun"), stream: true };
    return repeats(() => openai.chat.completions.create(body), ofChat);
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

(async () => {
  let count = 0;
  for (const [name, run] of Object.entries(cases)) {
    assert.equal(await run(), "One two three.", name);
    await tell("heal");
    assert.equal(await started(), ++count, name);
    console.log("ok", name);
  }
  const once = anthropic.withOptions({ maxRetries: 0 });
  for (const [status, kind] of Object.entries(classes))
    for (const stream of [false, true]) {
      const error = await once.messages.create(message(`status ${status}`, { stream })).catch((error) => error);
      assert.ok(error instanceof kind, `${status}: ${error}`);
      assert.match(error.requestID, /^req_/);
    }
  process.exit(0);
})().catch((error) => {
  console.error(error);
  process.exit(1);
});
