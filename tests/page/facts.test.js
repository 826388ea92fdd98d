/** Counts and paces: what is said of an answer is true, also after a reload, a stop and a take-over. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Server, openPage } from './harness.js';
import { servers } from './servers.js';

/** The tokens and the pace that a line of facts tells. @param {string} line */
function told(line) {
  const [, about, tokens] = /(about )?([\d,]+) tokens/.exec(line) ?? [];
  const [, pace] = /([\d,]+) tok\/s/.exec(line) ?? [];
  return { about: Boolean(about), tokens: Number(tokens?.replace(',', '')), pace: pace ? Number(pace.replace(',', '')) : null };
}

/** All that the line of facts has ever said after the answer's end, and the running line before it. */
const watch = (page) => page.addInitScript(() => {
  window.lines = [];
  document.addEventListener('DOMContentLoaded', () => {
    new MutationObserver(() => {
      const line = document.getElementById('line').textContent;
      const facts = document.querySelector('.message.assistant:last-child .facts')?.textContent;
      for (const text of [line, facts]) if (text && window.lines.at(-1) !== text) window.lines.push(text);
    }).observe(document.body, { childList: true, characterData: true, subtree: true });
  });
});

test('what waited for the page says nothing about the pace', async () => {
  const page = await openPage(await servers.first());
  await page.ask('/demo tokens=300 tps=40 ttft_ms=0');
  await page.grown(300);
  await watch(page);
  await page.reload();
  const id = await page.whole();
  // It may have ended while the page was loaded: then the facts are for one who looks.
  await page.locator('.message.assistant').hover();
  await page.locator('.facts', { hasText: 'tok/s' }).waitFor();
  const lines = await page.evaluate(() => window.lines);
  const paces = lines.map(told).filter(({ pace }) => pace !== null);
  assert.ok(paces.length, lines.join('\n'));
  // A machine that is busy gives tokens late, and then some at once: four times the pace is only seen in what was replayed.
  for (const { pace } of paces) assert.ok(pace < 160, lines.join('\n'));
  const view = await (await servers.first()).view(id);
  const ms = Date.parse(view.finished_at) - Date.parse(view.started_at) - view.time_to_first_token_ms;
  const facts = told(await page.locator('.facts').innerText());
  assert.deepEqual(facts, { about: false, tokens: 300, pace: Math.round(300 / ms * 1000) });
  await page.done();
});

test('a guess is called one, and is no more than what was counted', async () => {
  // A lease that lasts: an answer that another owner takes over is counted anew.
  const server = await Server.start({ env: { DATABASE_URL: undefined, LASTWORD_LEASE_S: '30' } });
  const page = await openPage(server);
  await page.ask('/demo tokens=2000 tps=40');
  await page.grown(200);
  await page.keyboard.press('Escape');
  await page.locator('.note').waitFor();
  const id = await page.whole();
  const events = await (await fetch(`${server.base}/v1/generations/${id}/events`)).text();
  const counted = events.match(/^event: delta$/gm).length;
  const stopped = told(await page.locator('.facts').innerText());
  assert.deepEqual([stopped.about, stopped.tokens], [true, counted]);
  assert.deepEqual(told(await page.locator('.note').innerText()).tokens, counted, 'the receipt says the same');
  assert.ok(!(await page.locator('.facts').innerText()).includes('Stopped'), 'said once');
  // The same after a reload, for a reader who looks.
  await page.reload();
  await page.locator('.message.assistant').hover();
  await page.locator('.facts', { hasText: 'first token' }).waitFor();
  const again = told(await page.locator('.facts').innerText());
  assert.deepEqual([again.about, again.tokens], [true, counted]);
  await page.done();
  await server.kill();
});
