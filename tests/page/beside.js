/** The pictures of the engines side by side: `node beside.js DIRECTORY`, of those that PICTURES=DIRECTORY kept (`make engines`). */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { browser, closeBrowser } from './harness.js';

const folder = process.argv[2];
const into = fileURLToPath(new URL('../../docs/images/engines.png', import.meta.url));
const figures = ['Chromium', 'Firefox', 'WebKitGTK'].map((name) => {
  const data = readFileSync(join(folder, `${name}.png`)).toString('base64');
  return `<figure><figcaption>${name}</figcaption><img src="data:image/png;base64,${data}"></figure>`;
});
const page = await (await browser()).newPage({ viewport: { width: 1260, height: 310 } });
await page.setContent(`<style>body { display: flex; gap: 12px; margin: 12px; background: #fff; font: 14px sans-serif; }
  figure { margin: 0; } figcaption { margin-bottom: 6px; } img { height: 252px; border: 1px solid #ccc; }</style>${figures.join('')}`);
await page.evaluate(() => Promise.all([...document.images].map((image) => image.decode())));
await page.locator('body').screenshot({ path: into });
await closeBrowser();
