#!/usr/bin/env bash
# `data: [DONE]` ends a chat completion stream. One expects a client to stop there, as OpenAI's, Groq's and
# langchain's do. The Vercel AI SDK (ai 7.0.173 with @ai-sdk/openai-compatible 3.0.92 or @ai-sdk/openai 4.0.118)
# skips that event and reads to the end of the body: text behind it is part of the answer. A gateway that keeps
# a body open, or appends something after `[DONE]`, is heard; close the body there.
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
(cd "$dir" && npm init -y && npm install --no-audit --no-fund --ignore-scripts ai@7.0.173 @ai-sdk/openai-compatible@3.0.92 @ai-sdk/openai@4.0.118 zod@4) >"$dir/log" 2>&1 || { tail -n 5 "$dir/log"; echo "cannot be installed"; exit 2; }
cat >"$dir/finding.mjs" <<'JS'
import { streamText } from 'ai';
import { createOpenAICompatible } from '@ai-sdk/openai-compatible';
import { createOpenAI } from '@ai-sdk/openai';
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

const baseURL = (await serve([chunk({ role: 'assistant', content: 'Hello' }), chunk({}, 'stop'), DONE, chunk({ content: ' more' }), DONE])) + '/v1';
const seen = [];
for (const model of [createOpenAICompatible({ name: 'x', baseURL, apiKey: 'none' })('m'), createOpenAI({ baseURL, apiKey: 'none' }).chat('m')]) {
  seen.push(await streamText({ model, prompt: 'hello', maxRetries: 0 }).text);
}
console.log('ai 7.0.173');
verdict('Hello, twice', seen, ['Hello more', 'Hello more']);
JS
cd "$dir"
timeout 60 node --no-warnings finding.mjs || exit 1
