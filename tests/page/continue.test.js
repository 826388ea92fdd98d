/** An answer that ended early goes on, and is one answer on the page. */
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { Server, openPage } from './harness.js';
import { servers } from './servers.js';
import { Upstream } from './upstream.js';

const DEMO = (/** @type {number} */ tokens, tps = 40, more = '') => `/demo tokens=${tokens} tps=${tps} ttft_ms=0 seed=5 ${more}`;
/** Once it is there the answer stands still, until it is stopped: what goes on behind it does not wait again. */
const STILL = 'stall_at=60 stall_s=600';
const goOn = (page) => page.getByRole('button', { name: 'Continue', exact: true });

/** The demo's answer to a prompt that nobody stops. */
async function told(server, prompt) {
  const { id } = await server.post('/v1/generations', { prompt });
  return (await server.view(id)).text;
}

/** Notes in `window.least` how short the first answer ever was. @returns {Promise<number>} its length now */
const watch = (page) => page.evaluate(() => {
  const length = () => document.querySelector('.message.assistant .text')?.textContent?.length ?? 0;
  window.least = length();
  const look = () => {
    window.least = Math.min(window.least, length());
    requestAnimationFrame(look);
  };
  look();
  return window.least;
});

test('what was stopped goes on, once, and never shrinks on the page', async () => {
  const server = await servers.first();
  const page = await openPage(server);
  const prompt = DEMO(200, 40, STILL);
  await page.ask(prompt);
  await page.grown(200);
  await page.keyboard.press('Escape');
  await goOn(page).waitFor();
  const stopped = await page.whole();
  const before = await server.view(stopped);
  const had = await watch(page);
  await goOn(page).dblclick();
  await page.locator(`.message.assistant:not([data-id="${stopped}"])`).waitFor();
  await page.getByText('2 / 2').waitFor();
  const next = await page.whole();
  const view = await server.view(next);
  assert.equal(view.continues, stopped);
  assert.equal(view.text, await told(server, DEMO(200, 0)), 'as if nobody had stopped it');
  assert.equal((await page.locator('.text').innerText()).replace(/\s+/g, ' ').trim(), view.text.replace(/\s+/g, ' ').trim());
  assert.equal(await page.locator('.message.assistant').count(), 1, 'one answer');
  assert.ok((await page.evaluate(() => window.least)) >= had, 'what was said stood there all the time');
  assert.deepEqual(await server.view(stopped), before, 'nothing was added to the earlier one');
  const { data } = await server.get(`/v1/conversations/${view.conversation_id}/messages?all=true`);
  assert.equal(data.length, 3, 'a double click is one continuation');
  await page.done();
});

test('what it goes on from stands there until its first event, also where the list tells of it first', async () => {
  const page = await openPage(await servers.first(), { path: '/?transport=sse' });
  await page.ask(DEMO(200, 40, STILL));
  await page.grown(200);
  await page.keyboard.press('Escape');
  await goOn(page).waitFor();
  const had = await watch(page);
  // The page looks for what others do, follows the new generation, and only then learns that it is its own.
  const followed = page.waitForRequest('**/v1/generations/*/events*');
  await page.route('**/v1/generations/*/continue', async (route) => {
    const response = await route.fetch();
    await followed;
    await route.fulfill({ response });
  });
  await page.route('**/v1/generations/*/events*', async (route) => {
    await page.locator('#status', { hasText: 'Generating an answer' }).waitFor({ state: 'attached' });
    await page.evaluate(() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done))));
    await route.continue();
  });
  await page.evaluate(() => document.getElementById('status').replaceChildren());
  await goOn(page).click();
  await page.grown(had + 40);
  assert.ok((await page.evaluate(() => window.least)) >= had);
  await page.whole();
  await page.done();
});

test('what was cut goes on after a reload, and over the server’s death', async () => {
  const env = { DATABASE_URL: undefined };
  let server = await Server.start({ env });
  const page = await openPage(server);
  await page.ask(DEMO(120, 0, 'length'));
  await page.whole();
  await page.reload();
  await page.locator('.ending', { hasText: 'Cut short by a limit' }).waitFor();
  await page.evaluate(() => document.querySelector('.text').textContent.length);
  // As slow as it has to be for a death in its middle.
  await page.ask(DEMO(300, 15, STILL));
  await page.locator('.message.assistant').nth(1).waitFor();
  await page.grown(200);
  await page.keyboard.press('Escape');
  await goOn(page).nth(1).waitFor();
  const stopped = await page.locator('.message.assistant').nth(1).getAttribute('data-id');
  const length = (await server.view(stopped)).text.length;
  await goOn(page).nth(1).click();
  await page.grown(length + 100);
  await server.kill({ keep: true });
  server = await Server.start({ env, port: server.port, dir: server.dir });
  await page.locator('.message.assistant').nth(1).getByText('2 / 2').waitFor();
  const next = await page.whole(1);
  const view = await server.view(next);
  assert.equal(view.text, await told(server, DEMO(300, 0)));
  assert.equal(view.attempts, 2);
  await goOn(page).first().click();
  await page.locator('.message.assistant').first().getByText('2 / 2').waitFor();
  const longer = await server.view(await page.whole(0));
  assert.ok(longer.text.startsWith(await told(server, DEMO(120, 0, 'length'))) && longer.usage.output_tokens === 120);
  await page.done();
  await server.kill();
});

test('a model that cannot go on: no button, and clear words if one asks all the same', async () => {
  const upstream = await Upstream.start();
  const folder = mkdtempSync(join(tmpdir(), 'lastword-config-'));
  const server = await Server.start({ env: { ...upstream.env(folder), DATABASE_URL: undefined } });
  const page = await openPage(server);
  await page.ask('say something');
  await page.grown(60);
  await page.keyboard.press('Escape');
  await page.locator('.note:not([hidden])').waitFor();
  await page.whole();
  assert.equal(await goOn(page).count(), 0);
  await page.route('**/v1/models', async (route) => {
    const answer = await (await route.fetch()).json();
    for (const model of answer.data) model.continues = true;
    await route.fulfill({ json: answer });
  });
  await page.reload();
  const text = await page.locator('.message.assistant .text').innerText();
  await goOn(page).click();
  await page.locator('#problem', { hasText: 'This answer cannot go on: the model cannot go on from a text' }).waitFor();
  assert.equal(await page.locator('.message.assistant .text').innerText(), text, 'it stays where it is');
  assert.equal(upstream.asked.length, 1);
  await page.done();
  await server.kill();
  upstream.stop();
  rmSync(folder, { recursive: true, force: true });
});
