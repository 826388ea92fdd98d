#!/usr/bin/env bash
# A request that is sent twice (a double click, a retry behind a proxy) starts one stream id twice. One expects
# `createNewResumableStream` to refuse an id that is in use, or the newer stream to take its place. resumable-stream
# 2.2.13 runs both, and a reader that comes later gets the two answers in one, interleaved. Only
# `resumableStream` looks whether the id is there.
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
(cd "$dir" && npm init -y && npm install --no-audit --no-fund --ignore-scripts resumable-stream@2.2.13) >"$dir/log" 2>&1 || { tail -n 5 "$dir/log"; echo "cannot be installed"; exit 2; }
cat >"$dir/finding.mjs" <<'JS'
import { createResumableStreamContext } from 'resumable-stream/generic';

function verdict(expected, seen, described) {
  const [a, b] = [JSON.stringify(seen), JSON.stringify(described)];
  console.log('expected:', expected);
  console.log('seen:    ', a);
  console.log(a === b ? 'as described' : `CHANGED: described was ${b}`);
  process.exit(a === b ? 0 : 1);
}

/** Redis in a few lines: keys, and channels whose messages nobody keeps. `die()` is the end of one process. */
function redis() {
  const keys = new Map();
  const channels = new Map();
  const lag = () => new Promise((done) => setTimeout(done, 5));
  return () => {
    const own = [];
    const publisher = {
      connect: async () => {},
      publish: async (channel, message) => (await lag(), [...(channels.get(channel) ?? [])].forEach((hear) => hear(message))),
      set: async (key, value) => (await lag(), keys.set(key, value), 'OK'),
      get: async (key) => (await lag(), keys.get(key) ?? null),
      incr: async (key) => {
        await lag();
        const value = Number(keys.get(key) ?? 0) + 1;
        if (Number.isNaN(value)) throw new Error('ERR value is not an integer or out of range');
        keys.set(key, String(value));
        return value;
      },
    };
    const subscriber = {
      connect: async () => {},
      subscribe: async (channel, hear) => {
        await lag();
        channels.set(channel, [...(channels.get(channel) ?? []), hear]);
        own.push([channel, hear]);
      },
      unsubscribe: async (channel) => (await lag(), channels.delete(channel)),
    };
    const die = () => own.forEach(([channel, hear]) => channels.set(channel, channels.get(channel).filter((one) => one !== hear)));
    return { context: createResumableStreamContext({ waitUntil: () => {}, publisher, subscriber }), die };
  };
}
const pause = (ms) => new Promise((done) => setTimeout(done, ms));

const connect = redis();
const make = (words) => () => new ReadableStream({
  async start(stream) {
    for (const word of words) {
      stream.enqueue(word);
      await pause(300);
    }
    stream.close();
  },
});
await connect().context.createNewResumableStream('s1', make(['one ', 'two ', 'three ']));
await connect().context.createNewResumableStream('s1', make(['uno ', 'due ', 'tre ']));
await pause(100);
const reader = (await connect().context.resumeExistingStream('s1')).getReader();
let text = '';
for (let part = await reader.read(); !part.done; part = await reader.read()) text += part.value;
const both = ['one', 'two', 'uno', 'due'].every((word) => text.includes(word));
console.log('resumable-stream 2.2.13');
console.log('a reader got:', text);
verdict('an error, or words of one answer', both ? 'words of both' : 'words of one', 'words of both');
JS
cd "$dir"
timeout 60 node --no-warnings finding.mjs || exit 1
