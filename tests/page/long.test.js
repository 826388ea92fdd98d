/** Long conversations: what is out of sight costs nothing, and paper gets all of it. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { openPage } from './harness.js';
import { messages } from './made-up.js';
import { servers } from './servers.js';

/** Opens a real conversation whose older messages are made up. */
async function open(count) {
  const server = await servers.first();
  const { id } = await server.post('/v1/conversations', {});
  const data = messages(count);
  const page = await openPage(server);
  await page.route(`**/v1/conversations/${id}/messages*`, async (route) => {
    if (new URL(route.request().url()).searchParams.has('cursor')) return route.fulfill({ json: { data: data.slice(0, -1000), next_cursor: null, running: [] } });
    const real = await (await route.fetch()).json();
    const first = real.data.map((/** @type {any} */ m) => (m.parent_id ? m : { ...m, parent_id: data.at(-1)?.id }));
    await route.fulfill({ json: { ...real, data: [...data.slice(-1000), ...first], next_cursor: data.length > 1000 ? data.at(-1000)?.id : null } });
  });
  return { server, page, id };
}

test('what is out of sight of a long conversation is not laid out, and its end stays in sight', async (t) => {
  const { page, id } = await open(2000);
  const began = Date.now();
  await page.goto(`${new URL(page.url()).origin}/c/${id}`);
  await page.getByText('Answer 1999').waitFor();
  t.diagnostic(`the newest of 2,000 messages after ${Date.now() - began} ms`);
  await page.waitForFunction(() => document.querySelectorAll('.message').length === 2000);
  t.diagnostic(`all of them after ${Date.now() - began} ms`);
  const skipped = await page.evaluate(() => [...document.querySelectorAll('.message')].filter((node) => !node.firstElementChild?.checkVisibility({ contentVisibilityAuto: true })).length);
  assert.ok(skipped > 1900, `${skipped} are skipped`);
  const rest = () => page.locator('#scroller').evaluate((node) => node.scrollHeight - node.clientHeight - node.scrollTop);
  assert.ok((await rest()) <= 1, `${await rest()} px from the end`);
  await page.evaluate(() => {
    Object.assign(window, { count: 0 });
    const frame = () => {
      window.count += 1;
      requestAnimationFrame(frame);
    };
    requestAnimationFrame(frame);
  });
  await page.ask('/demo tokens=300 tps=100 ttft_ms=0 markdown');
  await page.grown(100);
  const devtools = await page.context().newCDPSession(page);
  await devtools.send('Performance.enable');
  const busy = async () => (await devtools.send('Performance.getMetrics')).metrics.find((m) => m.name === 'TaskDuration').value;
  const before = await busy();
  const from = await page.evaluate(() => [window.count, performance.now()]);
  await page.grown(1000);
  const to = await page.evaluate(() => [window.count, performance.now()]);
  const after = await busy();
  t.diagnostic(`${((to[0] - from[0]) / ((to[1] - from[1]) / 1000)).toFixed(1)} frames/s while an answer streams at its end, main thread busy for ${(((after - before) * 1e5) / (to[1] - from[1])).toFixed(0)} %`);
  assert.ok((await rest()) <= 1, `${await rest()} px from the end`);
  await page.whole(1000);
  await page.locator('#scroller').focus();
  await page.keyboard.press('Home');
  await page.waitForFunction(() => document.getElementById('scroller').scrollTop === 0);
  await page.getByText('Question 0?').filter({ visible: true }).waitFor();
  await page.done();
});

test('on paper there is the whole conversation, and nothing to press', async () => {
  const { page, id } = await open(60);
  await page.goto(`${new URL(page.url()).origin}/c/${id}`);
  await page.locator('.message').nth(59).waitFor();
  const pdf = (await page.pdf({ format: 'A4' })).toString('latin1');
  const pages = pdf.match(/\/Type\s*\/Page\b/g).length;
  assert.ok(pages >= 6, `${pages} pages`);
  await page.emulateMedia({ media: 'print' });
  for (const part of ['.sidebar', '.dock', '.bar', '.message footer']) assert.equal(await page.locator(part).filter({ visible: true }).count(), 0, part);
  assert.equal(await page.locator('.message').first().evaluate((node) => node.firstElementChild.checkVisibility({ contentVisibilityAuto: true })), true);
  await page.done();
});

test('a long stored answer is shown in pieces, to its last word', async () => {
  const server = await servers.first();
  const { id } = await server.post('/v1/conversations', {});
  const text = Array.from({ length: 900 }, (_, n) => `Paragraph **${n}** of an answer that is long enough to hold a page up, if it came at once.`).join('\n\n');
  const [prompt, answer] = messages(2);
  const page = await openPage(server);
  await page.addInitScript(() => {
    let before = 0;
    window.steps = [];
    new MutationObserver(() => {
      const length = document.querySelector('.message.assistant .text')?.textContent?.length ?? 0;
      if (length !== before) window.steps.push(length - before);
      before = length;
    }).observe(document, { childList: true, subtree: true });
  });
  await page.route(`**/v1/conversations/${id}/messages*`, (route) => route.fulfill({ json: { data: [prompt, { ...answer, content: text }], next_cursor: null, running: [] } }));
  await page.goto(`${server.base}/c/${id}`);
  await page.getByText('Paragraph 899').waitFor();
  const steps = await page.evaluate(() => window.steps);
  assert.ok(steps.length >= 8 && Math.max(...steps) < 20_000, `${steps}`);
  assert.equal((await page.locator('.text p').allTextContents()).join('\n\n'), text.replace(/\*\*/g, ''));
  assert.ok(await page.locator('#scroller').evaluate((node) => node.scrollHeight - node.clientHeight - node.scrollTop <= 1), 'at its end');
  await page.done();
});
