#!/usr/bin/env bash
# A server may add event types to the Responses stream. One expects a client to pass over a type that it does
# not know, as openai 3.57.0 for Python does. openai 7.59.0 (JavaScript), `client.responses.stream()`: the
# answer is lost with "Unhandled response stream event: unknown". Reading the events of `create({stream: true})`
# is not disturbed. So a server must not put events of its own into this stream; comments are safe.
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

const created = { type: 'response.created', response: response('in_progress') };
const completed = { type: 'response.completed', response: response('completed') };
console.log('openai 7.59.0');
verdict('completed, twice', [await final([created, completed]), await final([created, { type: 'response.weather' }, completed])],
  ['completed', 'OpenAIError: Unhandled response stream event: unknown']);
JS
cd "$dir"
timeout 60 node --no-warnings finding.mjs || exit 1
