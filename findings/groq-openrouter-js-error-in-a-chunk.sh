#!/usr/bin/env bash
# Groq tells of an answer that it stopped early by `x_groq.error` in a chunk, OpenRouter by `error` beside `choices`
# with the finish reason "error". One expects each one's own SDK to raise it, as openai 7.59.0 does for the second.
# groq-sdk 1.6.0 and @openrouter/sdk 1.3.19 hand the chunk out like any other: a loop over the texts ends with half
# an answer and no error. Look at `chunk.x_groq?.error` and `chunk.error`, or take a missing or unknown finish
# reason for a failure.
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
(cd "$dir" && npm init -y && npm install --no-audit --no-fund --ignore-scripts groq-sdk@1.6.0 @openrouter/sdk@1.3.19 openai@7.59.0) >"$dir/log" 2>&1 || { tail -n 5 "$dir/log"; echo "cannot be installed"; exit 2; }
cat >"$dir/finding.mjs" <<'JS'
import { OpenRouter } from '@openrouter/sdk';
import Groq from 'groq-sdk';
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

const question = { model: 'm', stream: true, messages: [{ role: 'user', content: 'hello' }] };
const hello = chunk({ role: 'assistant', content: 'Do not' });
const groq = [hello, chunk({}, null, { x_groq: { id: 'r', error: 'over capacity' } }), done];
const router = [hello, chunk({ content: '' }, 'error', { error: { code: 502, message: 'provider disconnected' } }), done];
async function read(stream) {
  let text = '';
  try {
    for await (const part of await stream) text += part.choices[0]?.delta.content ?? '';
    return [text, 'no error'];
  } catch (error) {
    return [text, error.message];
  }
}
const stainless = async (Client, pieces) => new Client({ apiKey: 'none', baseURL: await serve(pieces), maxRetries: 0 }).chat.completions.create(question);
console.log('groq-sdk 1.6.0, @openrouter/sdk 1.3.19, openai 7.59.0');
verdict('an error in all three', {
  'x_groq.error, groq-sdk': await read(stainless(Groq, groq)),
  'error, @openrouter/sdk': await read(new OpenRouter({ apiKey: 'none', serverURL: await serve(router) }).chat.send({ chatRequest: question })),
  'error, openai': await read(stainless(OpenAI, router)),
}, {
  'x_groq.error, groq-sdk': ['Do not', 'no error'],
  'error, @openrouter/sdk': ['Do not', 'no error'],
  'error, openai': ['Do not', 'provider disconnected'],
});
JS
cd "$dir"
timeout 120 node --no-warnings finding.mjs || exit 1
