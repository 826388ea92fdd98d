/** A view that only a browser with a window has: scrollbars that take room. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { chromium } from 'playwright-core';
import { display } from './engines/display.js';
import { CHROMIUM, QUIET, openPage } from './harness.js';
import { servers } from './servers.js';

test('no bar where nothing is wider than its place, in a window with scrollbars', async () => {
  const server = await servers.first();
  const { id } = await server.post('/v1/conversations', {});
  await server.view((await server.post('/v1/generations', { conversation_id: id, prompt: '/demo tokens=900 tps=0 seed=2 markdown' })).id);
  const { name, end } = await display();
  const headed = await chromium.launch({
    executablePath: CHROMIUM, headless: false, env: { ...process.env, DISPLAY: name },
    args: QUIET, ignoreDefaultArgs: ['--hide-scrollbars'],
  });
  const context = await headed.newContext({ viewport: { width: 1200, height: 700 }, reducedMotion: 'reduce' });
  const page = await openPage(server, { context, path: `/c/${id}` });
  await page.locator('.message.assistant').waitFor();
  await page.locator('#conversations li').first().waitFor();
  const bar = await page.locator('#scroller').evaluate((node) => node.offsetWidth - node.clientWidth);
  assert.ok(bar > 0, 'bars take room here');
  for (const list of ['#conversations', '#scroller', 'body', '.wire']) {
    const wide = await page.evaluate((selector) => {
      const node = document.querySelector(selector);
      return node ? [node.scrollWidth - node.clientWidth, node.offsetHeight - node.clientHeight] : [0, 0];
    }, list);
    assert.deepEqual(wide, [0, 0], `${list}: wider than its place, and a bar's height`);
  }
  // The menu's button lies over the end of the title, and moves nothing.
  const title = page.locator('#conversations .name').first();
  const before = await title.boundingBox();
  await title.hover();
  assert.deepEqual(await title.boundingBox(), before);
  assert.equal(await page.getByRole('button', { name: /^Actions for/ }).first().evaluate((node) => getComputedStyle(node).opacity), '1');
  await page.done();
  await context.close();
  await headed.close();
  await end();
});
