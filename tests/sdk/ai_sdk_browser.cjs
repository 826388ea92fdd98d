// ai and @ai-sdk/react (npm) in a real Chromium, against two instances behind a dumb proxy: see
// tests/it/sdk.rs. The server knows nothing of the page, which is put in its way by the browser.
const assert = require("node:assert/strict");
const path = require("node:path");
const esbuild = require("esbuild");
const { chromium } = require("playwright-core");

const origin = new URL(process.env.BASE).origin;
const PATIENCE = 60_000;

async function view(id) {
  return (await fetch(`${origin}/v1/generations/${id}`)).json();
}

/** Waits until what the page shows is so. */
async function until(page, what, argument) {
  const shown = page.waitForFunction(
    ([text, argument]) => {
      const state = window.chat?.state;
      return state && new Function("s", "a", `return ${text}`)(state, argument) ? state : false;
    },
    [what, argument],
    { timeout: PATIENCE },
  );
  try {
    return await (await shown).jsonValue();
  } catch (error) {
    const state = JSON.stringify(await page.evaluate(() => window.chat?.state));
    throw new Error(`not ${what}: ${state}`, { cause: error });
  }
}

(async () => {
  const bundle = await esbuild.build({
    entryPoints: [path.join(__dirname, "ai_sdk_page.js")],
    bundle: true,
    write: false,
    format: "iife",
    nodePaths: [process.env.NODE_PATH],
    define: { "process.env.NODE_ENV": '"production"' },
  });
  const script = bundle.outputFiles[0].text;
  const browser = await chromium.launch({
    executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
    // A page that is put in the way is no page of loopback to Chromium, which then forbids it a
    // WebSocket there.
    args: ["--no-sandbox", "--disable-features=LocalNetworkAccessChecks"],
  });
  const context = await browser.newContext();
  await context.route(`${origin}/page*`, (route) =>
    route.fulfill({ contentType: "text/html", body: "<!doctype html><body><script src=/page.js></script>" }),
  );
  await context.route(`${origin}/page.js`, (route) =>
    route.fulfill({ contentType: "text/javascript", body: script }),
  );
  const open = async (chat, more = "") => {
    const page = await context.newPage();
    page.on("pageerror", (error) => console.error("page:", error));
    await page.goto(`${origin}/page?chat=${encodeURIComponent(chat)}${more}`);
    await page.waitForFunction(() => window.chat);
    return page;
  };
  const send = (page, text) => page.evaluate((text) => void window.chat.send(text), text);

  for (const more of ["", "&socket"]) {
    const name = more ? "socket" : "http";
    const chat = `a chat/of ${name} + ü%`;
    const page = await open(chat, more);
    await send(page, "/demo tokens=200 tps=60 ttft_ms=0 reasoning unicode seed=5");
    await until(page, "s.text.length > 100");
    await page.reload();
    const resumed = await until(page, "s.text.length > 200");
    assert.equal(resumed.answers, 1);
    const second = await open(chat, more);
    await until(second, "s.text.length > 250");
    const done = await until(page, "s.status === 'ready' && s.text.length > 250");
    const seen = await view(done.id);
    assert.equal(seen.status, "completed");
    assert.equal(done.text, seen.text);
    assert.equal((await until(second, "s.status === 'ready' && s.text.length > 250")).text, seen.text);
    assert.deepEqual(done.kinds, ["step-start", "reasoning", "text"]);
    assert.ok(more || done.cursors > 0);
    console.log("ok", name, "resumes after a reload and in a second tab");

    await send(page, "/demo tokens=100000 tps=60 ttft_ms=0");
    const running = await until(page, "s.answers === 1 && s.id !== a && s.text.length > 50 || s.answers === 2 && s.text.length > 50", done.id);
    const third = await open(chat, more);
    await until(third, "s.text.length > 50");
    const stopped = await third.evaluate(async (chat) => {
      const url = `/api/chat/${encodeURIComponent(chat)}/stream`;
      return (await fetch(url, { method: "DELETE" })).status;
    }, chat);
    assert.equal(stopped, 204);
    const ended = await view(running.id);
    assert.equal(ended.status, "cancelled");
    const shown = await until(page, "s.status === 'ready'");
    assert.equal(shown.text, ended.text);
    const url = `${origin}/api/chat/${encodeURIComponent(chat)}/stream`;
    assert.equal((await fetch(url)).status, 204);
    console.log("ok", name, "is stopped from another tab");

    await send(page, "/demo tokens=3 tps=0 tool_call");
    const called = await until(page, "s.kinds.includes('tool-look_up')");
    assert.ok(called);
    for (const tab of [page, second, third]) await tab.close();
  }
  await browser.close();
  process.exit(0);
})().catch((error) => {
  console.error(error);
  process.exit(1);
});
