import { Problem } from './api.js';

/**
 * Opens the raw WebSocket and speaks JSON-RPC 2.0 on it.
 *
 * A transport is what `connection.js` needs and all it knows: `open({ token, onEvent, onActivity, onClose })` resolves to
 * `{ request(method, params), close() }`, or rejects if no connection came about. `onActivity` is called for every frame,
 * `onClose(code)` once, with a close code or a word, and not after `close()`.
 */
export function openWebSocket({ token, onEvent, onActivity, onClose }) {
  const url = new URL('/api/v1/ws', location.href);
  url.protocol = url.protocol.replace('http', 'ws');
  url.searchParams.set('access_token', token);

  return new Promise((resolve, reject) => {
    const socket = new WebSocket(url);
    const calls = createCalls((frame) => socket.send(frame));
    let opened = false;

    const transport = {
      request: calls.request,
      close() {
        socket.onmessage = socket.onclose = null;
        socket.close(1000);
        calls.failAll();
      },
    };

    socket.onopen = () => {
      opened = true;
      resolve(transport);
    };
    socket.onmessage = ({ data }) => {
      onActivity();
      for (const message of [JSON.parse(data)].flat()) {
        if (message.method) onEvent(message.method, message.params);
        else calls.settle(message);
      }
    };
    socket.onclose = ({ code }) => {
      calls.failAll();
      if (opened) onClose(code);
      else reject(new Problem({}));
    };
  });
}

/** The calls under way, by their JSON-RPC id. */
function createCalls(send) {
  const waiting = new Map();
  let lastId = 0;

  return {
    request(method, params = {}) {
      return new Promise((resolve, reject) => {
        const id = ++lastId;
        waiting.set(id, { resolve, reject });
        send(JSON.stringify({ jsonrpc: '2.0', id, method, params }));
      });
    },
    settle({ id, result, error }) {
      const call = waiting.get(id);
      waiting.delete(id);
      if (error) call?.reject(new Problem(error.data ?? { code: `rpc${error.code}`, detail: error.message, status: 400 }));
      else call?.resolve(result);
    },
    failAll() {
      for (const { reject } of waiting.values()) reject(new Problem({}));
      waiting.clear();
    },
  };
}
