import { once } from 'node:events';
import { connect, createServer } from 'node:net';

/**
 * A TCP proxy between one client and the server, whose line can be cut. A browser's own offline switch leaves open WebSockets
 * alone.
 */
export async function startProxy(targetPort) {
  const pairs = new Set();
  const counts = { connections: 0, webSockets: 0, cuts: 0 };
  let isCut = false;
  let isFrozen = false;
  let holdsReplies = false;
  let planned = null;

  const server = createServer((client) => {
    if (isCut) return client.destroy();
    counts.connections += 1;
    const upstream = connect(targetPort, '127.0.0.1');
    const pair = { client, upstream };
    pairs.add(pair);
    const end = () => {
      client.destroy();
      upstream.destroy();
      pairs.delete(pair);
    };
    for (const socket of [client, upstream]) {
      socket.setNoDelay(true).on('error', end).on('close', () => !pair.keepsClient && end());
    }
    client.once('data', (head) => (counts.webSockets += /^upgrade: *websocket/im.test(head.toString('latin1')) ? 1 : 0));
    pass(client, upstream, 'up');
    pass(upstream, client, 'down');
    if (isFrozen) pauseBoth(pair);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');

  function pass(from, to, direction) {
    from.on('data', (chunk) => {
      if (direction === 'down' && holdsReplies) return;
      const cutNow = planned?.direction === direction && (planned.bytes -= chunk.length) <= 0;
      // Of the chunk in which the cut lies, only the part before it gets through.
      const part = cutNow ? chunk.subarray(0, chunk.length + planned.bytes) : chunk;
      if (!to.write(part) && !isFrozen) {
        from.pause();
        to.once('drain', () => isFrozen || from.resume());
      }
      if (cutNow) {
        const { how, then } = planned;
        planned = null;
        to.write('', () => {
          proxy.drop(how);
          then?.();
        });
      }
    });
  }

  const proxy = {
    url: `http://127.0.0.1:${server.address().port}`,
    port: server.address().port,
    /** Connections that came through so far, those of them that began with a WebSocket handshake, and cuts. */
    counts,
    /** Ends every connection; new ones get through. `how` is `rst`, or `fin` for an orderly end of the TCP stream. */
    drop(how = 'fin') {
      counts.cuts += 1;
      for (const { client, upstream } of pairs) {
        for (const socket of [client, upstream]) how === 'rst' ? socket.resetAndDestroy() : socket.destroy();
      }
    },
    /** Ends every connection for the server only: clients see a line on which nothing comes. */
    dropServerSide(how = 'rst') {
      counts.cuts += 1;
      for (const pair of pairs) {
        pair.keepsClient = true;
        how === 'rst' ? pair.upstream.resetAndDestroy() : pair.upstream.destroy();
      }
    },
    /** Drops every connection as soon as so many more bytes have gone `up` to the server or `down` from it; then calls `then`. */
    dropAfter(direction, bytes, how = 'fin', then = null) {
      planned = { direction, bytes, how, then };
    },
    /** Nothing gets through in either direction, and neither side is told. */
    freeze() {
      isFrozen = true;
      pairs.forEach(pauseBoth);
    },
    thaw() {
      isFrozen = false;
      for (const { client, upstream } of pairs) {
        client.resume();
        upstream.resume();
      }
    },
    /** Ends every connection and lets no new one through. */
    cut() {
      isCut = true;
      proxy.drop();
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
      proxy.cut();
      server.close();
      await once(server, 'close');
    },
  };
  return proxy;
}

function pauseBoth({ client, upstream }) {
  client.pause();
  upstream.pause();
}
