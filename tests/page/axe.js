/** The findings of axe on a page. */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';

const AXE = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');
const RULES = ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa', 'best-practice'];

/** The findings of axe, by a page that evaluates expressions: WebDriver's. @param {{ value: (expression: string) => Promise<any> }} page */
export async function found(page) {
  await page.value(`(() => { ${AXE}; })()`);
  return page.value(`window.axe.run(document, { runOnly: ${JSON.stringify(RULES)} }).then(({ violations }) => violations.map((v) => v.id + ': ' + v.nodes.map((n) => n.target).join(' ')))`);
}

/** No barrier that a machine can find. It runs by the debugger's hand, which no policy binds. */
export async function audit(page, what) {
  await page.evaluate(AXE);
  const { violations } = await page.evaluate((values) => window.axe.run(document, { runOnly: values }), RULES);
  const found = violations.map((v) => `${what}: ${v.id}: ${v.nodes.slice(0, 3).map((n) => `${n.target} ${n.any?.[0]?.message ?? ''}`).join(' | ')}`);
  assert.deepEqual(found, []);
}
