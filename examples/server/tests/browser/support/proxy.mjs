import { once } from 'node:events';
import { connect, createServer } from 'node:net';

/**
 * A TCP proxy between one browser context and the server, whose line can be cut. A browser's own offline switch leaves open
 * WebSockets alone.
 */
export async function startProxy(targetPort) {
  const pairs = new Set();
  let isCut = false;
  let holdsReplies = false;

  const server = createServer((client) => {
    if (isCut) return client.destroy();
    const upstream = connect(targetPort, '127.0.0.1');
    const pair = { client, upstream };
    pairs.add(pair);
    const end = () => {
      client.destroy();
      upstream.destroy();
      pairs.delete(pair);
    };
    for (const socket of [client, upstream]) socket.setNoDelay(true).on('error', end).on('close', end);
    client.pipe(upstream);
    upstream.on('data', (chunk) => holdsReplies || client.write(chunk));
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');

  return {
    url: `http://127.0.0.1:${server.address().port}`,
    /** Ends every connection and lets no new one through. */
    cut() {
      isCut = true;
      for (const { client, upstream } of pairs) {
        client.destroy();
        upstream.destroy();
      }
    },
    /** Requests go on reaching the server; from now on no answer comes back. */
    holdReplies() {
      holdsReplies = true;
    },
    restore() {
      isCut = false;
      holdsReplies = false;
    },
    async close() {
      this.cut();
      server.close();
      await once(server, 'close');
    },
  };
}
