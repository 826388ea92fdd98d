/**
 * Frames of the page, of one or more builds side by side: `node frames.js BINARY...`. Prints figures of this machine and
 * decides nothing by them. On a busy machine, `nice -n -15` gives it the machine's turns.
 */
import { createServer } from 'node:http';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { Server, browser, closeBrowser, openPage } from './harness.js';
import { messages } from './made-up.js';

const PARAGRAPH = 'Rivers carry what **mountains** lose, grain by `grain`, and never ask for it back. '.repeat(2200);
/** Characters of a chunk, and chunks a second. */
const [PIECE, RATE] = [32, 500];

/** A model that says one paragraph without a break. */
async function paragraph() {
  const upstream = createServer(async (request, response) => {
    for await (const _ of request);
    response.writeHead(200, { 'content-type': 'text/event-stream' });
    const say = (/** @type {any} */ delta, finish_reason = null) => response.write(`data: ${JSON.stringify({ id: 'x', object: 'chat.completion.chunk', created: 1, model: 'paragraph', choices: [{ index: 0, delta, finish_reason }] })}\n\n`);
    const began = performance.now();
    for (let at = 0, n = 0; at < PARAGRAPH.length && !response.destroyed; at += PIECE, n += 1) {
      say({ content: PARAGRAPH.slice(at, at + PIECE) });
      const due = began + (n * 1000) / RATE - performance.now();
      if (due > 5) await pause(due);
    }
    say({}, /** @type {any} */ ('stop'));
    response.end('data: [DONE]\n\n');
  });
  await new Promise((resolve) => upstream.listen(0, '127.0.0.1', () => resolve(undefined)));
  return upstream;
}

/** Counts frames, gaps between them and long tasks from now on. */
const watch = (page) => page.evaluate(() => {
  Object.assign(window, { gaps: [], long: [], began: performance.now() });
  let before = performance.now();
  const frame = () => {
    const now = performance.now();
    window.gaps.push(now - before);
    before = now;
    requestAnimationFrame(frame);
  };
  requestAnimationFrame(frame);
  new PerformanceObserver((list) => window.long.push(...list.getEntries().map((e) => Math.round(e.duration)))).observe({ type: 'longtask' });
});

const seen = (page) => page.evaluate(() => {
  const s = (performance.now() - window.began) / 1000;
  const sorted = [...window.gaps].sort((a, b) => a - b);
  return { s, fps: (window.gaps.length / s).toFixed(1), p95: Math.round(sorted[Math.floor(sorted.length * 0.95)] ?? 0), gap: Math.round(sorted.at(-1) ?? 0), task: Math.max(0, ...window.long) };
});

/** Looks four times a second for an answer's length: a look at each frame would be a good part of what is measured. */
const grown = (page, /** @type {number} */ least) => page.waitForFunction((n) => ([...(document.querySelector('.stretch:last-child')?.children ?? [])].at(-1)?.querySelector('.text')?.textContent ?? '').length >= n, least, { polling: 250 });

/** What the main thread did, in seconds of the processor: another program that has it meanwhile is not the page's doing. */
async function busy(page) {
  if (!page.devtools) {
    page.devtools = await page.context().newCDPSession(page);
    await page.devtools.send('Performance.enable', { timeDomain: 'threadTicks' });
  }
  const { metrics } = await page.devtools.send('Performance.getMetrics');
  return Object.fromEntries(metrics.map((/** @type {any} */ { name, value }) => [name, value]));
}

/** The longest task of the page while `run` lasts, in ms of the processor, from a trace. @param {string} file @param {() => Promise<any>} run */
async function longest(page, file, run) {
  const all = await browser();
  await all.startTracing(page, { path: file, categories: ['toplevel', '__metadata'] });
  await run();
  await all.stopTracing();
  const { traceEvents } = JSON.parse(readFileSync(file, 'utf8'));
  const main = new Set(traceEvents.filter(({ name, args }) => name === 'thread_name' && args.name === 'CrRendererMain').map(({ pid, tid }) => `${pid} ${tid}`));
  const tasks = traceEvents.filter(({ ph, name, pid, tid }) => ph === 'X' && name === 'ThreadControllerImpl::RunTask' && main.has(`${pid} ${tid}`));
  return Math.round(Math.max(0, ...tasks.map(({ tdur = 0 }) => tdur / 1000)));
}

