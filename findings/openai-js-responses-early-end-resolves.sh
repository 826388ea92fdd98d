#!/usr/bin/env bash
# A Responses stream that ends cleanly before its last event is a cut answer. One expects `finalResponse()` to
# reject, as `finalChatCompletion()` of the same SDK does and as openai 3.57.0 for Python does. openai 7.59.0
# (JavaScript) resolves, with a response whose status is "in_progress". Check the status of what this promise
# gives, also for "failed" and "incomplete", which resolve as well.
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
(cd "$dir" && npm init -y && npm install --no-audit --no-fund --ignore-scripts openai@7.59.0) >"$dir/log" 2>&1 || { tail -n 5 "$dir/log"; echo "cannot be installed"; exit 2; }
cat >"$dir/finding.mjs" <<'JS'
import OpenAI from 'openai';
import http from 'node:http';

/** An upstream that answers every request with these pieces; `cut` breaks the connection instead of ending the body. */
async function serve(pieces, { cut = false, pause = 20, kind = 'text/event-stream' } = {}) {
  const server = http.createServer((request, response) => {
    request.resume();
    request.on('end', async () => {
      response.writeHead(200, { 'content-type': kind });
      response.flushHeaders();
      for (const piece of pieces) {
        response.write(piece);
        await new Promise((done) => setTimeout(done, pause));
      }
      cut ? response.destroy() : response.end();
    });
  });
  await new Promise((done) => server.listen(0, '127.0.0.1', done));
  return `http://127.0.0.1:${server.address().port}`;
}
const event = (value, name) => `${name ? `event: ${name}\n` : ''}data: ${JSON.stringify(value)}\n\n`;
function verdict(expected, seen, described) {
  const [a, b] = [JSON.stringify(seen), JSON.stringify(described)];
  console.log('expected:', expected);
  console.log('seen:    ', a);
  console.log(a === b ? 'as described' : `CHANGED: described was ${b}`);
  process.exit(a === b ? 0 : 1);
}
const chunk = (delta, finish = null, index = 0) =>
  event({ id: 'c1', object: 'chat.completion.chunk', created: 1, model: 'm', choices: [{ index, delta, finish_reason: finish }] });
const DONE = 'data: [DONE]\n\n';
const messages = [{ role: 'user', content: 'hello' }];

const response = (status, more = {}) => ({ id: 'resp_1', object: 'response', created_at: 1, status, model: 'm', output: [], parallel_tool_calls: true, tool_choice: 'auto', tools: [], error: null, incomplete_details: null, instructions: null, metadata: {}, ...more });
const numbered = (events) => events.map((value, n) => event({ ...value, sequence_number: n }, value.type));
async function final(events) {
  const client = new OpenAI({ baseURL: (await serve(numbered(events))) + '/v1', apiKey: 'none', maxRetries: 0 });
  try {
    return (await client.responses.stream({ model: 'm', input: 'hello' }).finalResponse()).status;
  } catch (error) {
    return `${error.constructor.name}: ${error.message}`;
  }
}

const client = new OpenAI({ baseURL: (await serve([chunk({ role: 'assistant', content: 'Half' })])) + '/v1', apiKey: 'none', maxRetries: 0 });
const chat = await client.chat.completions.stream({ model: 'm', messages }).finalChatCompletion().then(() => 'resolved', (e) => e.message);
console.log('openai 7.59.0');
verdict('an error, twice', [chat, await final([{ type: 'response.created', response: response('in_progress') }])],
  ['missing finish_reason for choice 0', 'in_progress']);
JS
cd "$dir"
timeout 60 node --no-warnings finding.mjs || exit 1
