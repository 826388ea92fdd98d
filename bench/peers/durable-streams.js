// @durable-streams/server as its package has it: in memory, or with DATA_DIR on the disk. Prints its port.
import { createRequire } from 'node:module';
import { pathToFileURL } from 'node:url';

const require = createRequire(`${process.env.PEERS}/package.json`);
const { DurableStreamTestServer } = await import(pathToFileURL(require.resolve('@durable-streams/server')).href);
const dataDir = process.env.DATA_DIR;
// Compressed, nothing could be read as it comes.
const server = new DurableStreamTestServer({ port: 0, host: '127.0.0.1', compression: false, ...(dataDir && { dataDir }) });
console.log(`port ${new URL(await server.start()).port}`);
