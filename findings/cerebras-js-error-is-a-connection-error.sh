#!/usr/bin/env bash
# A server of the OpenAI kind tells of an error in mid stream by an object `{"error":{…}}`. One expects its message
# in the error that the SDK raises, as groq-sdk 1.6.0 does, of the same generator. @cerebras/cerebras_cloud_sdk
# 1.91.0 raises an APIConnectionError "Connection error.", as if the network had failed, and hides the object in
# `cause`; code that sends again after connection errors repeats a request that the server refuses. Look into
# `error.cause`.
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
(cd "$dir" && npm init -y && npm install --no-audit --no-fund --ignore-scripts @cerebras/cerebras_cloud_sdk@1.91.0 groq-sdk@1.6.0) >"$dir/log" 2>&1 || { tail -n 5 "$dir/log"; echo "cannot be installed"; exit 2; }
cat >"$dir/finding.mjs" <<'JS'
import Cerebras from '@cerebras/cerebras_cloud_sdk';
import Groq from 'groq-sdk';
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
function verdict(expected, seen, described) {
  const [a, b] = [JSON.stringify(seen), JSON.stringify(described)];
  console.log('expected:', expected);
  console.log('seen:    ', a);
  console.log(a === b ? 'as described' : `CHANGED: described was ${b}`);
  process.exit(a === b ? 0 : 1);
}
const data = (value) => `data: ${typeof value === 'string' ? value : JSON.stringify(value)}\n\n`;
const chunk = (delta, finish = null, more = {}) =>
  data({ id: 'c1', object: 'chat.completion.chunk', created: 1, model: 'm', choices: [{ index: 0, delta, finish_reason: finish }], ...more });
const done = data('[DONE]');

// name, message, and whether the cause has the server's words
const baseURL = await serve([
  chunk({ role: 'assistant', content: 'Hello' }),
  data({ error: { message: 'the prompt is not allowed', type: 'invalid_request_error', code: 'policy' } }),
]);
async function ask(client) {
  try {
    for await (const _ of await client.chat.completions.create({ model: 'm', stream: true, messages: [{ role: 'user', content: 'hello' }] }));
    return 'no error';
  } catch (error) {
    return [error.constructor.name, error.message, error.cause?.message.includes('the prompt is not allowed') ?? false];
  }
}
console.log('@cerebras/cerebras_cloud_sdk 1.91.0, groq-sdk 1.6.0');
verdict('an error with the message twice', {
  groq: await ask(new Groq({ apiKey: 'none', baseURL, maxRetries: 0 })),
  cerebras: await ask(new Cerebras({ apiKey: 'none', baseURL, maxRetries: 0, warmTCPConnection: false })),
}, {
  groq: ['APIError', 'the prompt is not allowed', false],
  cerebras: ['APIConnectionError', 'Connection error.', true],
});
JS
cd "$dir"
timeout 120 node --no-warnings finding.mjs || exit 1
