// @ts-check
/** The page: connects its parts, and shows its state in one calm line. */
import * as attention from './attention.js';
import { base } from './base.js';
import { Composer } from './composer.js';
import { Conversation } from './conversation.js';
import { byId, copy, h, late, refocus, whenIdle } from './dom.js';
import { Outbox } from './outbox.js';
import { forget, tidy } from './pictures.js';
import { recent } from './recent.js';
import { Sidebar } from './sidebar.js';
import { Refused, api, call, client, forgetDrafts, newKey, settings, signIn, tabs } from './store.js';
import { Stream } from './stream.js';
import { titled } from './titles.js';

/** How long “resumed at …” stays, in ms: long enough to be read. */
const STAYS = 5000;
/** The first look is over after so long, in ms: what only a click needs may load. */
const SETTLED = 1500;
/** Without frames about the actions of others, as over SSE, the page polls every so many ms. */
const LOOK = 5000;

/** @type {import('./inspector.js').Inspector | undefined} */
let inspector;
/** @type {string | undefined} */
let resumed;
/** @type {any} */
let resumedTimer;

/** A part of the page that a click needs. @param {string} path */
const part = (path) => late(path).catch(() => {
  throw new Refused(0, { detail: 'This needs the server, which cannot be reached.' }, 0);
});

/** @returns {Promise<typeof import('./dialogs.js')>} */
const dialogs = () => part('./dialogs.js');

/** Says something to a screen reader, once. @param {string} text */
function announce(text) {
  byId('status').textContent = text;
}

/** @param {string} text */
function problem(text) {
  const box = byId('problem');
  box.replaceChildren(h('span', null, text), h('button', { type: 'button', class: 'link', onclick: () => (box.replaceChildren(), refocus()) }, 'Dismiss'));
}

/** Shows the latest change beside the light. @param {string} text */
function tellNews(text) {
  resumed = text;
  clearTimeout(resumedTimer);
  resumedTimer = setTimeout(() => {
    resumed = undefined;
    showState();
  }, STAYS);
}

const stream = new Stream({
  base: location.origin + base,
  client: client(),
  transport: new URLSearchParams(location.search).get('transport') === 'sse' ? 'sse' : 'auto',
  onState: () => showState(),
  onResume: (generation, seq) => {
    conversation.resumed(generation);
    tellNews(`resumed at ${seq}`);
    inspector?.resumed(seq);
    announce('Back online.');
    showState();
  },
  onFrame: (frame) => hear(frame),
  onWire: (wire) => inspector?.add(wire),
});

const outbox = new Outbox(
  (entry, receipt) => conversation.arrived(entry, receipt),
  () => conversation.sync(),
  // Another branch is free while this one answers; the server knows which is.
  (entry) => entry.parent === undefined && entry.conversation !== null && entry.conversation === conversation.id && Boolean(conversation.running),
  (entry, error) => problem(entry.continues ? `This answer cannot go on: ${error.message}.` : `Not answered again: ${error.message}`),
);

const conversation = new Conversation(stream, outbox, {
  announce,
  problem,
  changed: () => show(),
  ended: () => sidebar.load(),
  ready: (text, id) => attention.tell(titled(conversation.info?.title), text, id),
  withdrawn: (text, files) => composer.fill(text, files),
  // A reload shows again what still waits to be sent.
  opening: (key) => history.replaceState({ opening: key }, ''),
  moved: (id) => {
    history.replaceState(null, '', `${base}/c/${id}${location.search}`);
    sidebar.load();
  },
});

const composer = new Composer(conversation, stream);

const sidebar = new Sidebar({ open: (id) => go(id), leave, current: () => conversation.id, problem, announce, dialogs });

// ---- where we are -------------------------------------------------------------------------

/** @param {string | null} id */
function go(id) {
  const path = base + (id ? `/c/${id}` : '/');
  const waiting = !id && conversation.entries().length > 0;
  if (location.pathname !== path || waiting) history.pushState(null, '', path + location.search);
  document.body.classList.remove('menu-open');
  return route();
}

/** Out of the list, back to the box for the prompt. */
function leave() {
  document.body.classList.remove('menu-open');
  byId('prompt').focus();
}

