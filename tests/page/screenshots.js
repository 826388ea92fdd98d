/** The pictures of the README: `make screenshots`. */
import { mkdirSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { Server, closeBrowser, openPage } from './harness.js';

const into = fileURLToPath(new URL('../../docs/images/', import.meta.url));
mkdirSync(into, { recursive: true });
const server = await Server.start();

/** A conversation worth looking at. */
async function talk(options) {
  const page = await openPage(server, options);
  await page.ask('What is worth knowing about rivers, and why do old ones meander?');
  await page.whole();
  await page.ask('/demo tokens=150 tps=0 seed=2 markdown');
  await page.whole(1);
  return page;
}

/** Shows the last question, and what came of it. */
async function look(page) {
  await page.evaluate(() => {
    const box = document.getElementById('scroller');
    const question = [...document.querySelectorAll('.message.user')].at(-1);
    box.scrollTop += question.getBoundingClientRect().top - box.getBoundingClientRect().top - 24;
  });
  await page.locator('#jump').waitFor();
}

const page = await talk({ viewport: { width: 1120, height: 700 } });
await look(page);
await page.screenshot({ path: `${into}page.png` });
await page.getByRole('button', { name: 'Protocol inspector' }).click();
await page.ask('/demo tokens=300 tps=40 seed=5');
await page.locator('.message.assistant').nth(2).waitFor();
await page.grown(150);
await page.getByText('Cut the connection').click();
await page.getByText(/resumed at \d+/).waitFor();
await page.locator('.seam').waitFor();

await page.evaluate(() => {
  document.querySelector('.wire .cut').scrollIntoView({ block: 'center' });
});
await page.screenshot({ path: `${into}resume.png` });
await page.done();

const night = await talk({ viewport: { width: 390, height: 760 }, colorScheme: 'dark', hasTouch: true, isMobile: true });
await look(night);
await night.screenshot({ path: `${into}phone.png` });
await night.done();

for (const tps of [25, 60, 90]) await server.post('/v1/generations', { prompt: `/demo tokens=100000 tps=${tps}` });
const { id } = await server.post('/v1/generations', { prompt: '/demo tokens=300 tps=60 ttft_ms=900 stall_at=60 stall_s=2' });
await server.view(id);
const admin = await openPage(server, { path: `/admin#${id}`, ready: '#gaps', viewport: { width: 1120, height: 700 } });
await admin.locator('#figures > div', { hasText: 'tokens/s' }).filter({ hasNot: admin.locator('dd', { hasText: /^0$/ }) }).waitFor();
await admin.screenshot({ path: `${into}admin.png`, fullPage: true });
await admin.done();

await server.kill();
await closeBrowser();
