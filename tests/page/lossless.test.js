/** Never lose a word: whatever is cut, the page goes on where it was. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Server, browser, openPage } from './harness.js';
import { servers } from './servers.js';

/** Prose, so that what is shown is what is stored, paragraph by paragraph. */
const SLOW = '/demo tokens=100000 tps=50 seed=3';
const plain = (/** @type {string} */ text) => text.replace(/\s+/g, ' ').trim();

/** The page shows what the server holds, to the character. */
async function same(page, server, n = 0, status = 'completed') {
  const id = await page.whole(n);
  const view = await server.get(`/v1/generations/${id}`);
  const shown = await page.locator('.message.assistant').nth(n).locator('.text').innerText();
  assert.equal(plain(shown), plain(view.text));
  assert.equal(view.status, status);
  return view;
}

/** Every text that the last answer ever shows, to see that none is shorter than the one before. */
const watch = (page) => page.evaluate(() => {
  window.shrunk = [];
  let before = '';
  new MutationObserver(() => {
    const now = ([...document.querySelectorAll('.message.assistant .text')].at(-1)?.textContent ?? '');
    if (now.length < before.length || !now.startsWith(before.slice(0, -40))) window.shrunk.push([before.slice(-40), now.slice(-40)]);
    before = now;
  }).observe(document.getElementById('transcript'), { subtree: true, childList: true, characterData: true });
});

for (const transport of ['auto', 'sse']) {
  const path = `/?transport=${transport}`;

  test(`reload in the middle, ${transport}`, async () => {
    const server = await servers.first();
    const page = await openPage(server, { path });
    await page.ask(SLOW);
    await page.grown(150);
    const url = page.url();
    assert.match(url, /\/c\/[0-9a-f-]{36}/);
    await page.reload();
    await page.grown(150);
    assert.equal(page.url(), url);
    await page.keyboard.press('Escape');
    await same(page, server, 0, 'cancelled');
    assert.equal(await page.locator('.message').count(), 2);
    await page.done();
  });

  test(`the network goes and comes back, ${transport}`, async () => {
    const server = await servers.first();
    const page = await openPage(server, { path });
    await page.ask(SLOW);
    await page.grown(100);
    await watch(page);
    const devtools = await page.context().newCDPSession(page);
    await devtools.send('Network.enable');
    const offline = (/** @type {boolean} */ offline) => devtools.send('Network.emulateNetworkConditions', { offline, latency: 0, downloadThroughput: -1, uploadThroughput: -1 });
    await offline(true);
    await page.locator('#chip[data-phase="offline"]').waitFor();
    const held = await page.locator('.message.assistant .text').innerText();
    // It is said for five seconds: one who waits from before cannot miss it.
    const back = page.getByText(/resumed at \d+/).waitFor();
    await offline(false);
    await back;
    await page.grown(held.length + 1);
    await page.keyboard.press('Escape');
    await same(page, server, 0, 'cancelled');
    assert.deepEqual(await page.evaluate(() => window.shrunk), []);
    await page.done();
  });

  test(`the server is killed and started again, ${transport}`, async () => {
    let server = await Server.start();
    const page = await openPage(server, { path });
    await page.ask('/demo tokens=200 tps=60 seed=4 stall_at=60 stall_s=600');
    await page.grown(120);
    await watch(page);
    await server.kill();
    await page.locator('#chip[data-phase="waiting"]').waitFor();
    assert.match(await page.locator('#chip').innerText(), /reconnecting/);
    const back = page.getByText(/resumed at \d+/).waitFor();
    server = await Server.start({ port: server.port });
    await back;
    await same(page, server);
    assert.deepEqual(await page.evaluate(() => window.shrunk), []);
    await page.done();
    await server.kill();
  });
}

test('two pages on two instances see one answer grow', async () => {
  const [one, two] = [await servers.first(), await servers.second()];
  const page = await openPage(one);
  await page.ask('/demo tokens=20000 tps=50 seed=5');
  await page.grown(60);
  const follower = await openPage(two, { path: new URL(page.url()).pathname });
  await follower.grown(100);
  await follower.grown((await follower.locator('.text').innerText()).length + 50);
  // A person who stops it, stops it for all.
  await follower.keyboard.press('Escape');
  const views = await Promise.all([same(page, one, 0, 'cancelled'), same(follower, two, 0, 'cancelled')]);
  assert.equal(views[0].id, views[1].id);
  await page.done();
  await follower.done();
});