/** The visit whose conversation is being read. @type {object | null} */
let reading = null;

async function route() {
  const [, kind, id] = location.pathname.slice(base.length).split('/');
  byId('problem').replaceChildren();
  hear({ type: 'presence', participants: [] });
  hear({ type: 'typing', who: [] });
  const visit = (reading = {});
  const opened = kind === 'c' ? conversation.open(id) : conversation.open(null, opening());
  // Before the server answers: text that is typed meanwhile stays.
  composer.open();
  sidebar.show();
  show();
  refocus();
  await opened;
  if (reading === visit) reading = null;
  show();
}

/** The key of the conversation that is to be opened here: the one whose prompts still wait, or a new one. */
function opening() {
  const kept = history.state?.opening;
  return outbox.entries.some((entry) => entry.opening && entry.opening === kept) ? kept : newKey();
}

// ---- what is seen -------------------------------------------------------------------------

let shown = '';
/** Suggestions before there is a conversation. */
let hint = '';

/** The name of what is shown; the list knows it before the conversation is read. */
function nameOf() {
  const { id, info } = conversation;
  const listed = info ?? sidebar.shown.find((one) => one.id === id);
  return id && !listed ? (reading ? 'Opening…' : 'Conversation') : titled(listed?.title);
}

function show() {
  const title = nameOf();
  if (byId('title').textContent !== title) byId('title').textContent = title;
  const name = conversation.info ? `${title} · lastword` : 'lastword';
  attention.title(name, Boolean(conversation.running));
  composer.show();
  const { running } = conversation;
  const cut = ['waiting', 'offline'].includes(stream.state.phase);
  const line = conversation.stopping ? 'Stopping: waiting for the receipt…'
    : running && cut ? `Holding at event ${running.answer.seq}`
      : running ? running.view.summary()
        : cut && conversation.asOf ? `The server cannot be reached. Shown as it was at ${new Date(conversation.asOf).toLocaleTimeString([], { timeStyle: 'short' })}.`
          : cut && conversation.id && !conversation.info ? 'The server cannot be reached. This conversation is shown when it is back.'
            : conversation.entries().some(({ state }) => state === 'sending') ? 'Sending…'
              : conversation.id ? (reading && !conversation.info ? 'Opening…' : '') : hint;
  if (line !== shown) byId('line').textContent = shown = line;
  if (!inspector && document.body.classList.contains('inspecting')) inspect();
}

function showState() {
  const { phase, transport, retryAt } = stream.state;
  const chip = byId('chip');
  const seconds = retryAt ? Math.max(0, Math.ceil((retryAt - Date.now()) / 1000)) : 0;
  const texts = {
    idle: 'ready',
    live: resumed ?? 'live',
    connecting: wasCut ? 'reconnecting…' : 'connecting…',
    waiting: seconds > 1 ? `reconnecting in ${seconds} s` : 'reconnecting…',
    offline: 'offline',
    stopped: 'signed out',
  };
  if (phase === 'waiting' || phase === 'offline') {
    if (!wasCut) announce(phase === 'offline' ? 'Offline.' : 'Reconnecting.');
    wasCut = true;
  } else if (phase === 'live' && wasCut) {
    wasCut = false;
    outbox.flush();
    conversation.load();
    sidebar.load();
    // Opened without the server.
    if (!composer.known) composer.models();
    if (recent.reader === null) who();
    if (!resumed) {
      announce('Back online.');
      tellNews('back online');
    }
  }
  if (phase !== 'live') together = false;
  chip.dataset.phase = phase;
  const news = resumed && (phase === 'live' || phase === 'idle') ? resumed : '';
  byId('chip-text').textContent = news || texts[phase];
  byId('chip-text').classList.toggle('news', Boolean(news));
  chip.title = `Connection: ${texts[phase]}, by ${transport === 'sse' ? 'SSE' : 'WebSocket'}`;
  byId('retry').hidden = phase !== 'waiting' || seconds <= 1;
  clearTimeout(counting);
  if (phase === 'waiting') counting = setTimeout(showState, 500);
  if (phase === 'stopped' && stream.state.why === '4501') signIn.dispatchEvent(new Event('wanted'));
  show();
  inspector?.show();
}

