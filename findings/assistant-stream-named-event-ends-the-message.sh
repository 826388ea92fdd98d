#!/usr/bin/env bash
# An event of a name that nobody asked for is ignored by a client of SSE, so servers send pings as `event: ping`.
# One expects the decoders of assistant-ui to do so. The decoders of assistant-stream 0.3.44 for the UI message
# stream of the AI SDK and for its own transport end the message with "Unknown SSE event type"; the second takes
# `strict: false`, the first does not. A comment (": ping") is fine.
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
(cd "$dir" && npm init -y && npm install --no-audit --no-fund --ignore-scripts assistant-stream@0.3.44) >"$dir/log" 2>&1 || { tail -n 5 "$dir/log"; echo "cannot be installed"; exit 2; }
cat >"$dir/finding.mjs" <<'JS'
import * as assistant from 'assistant-stream';

function verdict(expected, seen, described) {
  const [a, b] = [JSON.stringify(seen), JSON.stringify(described)];
  console.log('expected:', expected);
  console.log('seen:    ', a);
  console.log(a === b ? 'as described' : `CHANGED: described was ${b}`);
  process.exit(a === b ? 0 : 1);
}

const data = (value) => `data: ${typeof value === 'string' ? value : JSON.stringify(value)}\n\n`;
async function read(decoder, pieces) {
  const text = new TextEncoder();
  const body = new ReadableStream({
    start(controller) {
      for (const piece of pieces) controller.enqueue(text.encode(piece));
      controller.close();
    },
  });
  let last;
  try {
    for await (const message of body.pipeThrough(decoder).pipeThrough(new assistant.AssistantMessageAccumulator())) last = message;
  } catch (error) {
    return error.message;
  }
  return [last.parts[0]?.text ?? '', last.status.type];
}
const ui = (between) => [
  data({ type: 'start', messageId: 'm' }), data({ type: 'text-start', id: '0' }), data({ type: 'text-delta', id: '0', delta: 'Hello' }),
  between, data({ type: 'text-delta', id: '0', delta: ' world.' }), data({ type: 'text-end', id: '0' }), data({ type: 'finish', finishReason: 'stop' }), data('[DONE]'),
];
const transport = (between) => [
  data({ type: 'part-start', part: { type: 'text' }, path: [] }), data({ type: 'text-delta', textDelta: 'Hello', path: [0] }), between,
  data({ type: 'text-delta', textDelta: ' world.', path: [0] }), data({ type: 'part-finish', path: [0] }),
  data({ type: 'message-finish', finishReason: 'stop', usage: { inputTokens: 1, outputTokens: 1 }, path: [] }), data('[DONE]'),
];
const comment = ': ping\n\n';
const named = 'event: ping\ndata: {}\n\n';
console.log('assistant-stream 0.3.44');
verdict('["Hello world.", "complete"] in all', {
  'UI message stream, comment': await read(new assistant.UIMessageStreamDecoder(), ui(comment)),
  'UI message stream, ping': await read(new assistant.UIMessageStreamDecoder({ strict: false }), ui(named)),
  'assistant transport, comment': await read(new assistant.AssistantTransportDecoder(), transport(comment)),
  'assistant transport, ping': await read(new assistant.AssistantTransportDecoder(), transport(named)),
  'the same, not strict': await read(new assistant.AssistantTransportDecoder({ strict: false }), transport(named)),
}, {
  'UI message stream, comment': ['Hello world.', 'complete'],
  'UI message stream, ping': 'Unknown SSE event type: ping',
  'assistant transport, comment': ['Hello world.', 'complete'],
  'assistant transport, ping': 'Unknown SSE event type: ping',
  'the same, not strict': ['Hello world.', 'complete'],
});
JS
cd "$dir"
timeout 120 node --no-warnings finding.mjs || exit 1
