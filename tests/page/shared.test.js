/** Shared conversations, as strangers see them: on a server with keys, live, and asking for nothing else. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { audit } from './axe.js';
import { Server, openPage, words } from './harness.js';
import { servers } from './servers.js';

/** A conversation of a server with keys, by its API. */
class Owner {
  static async start() {
    const owner = new Owner();
    owner.server = await Server.start({ keys: [['--name', 'owner']] });
    owner.key = { authorization: `Bearer ${owner.server.keys[0]}` };
    return owner;
  }

  async call(method, path, body) {
    const headers = { 'content-type': 'application/json', ...this.key };
    const response = await fetch(this.server.base + path, { method, headers, body: body && JSON.stringify(body) });
    return response.status === 204 ? null : response.json();
  }

  async ask(prompt) {
    this.conversation ??= (await this.call('POST', '/v1/conversations', {})).id;
    return (await this.call('POST', '/v1/generations', { conversation_id: this.conversation, prompt })).id;
  }

  /** Waits until a generation has ended; its view. */
  async end(id) {
    await (await fetch(`${this.server.base}/v1/generations/${id}/events`, { headers: this.key })).text();
    return this.call('GET', `/v1/generations/${id}`);
  }

  async share() {
    const { url } = await this.call('POST', `/v1/conversations/${this.conversation}/shares`, {});
    return url.replace('/v1/shared/', '/shared/');
  }
}

test('a stranger sees what is shared, and is asked for nothing', async () => {
  const owner = await Owner.start();
  await owner.end(await owner.ask('/demo tokens=400 tps=0 seed=3 markdown'));
  const path = await owner.share();
  const asked = [];
  const guest = await openPage(owner.server, { path, ready: 'body' });
  guest.on('request', (request) => asked.push(new URL(request.url()).pathname));
  guest.on('websocket', (socket) => asked.push(socket.url()));
  await guest.reload();
  await guest.locator('.message.assistant .text p').first().waitFor();
  // As long as the page would need to ask for what it loads late.
  await guest.waitForLoadState('networkidle');
  assert.deepEqual(asked.filter((path) => !path.startsWith('/static/') && !path.startsWith('/shared/')), [`/v1${path}`]);
  assert.equal(await guest.locator('dialog').count(), 0, 'no dialogue');
  for (const part of ['.sidebar', '#composer', '#inspect', '#conversations']) assert.equal(await guest.locator(part).filter({ visible: true }).count(), 0, part);
  assert.ok(!(await guest.locator('body').innerText()).includes('signed out'));
  assert.equal(await guest.title(), 'Demo: 400 tokens, Markdown · lastword');
  assert.match(await guest.locator('#about').innerText(), /with demo\. You can read it/);
  // Longer than the window: it begins at its beginning.
  const box = guest.locator('#scroller');
  assert.ok(await box.evaluate((node) => node.scrollHeight > node.clientHeight + 100));
  assert.equal(await box.evaluate((node) => node.scrollTop), 0);
  await audit(guest, 'shared');
  await guest.getByRole('link', { name: 'Ask this yourself' }).click();
  await guest.waitForURL((url) => url.pathname === '/');
  await guest.waitForFunction(() => document.getElementById('prompt').value.startsWith('/demo tokens=400'));
  await guest.done();
  await owner.server.kill();
});

test('a link follows the answer that is being made, also over a cut', async () => {
  const owner = await Owner.start();
  const id = await owner.ask('/demo tokens=100000 tps=40 seed=4');
  const path = await owner.share();
  const guest = await openPage(owner.server, { path });
  await guest.locator('#chip[data-phase="live"]').waitFor();
  await guest.grown(100);
  const before = (await guest.locator('.text').innerText()).length;
  await guest.context().setOffline(true);
  await guest.locator('#chip[data-phase="offline"]').waitFor();
  await guest.context().setOffline(false);
  await guest.grown(before + 100);
  await owner.call('POST', `/v1/generations/${id}/cancel`);
  await guest.whole();
  const view = await owner.end(id);
  assert.equal(await guest.says(), words(view.text));
  assert.equal(await guest.locator('.facts').innerText(), 'demo', 'nothing that one is not told');
  assert.equal(await guest.locator('.message').count(), 2);
  const html = await guest.content();
  for (const secret of [id, owner.conversation]) assert.ok(!html.includes(secret));
  await guest.reload();
  await guest.whole();
  assert.equal(await guest.says(), words(view.text), 'the same when it is opened again');
  await guest.done();
  await owner.server.kill();
});