/** Whether the server reports the participants, and with them the asking one. */
let together = false;
let wasCut = false;
/** @type {any} */
let counting;

/** A frame about the conversation: who is there, who types. @param {any} frame */
function hear(frame) {
  if (frame.conversation && frame.conversation !== conversation.id) return;
  if (frame.type === 'typing') {
    const people = frame.who.filter((/** @type {any} */ who) => who.kind === 'user').map((/** @type {any} */ who) => who.name || 'Somebody');
    const names = people.length > 2 ? `${people.length} people` : people.join(' and ');
    byId('typing').textContent = names ? `${names} ${people.length > 1 ? 'are' : 'is'} typing…` : '';
    const answering = frame.who.some((/** @type {any} */ who) => who.kind === 'model');
    // Somebody else asked: the list says which answer to follow.
    if (answering && !conversation.running) conversation.load();
  } else if (frame.type === 'presence') {
    together = Boolean(frame.conversation);
    const others = frame.participants.filter((/** @type {any} */ who) => who.id !== stream.options.client?.id);
    byId('presence').replaceChildren(...others.slice(0, 5).map((/** @type {any} */ who) => face(who.name || 'Somebody')));
  }
}

/** The participants, by letter and colour: of a guest, the letter of the name that tells guests apart. @param {string} name */
function face(name) {
  const item = h('li', { title: name, 'aria-label': `${name} is here` }, name.replace(/^Guest (?=.)/, '').slice(0, 1).toUpperCase());
  const hue = [...name].reduce((sum, letter) => (sum * 31 + (letter.codePointAt(0) ?? 0)) % 360, 7);
  item.style.setProperty('--hue', String(hue));
  return item;
}

/** The protocol inspector, loaded when it is first opened. */
async function inspect() {
  const open = !document.body.classList.contains('inspecting') || !inspector;
  if (open && !inspector) {
    const { Inspector } = await part('./inspector.js');
    inspector ??= new Inspector(stream, () => inspect());
  }
  document.body.classList.toggle('inspecting', open);
  byId('inspector').hidden = !open;
  byId('inspect').setAttribute('aria-expanded', String(open));
}

// ---- what is pressed ----------------------------------------------------------------------

/** @param {KeyboardEvent} event */
function key(event) {
  const command = event.ctrlKey || event.metaKey;
  const pressed = event.key.toLowerCase();
  const writing = event.target instanceof HTMLElement && event.target.matches('input, textarea, select');
  if (event.key === 'Escape' && !document.querySelector('dialog[open], [popover]:popover-open')) {
    if (document.body.classList.contains('menu-open')) document.body.classList.remove('menu-open');
    else if (conversation.running) conversation.stop();
    else return;
  } else if (command && pressed === 'k') {
    document.body.classList.toggle('menu-open', byId('menu-button').checkVisibility());
    byId('search').focus();
  } else if (command && event.shiftKey && pressed === 'o') go(null);
  else if (command && event.shiftKey && pressed === 'c') copyLast();
  else if (command && pressed === 'i' && !event.shiftKey) inspect();
  else if (event.key === '?' && !writing && !command) dialogs().then(({ help }) => help());
  else return;
  event.preventDefault();
}

async function copyLast() {
  const text = conversation.lastAnswer?.answer.said.text;
  if (text && (await copy(text))) announce('Copied.');
}

async function tune() {
  const { tune: dialog } = await dialogs();
  const { id, info } = conversation;
  const chosen = await dialog(info?.system ?? null, Boolean(id));
  if (chosen && id && chosen.system !== (info?.system ?? '')) await api.change(id, { system: chosen.system || null }).then(() => conversation.load(), (error) => problem(error.message));
  if (chosen && recent.wanted && conversation.info) await recent.keep(conversation.info, conversation.messages);
  if (chosen && settings.get().notify) await attention.ask();
  if (client().name !== stream.options.client?.name) stream.introduce(client());
}

