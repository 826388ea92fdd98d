/** Two servers on one database, for all tests of a run. */
import { Server, closeBrowser, endServers } from './harness.js';

/** @type {Map<string, Promise<Server>>} */
const running = new Map();

const start = (name) => {
  if (!running.has(name)) running.set(name, Server.start());
  return running.get(name);
};

export const servers = {
  first: () => start('first'),
  second: () => start('second'),
  async end() {
    await closeBrowser();
    await endServers();
  },
};