/** @param {string} binary @returns {Promise<Record<string, string>>} */
async function measure(binary) {
  process.env.SERVER_BINARY = binary;
  const folder = mkdtempSync(join(tmpdir(), 'lastword-frames-'));
  const upstream = await paragraph();
  const { port } = /** @type {import('node:net').AddressInfo} */ (upstream.address());
  const config = join(folder, 'lastword.toml');
  writeFileSync(config, `default_model = "demo"\n[[models]]\nname = "paragraph"\nprovider = "openai"\nbase_url = "http://127.0.0.1:${port}/v1"\n[[models]]\nname = "demo"\nprovider = "demo"\n`);
  const server = await Server.start({ env: { DATABASE_URL: undefined, LASTWORD_CONFIG: config } });
  /** @type {Record<string, string>} */
  const figures = {};

  // 2,000 messages, opened; then an answer at their end.
  const { id } = await server.post('/v1/conversations', {});
  const data = messages(2000);
  let page = await openPage(server);
  await page.route(`**/v1/conversations/${id}/messages*`, async (route) => {
    if (new URL(route.request().url()).searchParams.has('cursor')) return route.fulfill({ json: { data: data.slice(0, -1000), next_cursor: null, running: [] } });
    const real = await (await route.fetch()).json();
    const first = real.data.map((/** @type {any} */ m) => (m.parent_id ? m : { ...m, parent_id: data.at(-1)?.id }));
    await route.fulfill({ json: { ...real, data: [...data.slice(-1000), ...first], next_cursor: data.at(-1000)?.id } });
  });
  await page.addInitScript(() => {
    const look = () => {
      if (document.body?.textContent?.includes('Answer 1999')) window.opened = performance.now();
      else requestAnimationFrame(look);
    };
    requestAnimationFrame(look);
  });
  await page.goto(`${server.base}/c/${id}`);
  figures['2,000 messages opened'] = `${Math.round(await (await page.waitForFunction(() => window.opened)).jsonValue())} ms`;
  await page.waitForFunction(() => document.querySelectorAll('.message').length === 2000);
  await page.ask('/demo tokens=900 tps=100 ttft_ms=0 markdown');
  await page.grown(100);
  await watch(page);
  const before = await busy(page);
  await grown(page, 3000);
  const after = await busy(page);
  const end = await seen(page);
  const share = (/** @type {string} */ name) => `${Math.round(((after[name] - before[name]) / end.s) * 100)} %`;
  figures['answer at their end'] = `${end.fps} frames/s, longest ${end.gap} ms, busy ${share('TaskDuration')} (script ${share('ScriptDuration')}, style ${share('RecalcStyleDuration')}, layout ${share('LayoutDuration')})`;
  await page.done();

  // 20,000 tokens, opened.
  page = await openPage(server);
  await page.ask('/demo tokens=20000 tps=0 ttft_ms=0 seed=10 markdown');
  await page.whole();
  await page.addInitScript(() => {
    window.long = [];
    new PerformanceObserver((list) => window.long.push(...list.getEntries().map((e) => Math.round(e.duration)))).observe({ type: 'longtask', buffered: true });
  });
  const most = await longest(page, join(folder, 'trace.json'), async () => {
    await page.reload();
    await page.whole();
    await pause(2000);
  });
  figures['20,000 tokens opened'] = `longest task ${await page.evaluate(() => Math.max(0, ...window.long))} ms, ${most} ms of the processor`;
  await page.done();

  // One paragraph.
  page = await openPage(server);
  await page.locator('#model').selectOption('paragraph');
  await page.ask('go');
  await page.grown(1000);
  await watch(page);
  await page.whole();
  const one = await seen(page);
  figures[`one paragraph of ${Math.round(PARAGRAPH.length / 1000)} KB`] = `${one.fps} frames/s, p95 ${one.p95} ms, longest ${one.gap} ms, longest task ${one.task} ms`;
  await page.done();
  await server.kill();
  upstream.close();
  rmSync(folder, { recursive: true });
  return figures;
}

const all = [];
for (const binary of process.argv.slice(2)) all.push([binary, await measure(binary)]);
for (const name of Object.keys(all[0][1])) {
  console.log(name);
  for (const [binary, figures] of all) console.log(`  ${binary}: ${figures[name]}`);
}
await closeBrowser();
