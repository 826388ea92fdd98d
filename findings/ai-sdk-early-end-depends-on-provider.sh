#!/usr/bin/env bash
# A stream that ends cleanly without a finish reason is a cut answer. One expects one SDK to report it in one
# way. ai 7.0.173: over @ai-sdk/openai-compatible 3.0.92 it is an error part and the finish reason "error"; over
# @ai-sdk/openai 4.0.118 and @ai-sdk/anthropic 4.0.105 there is no error, and the reason is "interrupted". Code
# that keeps an answer unless there is an error keeps half answers, depending on the provider.
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
(cd "$dir" && npm init -y && npm install --no-audit --no-fund --ignore-scripts ai@7.0.173 @ai-sdk/openai-compatible@3.0.92 @ai-sdk/openai@4.0.118 @ai-sdk/anthropic@4.0.105 zod@4) >"$dir/log" 2>&1 || { tail -n 5 "$dir/log"; echo "cannot be installed"; exit 2; }
cat >"$dir/finding.mjs" <<'JS'
import { streamText } from 'ai';
import { createOpenAICompatible } from '@ai-sdk/openai-compatible';
import { createOpenAI } from '@ai-sdk/openai';
import { createAnthropic } from '@ai-sdk/anthropic';
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

const chat = (await serve([chunk({ role: 'assistant', content: 'Half' })])) + '/v1';
const named = (value) => event(value, value.type);
const message = { id: 'msg_1', type: 'message', role: 'assistant', model: 'm', content: [], stop_reason: null, stop_sequence: null, usage: { input_tokens: 5, output_tokens: 1 } };
const claude = (await serve([
  named({ type: 'message_start', message }),
  named({ type: 'content_block_start', index: 0, content_block: { type: 'text', text: '' } }),
  named({ type: 'content_block_delta', index: 0, delta: { type: 'text_delta', text: 'Half' } }),
])) + '/v1';
const seen = {};
for (const [name, model] of Object.entries({
  compatible: createOpenAICompatible({ name: 'x', baseURL: chat, apiKey: 'none' })('m'),
  openai: createOpenAI({ baseURL: chat, apiKey: 'none' }).chat('m'),
  anthropic: createAnthropic({ baseURL: claude, apiKey: 'none' })('m'),
})) {
  const errors = [];
  const result = streamText({ model, prompt: 'hello', maxRetries: 0, onError: ({ error }) => errors.push(error) });
  let reason;
  for await (const part of result.fullStream) if (part.type === 'finish') reason = part.finishReason;
  seen[name] = [reason, errors.length];
}
console.log('ai 7.0.173');
verdict('one reason and one error from each', seen, { compatible: ['error', 1], openai: ['interrupted', 0], anthropic: ['interrupted', 0] });
JS
cd "$dir"
timeout 60 node --no-warnings finding.mjs || exit 1
