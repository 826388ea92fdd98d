#!/usr/bin/env bash
# In a chat completion stream only the first delta has a role, and some servers leave it out or send null: all of it
# is the assistant's. One expects an AI message with its tool calls. @langchain/openai 1.6.0 (JavaScript) makes such
# a chunk a ChatMessageChunk, and all that is added to it: `tool_calls` and `usage_metadata` of the answer are
# undefined, so an agent sees a plain text and ends. Begin each stream with `"role":"assistant"`.
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

async function ask(first) {
  const call = { index: 0, id: 'c1', type: 'function', function: { name: 'weather', arguments: '{"city":"Oslo"}' } };
  const usage = { prompt_tokens: 5, completion_tokens: 2, total_tokens: 7 };
  const baseURL = await serve([
    chunk({ ...first, content: 'I look.' }), chunk({ tool_calls: [call] }), chunk({}, 'tool_calls'), data({ ...JSON.parse(chunk({}).slice(6)), choices: [], usage }), done,
  ]);
  const model = new ChatOpenAI({ model: 'm', apiKey: 'none', maxRetries: 0, configuration: { baseURL } });
  let answer;
  for await (const part of await model.stream('hello')) answer = answer ? answer.concat(part) : part;
  return [answer.constructor.name, answer.tool_calls?.length ?? null, answer.usage_metadata?.total_tokens ?? null];
}
console.log('@langchain/openai 1.6.0');
verdict('["AIMessageChunk", 1, 7] in all three', {
  assistant: await ask({ role: 'assistant' }), none: await ask({}), null: await ask({ role: null }),
}, {
  assistant: ['AIMessageChunk', 1, 7],
  none: ['ChatMessageChunk', null, null],
  null: ['ChatMessageChunk', null, null],
});
JS
cd "$dir"
timeout 120 node --no-warnings finding.mjs || exit 1