test('what another page asks shows up here, too', async () => {
  const server = await servers.first();
  const page = await openPage(server);
  await page.ask('/demo tokens=5 tps=0 seed=6');
  await page.whole();
  const other = await openPage(server, { path: new URL(page.url()).pathname });
  await other.whole();
  await page.ask('/demo tokens=120 tps=50 seed=7');
  await other.grown(40);
  await same(other, server, 1);
  await page.done();
  await other.done();
});

test('eight tabs of one browser starve nobody', async () => {
  const server = await servers.first();
  const context = await (await browser()).newContext();
  const pages = await Promise.all(Array.from({ length: 8 }, async (_, i) => {
    const page = await openPage(server, { context });
    await page.ask(`/demo tokens=20000 tps=20 seed=${i}`);
    await page.locator('.message.assistant').waitFor({ state: 'attached' });
    return page;
  }));
  // All eight follow their answers by now, and none may be without its own.
  for (const page of pages) {
    // A tab in the background draws nothing, as it should.
    await page.bringToFront();
    await page.grown(1);
    await page.keyboard.press('Escape');
    await page.locator('.note').waitFor();
    await same(page, server, 0, 'cancelled');
    await page.done();
  }
  await context.close();
});

test('what is typed before the page is up is kept', async () => {
  const server = await servers.first();
  const context = await (await browser()).newContext();
  const page = await context.newPage();
  let arrive;
  const scripts = new Promise((resolve) => (arrive = resolve));
  await page.route('**/composer.js', async (route) => {
    await scripts;
    await route.continue();
  });
  await page.goto(server.base, { waitUntil: 'commit' });
  await page.fill('#prompt', 'half a thought');
  arrive();
  await page.locator('#model option').first().waitFor({ state: 'attached' });
  assert.equal(await page.inputValue('#prompt'), 'half a thought');
  await page.reload();
  await page.locator('#model option').first().waitFor({ state: 'attached' });
  assert.equal(await page.inputValue('#prompt'), 'half a thought');
  await context.close();
});

test('an answer that ends where nothing is drawn is whole all the same', async () => {
  const server = await servers.first();
  const page = await openPage(server);
  await page.evaluate(() => {
    window.requestAnimationFrame = () => 1;
  });
  await page.ask('/demo tokens=40 tps=0 ttft_ms=0 seed=21');
  await same(page, server);
  await page.done();
});

test('what became void is folded and struck', async () => {
  const server = await servers.first();
  const page = await openPage(server);
  await page.evaluate(async () => {
    const { Answer } = await import('/static/answer.js');
    const { AnswerView } = await import('/static/answer-view.js');
    const answer = new Answer();
    const view = new AnswerView('x', answer, { again() {} });
    document.body.append(Object.assign(view.element, { id: 'voided' }));
    const events = [{ type: 'started', model: 'm' }, { type: 'delta', text: 'A first try' }, { type: 'superseded', after: 1, reason: 'takeover' }, { type: 'delta', text: 'The answer' }, { type: 'done', status: 'completed', usage: { output_tokens: 2 } }];
    events.forEach((event, i) => {
      answer.apply({ seq: i + 1, ...event });
      view.render();
    });
  });
  assert.equal(await page.locator('#voided .text').innerText(), 'The answer');
  assert.match(await page.locator('#voided .void summary').innerText(), /3 words is void: the server was replaced/);
  assert.equal(await page.locator('#voided .void del').textContent(), 'A first try');
  await page.done();
});

test('a dialogue that could not be loaded is loaded when it is wanted', async () => {
  const page = await openPage(await servers.first());
  let lost = 0;
  await page.route('**/dialogs.js', (route) => {
    lost += 1;
    return route.abort();
  });
  await page.reload();
  await page.locator('#model option').first().waitFor({ state: 'attached' });
  for (const end = Date.now() + 20_000; !lost && Date.now() < end; ) await page.evaluate(() => new Promise(requestAnimationFrame));
  assert.ok(lost > 0, 'as when the network goes just then');
  await page.unroute('**/dialogs.js');
  await page.getByRole('button', { name: 'Settings' }).click();
  await page.getByRole('dialog').waitFor();
  // The browser tells of the lost request when it likes.
  page.wrong.splice(0, Infinity, ...page.wrong.filter((text) => !/ERR_FAILED/.test(text)));
  await page.done();
});
