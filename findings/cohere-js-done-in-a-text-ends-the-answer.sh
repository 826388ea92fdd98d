#!/usr/bin/env bash
# A stream of the OpenAI kind ends with an event whose data is `[DONE]`. One expects that only such an event ends
# it. cohere-ai 8.1.0 (JavaScript) ends at any event whose data has `[DONE]` anywhere: when the model itself
# writes "data: [DONE]" (asked for how SSE works, say), the answer stops before that piece, without an error and
# without `message-end`. cohere 7.3.1 for Python reads on. Look for `message-end`.
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
(cd "$dir" && npm init -y && npm install --no-audit --no-fund --ignore-scripts cohere-ai@8.1.0) >"$dir/log" 2>&1 || { tail -n 5 "$dir/log"; echo "cannot be installed"; exit 2; }
cat >"$dir/finding.mjs" <<'JS'
import { CohereClientV2 } from 'cohere-ai';
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

const text = (text) => event({ type: 'content-delta', index: 0, delta: { message: { content: { text } } } }, 'content-delta');
const end = event({ type: 'message-end', delta: { finish_reason: 'COMPLETE' } }, 'message-end');
async function ask(pieces) {
  const client = new CohereClientV2({ token: 'none', environment: await serve(pieces), maxRetries: 0 });
  let answer = '';
  let last;
  for await (const part of await client.chatStream({ model: 'm', messages: [{ role: 'user', content: 'hello' }] })) {
    answer += part.delta?.message?.content?.text ?? '';
    last = part.type;
  }
  return [answer, last];
}
console.log('cohere-ai 8.1.0');
verdict('["It ends with [END], then closes.","message-end"], and the same with [DONE]', [
  await ask([text('It ends'), text(' with [END]'), text(', then closes.'), end]),
  await ask([text('It ends'), text(' with [DONE]'), text(', then closes.'), end]),
], [['It ends with [END], then closes.', 'message-end'], ['It ends', 'content-delta']]);
JS
cd "$dir"
timeout 60 node --no-warnings finding.mjs || exit 1
