// @ts-check
/** The API reference: what the server says of itself in /openapi.json and /asyncapi.json. */
import { base } from './base.js';
import { byId, h } from './dom.js';

/** @typedef {Record<string, any>} Json */

/** @param {string} text `code` in backquotes */
function prose(text) {
  return text.split('`').map((part, n) => (n % 2 ? h('code', null, part) : part));
}

/** A schema in a few words, with links to those that have a name. @param {Json} schema @returns {(Node | string)[]} */
function kind(schema) {
  if (!schema) return ['nothing'];
  if (schema.$ref) {
    const name = schema.$ref.split('/').pop();
    return [h('a', { href: `#schema-${name}` }, name)];
  }
  if ('const' in schema) return [h('code', null, JSON.stringify(schema.const))];
  if (schema.enum) return schema.enum.flatMap((/** @type {any} */ one, /** @type {number} */ n) => [n ? ' | ' : '', h('code', null, String(one))]);
  const choice = schema.oneOf ?? schema.anyOf;
  if (choice && !schema.properties) return choice.flatMap((/** @type {Json} */ one, /** @type {number} */ n) => [n ? ' or ' : '', ...kind(one)]);
  const types = [schema.type ?? 'anything'].flat();
  const name = types.includes('array') ? ['list of ', ...kind(schema.items ?? {})] : [types[0]];
  const limits = [
    schema.format, schema.pattern,
    schema.minimum !== undefined && `from ${schema.minimum}`, schema.maximum !== undefined && `to ${schema.maximum}`,
    schema.minLength !== undefined && `${schema.minLength} or more characters`, schema.maxLength !== undefined && `${schema.maxLength} characters at most`,
    schema.maxItems !== undefined && `${schema.maxItems} at most`, schema.default !== undefined && `usually ${schema.default}`,
  ].filter(Boolean);
  return [...name, limits.length ? ` (${limits.join(', ')})` : '', types.includes('null') ? ' or null' : ''];
}

/** @param {Json} schema @returns {HTMLElement} */
function fields(schema) {
  const rows = Object.entries(schema.properties ?? {}).map(([name, of]) => {
    const must = (schema.required ?? []).includes(name);
    const text = of.description ? ['. ', ...prose(of.description)] : [];
    const inner = of.properties ? [fields(of)] : [];
    return h('tr', null, h('th', { scope: 'row', class: must ? 'must' : null }, name), h('td', null, ...kind(of), ...text, ...inner));
  });
  return h('table', null, h('tbody', null, ...rows));
}

/** @param {string} name @param {Json} schema */
function named(name, schema) {
  const about = schema.description ? [h('p', null, ...prose(schema.description))] : [];
  const body = schema.properties ? fields(schema) : h('p', null, ...kind(schema));
  return h('section', { id: `schema-${name}` }, h('h3', null, name), ...about, body);
}

/** @param {string} title @param {[string, (Node | string)[], boolean?][]} rows */
function list(title, rows) {
  if (!rows.length) return [];
  const lines = rows.map(([name, text, must]) => h('tr', null, h('th', { scope: 'row', class: must ? 'must' : null }, name), h('td', null, ...text)));
  return [h('h4', null, title), h('table', null, h('tbody', null, ...lines))];
}

/** @param {string} method @param {string} path @param {Json} operation */
function operation(method, path, operation) {
  const takes = (operation.parameters ?? []).map((/** @type {Json} */ p) => [`${p.name} (${p.in})`, [...kind(p.schema), '. ', ...prose(p.description)], p.required]);
  const body = operation.requestBody?.content['application/json'];
  const answers = Object.entries(operation.responses).map(([status, answer]) => {
    const types = Object.entries(answer.content ?? {}).flatMap(([type, of]) => [h('br', null), `${type}: `, ...kind(of.schema)]);
    return /** @type {[string, (Node | string)[]]} */ ([status, [...prose(answer.description), ...types]]);
  });
  return h(
    'section', { id: operation.operationId },
    h('h3', null, h('span', { class: 'method' }, method), ` ${path}`),
    h('p', null, operation.summary, '. ', ...prose(operation.description ?? '')),
    ...list('Takes', takes),
    ...(body ? [h('h4', null, 'Body: ', ...kind(body.schema)), h('pre', null, JSON.stringify(body.example, null, 2))] : []),
    ...list('Answers', answers),
  );
}

/** @param {string} title @param {[string, string][]} links */
function contents(title, links) {
  const lines = links.map(([id, text]) => h('a', { href: `#${id}` }, text));
  byId('contents').append(h('h2', null, title), ...lines);
}

/** @param {Json} api */
function routes(api) {
  const page = byId('reference');
  for (const tag of api.tags) {
    /** @type {[string, string][]} */
    const links = [];
    page.append(h('h2', null, tag.name), h('p', { class: 'quiet' }, ...prose(tag.description ?? '')));
    for (const [path, methods] of Object.entries(api.paths)) {
      for (const [method, of] of Object.entries(methods)) {
        if (!of.tags.includes(tag.name)) continue;
        page.append(operation(method, path, of));
        links.push([of.operationId, of.summary]);
      }
    }
    contents(tag.name, links);
  }
}

/** @param {Json} socket */
function frames(socket) {
  const page = byId('reference');
  page.append(h('h2', null, 'WebSocket'), h('p', { class: 'quiet' }, ...prose(socket.info.description)));
  /** @type {[string, string][]} */
  const links = [];
  for (const [side, of] of Object.entries(socket.operations)) {
    for (const { $ref } of of.messages) {
      const name = $ref.split('/').pop();
      const frame = socket.components.messages[name];
      page.append(h('section', { id: `frame-${name}` }, h('h3', null, h('span', { class: 'method' }, side === 'hear' ? 'client' : 'server'), ` ${frame.name}`), h('p', null, ...prose(frame.summary), '.'), fields(frame.payload)));
      links.push([`frame-${name}`, `${frame.name} (${side === 'hear' ? 'client' : 'server'})`]);
    }
  }
  contents('WebSocket', links);
  const codes = socket.channels.socket['x-close-codes'].map((/** @type {Json} */ c) => [String(c.code), [c.reason, c.reconnect ? ' (reconnect)' : '']]);
  page.append(h('section', { id: 'close-codes' }, ...list('Close codes', codes)));
}

async function show() {
  const read = async (/** @type {string} */ path) => (await fetch(path)).json();
  const [api, socket] = await Promise.all([read(`${base}/openapi.json`), read(`${base}/asyncapi.json`)]);
  byId('about').replaceChildren(...prose(api.info.description), ` Version ${api.info.version}. `, h('a', { href: `${base}/openapi.json` }, 'openapi.json'), ' ', h('a', { href: `${base}/asyncapi.json` }, 'asyncapi.json'));
  routes(api);
  frames(socket);
  const schemas = Object.entries({ ...api.components.schemas, ...socket.components.schemas });
  byId('reference').append(h('h2', null, 'Objects'), ...schemas.map(([name, schema]) => named(name, schema)));
  contents('Objects', schemas.map(([name]) => [`schema-${name}`, name]));
  document.body.dataset.ready = 'true';
  if (location.hash) document.getElementById(location.hash.slice(1))?.scrollIntoView();
}

show().catch((error) => byId('about').replaceChildren(`The description could not be read: ${error}`));