test('a link that is revoked shows nothing any more, also where it is open', async () => {
  const owner = await Owner.start();
  const id = await owner.ask('/demo tokens=100000 tps=40 seed=4');
  const path = await owner.share();
  const guest = await openPage(owner.server, { path });
  await guest.grown(60);
  await owner.call('DELETE', `/v1/conversations/${owner.conversation}/shares`);
  await guest.getByText('This link is void').waitFor();
  assert.equal(await guest.locator('.message').count(), 0);
  await owner.call('POST', `/v1/generations/${id}/cancel`);
  await guest.done();
  await owner.server.kill();
});

test('later turns appear live behind a link whose maker chose so, and behind no other', async () => {
  const page = await openPage(await servers.first());
  await page.ask('/demo tokens=30 tps=0 ttft_ms=0 seed=81');
  await page.whole();
  const share = async () => {
    await page.locator('#conversations li').filter({ has: page.locator('[aria-current]') }).getByRole('button').click();
    await page.getByRole('menuitem', { name: 'Share a read-only link' }).click();
  };
  await share();
  const link = page.getByLabel('Link', { exact: true });
  const box = page.getByLabel('Show later questions and answers, too');
  const plain = await link.inputValue();
  assert.equal(await box.isChecked(), false);
  await page.getByText('up to here, and follow an answer').waitFor();
  await box.check();
  await page.getByText('everything that is asked and answered next').waitFor();
  const later = await link.inputValue();
  assert.notEqual(later, plain);
  await box.uncheck();
  assert.equal(await link.inputValue(), plain);
  await box.check();
  assert.equal(await link.inputValue(), later, 'it is made once');
  await audit(page, 'share');
  await page.keyboard.press('Escape');

  // Read on the other instance.
  const guest = await openPage(await servers.second(), { path: new URL(later).pathname });
  const other = await openPage(await servers.second(), { path: new URL(plain).pathname });
  await guest.getByText('What comes later appears here.').waitFor();
  await guest.locator('#chip[data-phase="live"]').waitFor();
  await guest.locator('.message.assistant').evaluate((node) => (node.title = 'the same node'));
  await page.ask('/demo tokens=100000 tps=40 ttft_ms=0 seed=82');
  await guest.locator('.message.user').nth(1).waitFor();
  await guest.grown(100);
  await guest.locator('.message.assistant').nth(1).and(guest.locator('.running')).waitFor();
  await audit(guest, 'later');
  await page.keyboard.press('Escape');
  const id = await page.whole(1);
  await guest.whole(1);
  assert.equal(await guest.says(1), await page.says(1));
  await page.ask('/demo tokens=30 tps=0 ttft_ms=0 seed=83');
  await page.whole(2);
  await guest.whole(2);
  assert.equal(await guest.says(2), await page.says(2));
  assert.equal(await guest.locator('.message').count(), 6);
  assert.equal(await guest.locator('.message.assistant[title="the same node"]').count(), 1, 'what stood there was not touched');
  const html = await guest.content();
  for (const secret of [id, new URL(page.url()).pathname.split('/')[2]]) assert.ok(!html.includes(secret));
  await guest.reload();
  await guest.whole(2);
  assert.equal(await guest.says(1), await page.says(1));
  assert.equal(await other.locator('.message').count(), 2);
  await other.reload();
  await other.whole();
  assert.equal(await other.locator('.message').count(), 2, 'as it was');
  assert.ok(!(await other.locator('#about').innerText()).includes('later'));

  await share();
  await page.getByRole('button', { name: 'Stop sharing' }).click();
  await guest.getByText('This link is void').waitFor();
  assert.equal(await guest.locator('.message').count(), 0);
  for (const one of [guest, other, page]) await one.done();
});
