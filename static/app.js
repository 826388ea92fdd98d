// @ts-check
/** The page: connects its parts, and shows its state in one calm line. */
import * as attention from './attention.js';
import { base } from './base.js';
import { Composer } from './composer.js';
import { Connection } from './connection.js';
import { Conversation } from './conversation.js';
import { byId, copy, h, late, refocus, whenIdle } from './dom.js';
import { Outbox } from './outbox.js';
import { tidy } from './pictures.js';
import { Presence } from './presence.js';
import { recent } from './recent.js';
import { Session } from './session.js';
import { Sidebar } from './sidebar.js';
import { Refused, api, client, newKey, settings, tabs } from './store.js';
import { Stream } from './stream.js';
import { titled } from './titles.js';

/** The first look is over after so long, in ms: what only a click needs may load. */
const SETTLED = 1500;
/** Without frames about the actions of others, as over SSE, the page polls every so many ms. */
const LOOK = 5000;

/** @type {import('./inspector.js').Inspector | undefined} */
let inspector;
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

const stream = new Stream({
  base: location.origin + base,
  client: client(),
  transport: new URLSearchParams(location.search).get('transport') === 'sse' ? 'sse' : 'auto',
  onState: () => connection.show(),
  onResume: (generation, seq) => {
    conversation.resumed(generation);
    connection.news(`resumed at ${seq}`);
    inspector?.resumed(seq);
    announce('Back online.');
    connection.show();
  },
  onFrame: (frame) => presence.hear(frame),
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

const presence = new Presence(conversation, stream);

const connection = new Connection(stream, {
  announce,
  back: () => {
    outbox.flush();
    conversation.load();
    sidebar.load();
    // Opened without the server.
    if (!composer.known) composer.models();
    if (recent.reader === null) session.who();
  },
  changed: () => {
    if (stream.state.phase !== 'live') presence.reported = false;
    show();
    inspector?.show();
  },
});

const session = new Session(outbox, {
  problem,
  dialogs,
  entered: async () => {
    stream.cut();
    stream.retry();
    composer.models();
    sidebar.load();
    session.who();
    await route();
    outbox.flush();
  },
});

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
  presence.clear();
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
  if (!presence.reported && !document.hidden && !conversation.running) conversation.load();
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
  if (!session.asking) session.who();
  whenIdle(tidy);
}, SETTLED);