/** The signed-in key, where one is needed. */
async function who() {
  // A refusal asks for no sign-in: who wants to see something is asked by then.
  const answer = await fetch(`${base}/v1/session`).catch(() => null);
  const me = answer?.ok ? await answer.json() : null;
  if (me) await recent.enter(me);
  else if (answer?.status === 401) await recent.leave();
  byId('who').hidden = !me?.key;
  byId('who-name').textContent = me?.name ?? '';
}

byId('sign-out').addEventListener('click', async () => {
  const waiting = outbox.entries;
  if (waiting.length) {
    const { confirm } = await dialogs();
    const text = `${waiting.length === 1 ? 'One prompt is' : `${waiting.length} prompts are`} not sent yet, and would stay on this device for whoever signs in next.`;
    if (!(await confirm('Discard what waits, and sign out?', text, 'Discard and sign out'))) return;
    for (const { key } of waiting) outbox.change(key, null);
  }
  await recent.leave();
  await call('DELETE', '/v1/session').catch((error) => problem(error.message));
  // The content that was shown, begun and kept in memory goes with the page, also for who comes back to it.
  forgetDrafts();
  await forget();
  document.body.hidden = true;
  addEventListener('pageshow', ({ persisted }) => persisted && location.reload());
  location.replace(`${base}/`);
});

let asking = false;
signIn.addEventListener('wanted', async () => {
  recent.leave();
  if (asking) return;
  asking = true;
  const signedIn = await dialogs().then(({ signIn: ask }) => ask());
  asking = false;
  if (!signedIn) return;
  stream.cut();
  stream.retry();
  composer.models();
  sidebar.load();
  who();
  await route();
  outbox.flush();
});

// A click that failed is told to the person, whatever it was.
addEventListener('unhandledrejection', (event) => {
  if (!(event.reason instanceof Refused)) return;
  event.preventDefault();
  problem(event.reason.message);
});
attention.watch(show);
document.addEventListener('keydown', key);
addEventListener('popstate', route);
byId('home').addEventListener('click', (event) => {
  event.preventDefault();
  go(null);
});
byId('new').addEventListener('click', () => go(null));
byId('retry').addEventListener('click', () => stream.retry());
byId('inspect').addEventListener('click', inspect);
byId('tune').addEventListener('click', tune);
byId('help').addEventListener('click', () => dialogs().then(({ help }) => help()));
byId('menu-button').addEventListener('click', () => document.body.classList.toggle('menu-open'));
byId('veil').addEventListener('click', () => document.body.classList.remove('menu-open'));
for (const example of byId('examples').querySelectorAll('button')) {
  example.addEventListener('click', async () => {
    composer.fill((composer.isDemo ? example.dataset.demo : example.dataset.prompt) ?? '');
    if (example.id !== 'kill' || !(await copy(example.querySelector('code')?.textContent ?? ''))) return;
    hint = 'Copied. Send this, run it, start the server again.';
    show();
  });
}
// A person on the server's own machine can try it.
byId('kill').hidden = !/^(localhost|127\.\d+\.\d+\.\d+|\[::1\])$/.test(location.hostname);
// A phone's keyboard that covers the page, where the browser does not make the page smaller by itself. Zoom is no keyboard.
visualViewport?.addEventListener('resize', () => {
  const covered = visualViewport && visualViewport.scale === 1 ? Math.round(innerHeight - visualViewport.height) : 0;
  document.documentElement.style.setProperty('--covered', `${Math.max(0, covered)}px`);
});
tabs?.addEventListener('message', ({ data }) => {
  sidebar.load();
  if (data.changed === conversation.id) conversation.load();
});
setInterval(() => {
  if (!together && !document.hidden && !conversation.running) conversation.load();
}, LOOK);

// The place and its listeners change together: no key or click can come between.
const there = route();
stream.connect();
sidebar.load();
await there;
outbox.flush();
// They open without a network, too.
setTimeout(() => {
  Promise.all([dialogs(), import('./inspector.js')]).catch(() => {});
  import('./shell.js').then(({ keepShell }) => keepShell()).catch(() => {});
  if (!asking) who();
  whenIdle(tidy);
}, SETTLED);
