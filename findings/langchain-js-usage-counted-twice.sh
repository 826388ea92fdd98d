#!/usr/bin/env bash
# Servers of the OpenAI kind tell the usage once: in a chunk of its own, or in the one with the finish reason. One
# expects the same numbers either way. @langchain/openai 1.6.0 (JavaScript) counts the second twice in
# `response_metadata.usage` (10 for 5 prompt tokens); `usage_metadata` has it right. Bills made of the first are
# double with such servers.
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
(cd "$dir" && npm init -y && npm install --no-audit --no-fund --ignore-scripts @langchain/openai@1.6.0 @langchain/core@1.4.0) >"$dir/log" 2>&1 || { tail -n 5 "$dir/log"; echo "cannot be installed"; exit 2; }
cat >"$dir/finding.mjs" <<'JS'
import { ChatOpenAI } from '@langchain/openai';
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

const usage = { prompt_tokens: 5, completion_tokens: 2, total_tokens: 7 };
async function ask(...end) {
  const baseURL = await serve([chunk({ role: 'assistant', content: '' }), chunk({ content: 'Hello' }), ...end, done]);
  const model = new ChatOpenAI({ model: 'm', apiKey: 'none', maxRetries: 0, configuration: { baseURL } });
  let answer;
  for await (const part of await model.stream('hello')) answer = answer ? answer.concat(part) : part;
  return [answer.usage_metadata.total_tokens, answer.response_metadata.usage.total_tokens];
}
console.log('@langchain/openai 1.6.0');
verdict('[7, 7] twice', {
  'in a chunk of its own': await ask(chunk({}, 'stop'), data({ ...JSON.parse(chunk({}).slice(6)), choices: [], usage })),
  'with the finish reason': await ask(chunk({}, 'stop', { usage })),
}, { 'in a chunk of its own': [7, 7], 'with the finish reason': [7, 14] });
JS
cd "$dir"
timeout 120 node --no-warnings finding.mjs || exit 1
