#!/usr/bin/env bash
# Ollama tells of an error in mid answer by a line `{"error":"…"}`. One expects a provider of the AI SDK to make an
# error of it, as ai-sdk-ollama 4.3.0 does. ollama-ai-provider-v2 4.0.1 prints the line to the console as one that
# it cannot parse and goes on: the answer ends as half a text with the finish reason "other" and no error part. A
# body that just ends is the same. Take "other" for a failure.
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
(cd "$dir" && npm init -y && npm install --no-audit --no-fund --ignore-scripts ollama-ai-provider-v2@4.0.1 ai-sdk-ollama@4.3.0 ai@7.0.173 zod@4.6.7) >"$dir/log" 2>&1 || { tail -n 5 "$dir/log"; echo "cannot be installed"; exit 2; }
cat >"$dir/finding.mjs" <<'JS'
import { createOllama as first } from 'ollama-ai-provider-v2';
import { createOllama as second } from 'ai-sdk-ollama';
import { streamText } from 'ai';
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

console.warn = () => {};
const line = (value) => `${JSON.stringify(value)}\n`;
const text = (content) => line({ model: 'm', created_at: '2026-01-01T00:00:00Z', message: { role: 'assistant', content }, done: false });
async function ask(provider, ...pieces) {
  const url = await serve(pieces, { kind: 'application/x-ndjson' });
  const seen = ['', null, null];
  try {
    const { fullStream } = streamText({ model: provider(url)('m'), prompt: 'hello', maxRetries: 0, onError: () => {} });
    for await (const part of fullStream) {
      if (part.type === 'text-delta') seen[0] += part.text;
      if (part.type === 'finish') seen[1] = part.finishReason;
      if (part.type === 'error') seen[2] = part.error.message;
    }
  } catch (error) {
    seen[2] = error.message;
  }
  return seen;
}
const crash = [text('Do not'), line({ error: 'the model runner has stopped' })];
console.log('ollama-ai-provider-v2 4.0.1, ai-sdk-ollama 4.3.0, ai 7.0.173');
verdict('an error in all four', {
  'v2, error line': await ask((url) => first({ baseURL: `${url}/api` }), ...crash),
  'v2, early end': await ask((url) => first({ baseURL: `${url}/api` }), crash[0]),
  'ai-sdk-ollama, error line': await ask((url) => second({ baseURL: url }), ...crash),
  'ai-sdk-ollama, early end': await ask((url) => second({ baseURL: url }), crash[0]),
}, {
  'v2, error line': ['Do not', 'other', null],
  'v2, early end': ['Do not', 'other', null],
  'ai-sdk-ollama, error line': ['Do not', null, 'the model runner has stopped'],
  'ai-sdk-ollama, early end': ['Do not', null, 'Did not receive done or success response in stream.'],
});
JS
cd "$dir"
timeout 120 node --no-warnings finding.mjs || exit 1
