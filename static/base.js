// @ts-check
/** Where the server is on its host: empty, or the path that a proxy puts in front of it, as `/ai`. */
export const base = new URL(import.meta.url).pathname.split('/static/')[0] ?? '';
