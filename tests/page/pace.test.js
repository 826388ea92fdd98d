/** The cost of an answer of 20,000 tokens for the page, at a pace that people know and as fast as it comes.
 * `PAGE_TESTS=pace node --test run.js` takes minutes, prints figures, decides nothing by them. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { openPage } from './harness.js';
import { servers } from './servers.js';

const TOKENS = 20_000;

/** The work of the browser's main thread so far, in seconds, and the frames and long tasks of the page. */
async function figures(page, devtools) {
  const { metrics } = await devtools.send('Performance.getMetrics');
  const of = (/** @type {string} */ name) => metrics.find((m) => m.name === name).value;
  const seen = await page.evaluate(() => ({ frames: window.frames_, late: window.late, long: window.long.length, longest: Math.max(0, ...window.long), nodes: document.querySelectorAll('*').length }));
  return { at: performance.now(), task: of('TaskDuration'), script: of('ScriptDuration'), layout: of('LayoutDuration'), style: of('RecalcStyleDuration'), ...seen };
}

function line(name, from, to) {
  const s = (to.at - from.at) / 1000;
  const share = (/** @type {'task' | 'script' | 'layout' | 'style'} */ what) => `${(((to[what] - from[what]) / s) * 100).toFixed(1)} %`;
  return `${name}: ${((to.frames - from.frames) / s).toFixed(1)} frames/s, ${to.late - from.late} frames late by 2 or more, ${to.long - from.long} long tasks; main thread ${share('task')} (script ${share('script')}, style ${share('style')}, layout ${share('layout')}); ${to.nodes} elements`;
}

for (const tps of (process.env.TPS ?? '150,4000').split(',').map(Number)) {
  test(`20,000 tokens at ${tps} a second`, { timeout: 600_000 }, async (t) => {
    const server = await servers.first();
    const page = await openPage(server, { reducedMotion: 'no-preference' });
    const devtools = await page.context().newCDPSession(page);
    await devtools.send('Performance.enable');
    await page.evaluate(() => {
      Object.assign(window, { frames_: 0, late: 0, long: [] });
      let before = performance.now();
      const frame = (now) => {
        window.frames_ += 1;
        // Two frames of sixty a second are 33 ms.
        if (now - before > 40) window.late += 1;
        before = now;
        requestAnimationFrame(frame);
      };
      requestAnimationFrame(frame);
      new PerformanceObserver((list) => window.long.push(...list.getEntries().map((e) => Math.round(e.duration)))).observe({ type: 'longtask' });
    });
    await page.ask(`/demo tokens=${TOKENS} tps=${tps} ttft_ms=0 seed=10 markdown`);
    const marks = [];
    for (const part of [0.01, 0.1, 0.9, 0.99]) {
      await page.waitForFunction((least) => document.querySelector('.message.assistant:not(.running)') || Number(/([\d,]+) tokens/.exec(document.getElementById('line').textContent)?.[1]?.replace(',', '') ?? 0) >= least, TOKENS * part, { timeout: 600_000, polling: 200 });
      marks.push(await figures(page, devtools));
    }
    await page.locator('.message.assistant:not(.running)').waitFor({ timeout: 600_000 });
    assert.equal((await server.view(await page.whole())).usage.output_tokens, TOKENS);
    t.diagnostic(line('first tenth', marks[0], marks[1]));
    t.diagnostic(line('last tenth', marks[2], marks[3]));
    t.diagnostic(line('all', marks[0], marks[3]));
    t.diagnostic(`longest task ${marks[3].longest} ms`);
    await page.done();
  });
}
