import { once } from 'node:events';
import { readFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';

const require = createRequire(import.meta.url);
const bundle = (name, file) => join(dirname(require.resolve(`${name}/package.json`)), 'dist/browser', file);

const FILES = {
  '/signalr.js': bundle('@microsoft/signalr', 'signalr.min.js'),
  '/msgpack.js': bundle('@microsoft/signalr-protocol-msgpack', 'signalr-protocol-msgpack.min.js'),
};
const PAGE = '<!doctype html><title>hub</title><script src="/signalr.js"></script><script src="/msgpack.js"></script>';

/** A web page with the official client, as it is made for browsers, on an origin of its own. */
export async function servePage() {
  const server = createServer(async ({ url }, response) => {
    const file = FILES[url];
    response.setHeader('content-type', file ? 'text/javascript' : 'text/html');
    response.end(file ? await readFile(file) : PAGE);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    origin: `http://127.0.0.1:${server.address().port}`,
    async close() {
      server.closeAllConnections();
      server.close();
      await once(server, 'close');
    },
  };
}
