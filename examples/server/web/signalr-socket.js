import { Problem } from './api.js';
import { CLOSE } from './connection.js';
import { EVENTS } from './events.js';

const CLIENT = '/assets/vendor/signalr.min.js';
/** SignalR has no close codes: these are the words with which the server ends a connection. */
const CODE_OF_REASON = { 'The session has ended.': CLOSE.SESSION_ENDED, 'Too many requests.': CLOSE.TOO_MANY };

/** Opens a connection to the SignalR hub with the official client. The same transport as in `socket.js`. */
export async function openSignalR({ token, onEvent, onActivity, onClose }) {
  const signalR = await loadClient();
  const connection = build(signalR, token, onActivity);
  const waiting = new Set();
  let closed = false;

  function failAll() {
    for (const reject of waiting) reject(new Problem({}));
    waiting.clear();
  }

  for (const name of EVENTS) {
    connection.on(name, (payload) => {
      if (closed) return;
      try {
        onEvent(name, payload);
      } catch (error) {
        // The client would keep it to itself.
        reportError(error);
      }
    });
  }
  connection.onclose((error) => {
    if (closed) return;
    closed = true;
    failAll();
    onClose(codeOf(error));
  });
  await connection.start().catch(() => Promise.reject(new Problem({})));

  return {
    request(method, params = {}) {
      return new Promise((resolve, reject) => {
        waiting.add(reject);
        connection
          .invoke(method, params)
          .then(resolve, (error) => reject(problemOf(error)))
          .finally(() => waiting.delete(reject));
      });
    },
    close() {
      closed = true;
      // On a dead line the client may take long to stop, and calls must not wait for that.
      failAll();
      connection.stop().catch(() => {});
    },
  };
}

function build(signalR, token, onActivity) {
  /** Only a protocol sees every frame, pings among them. */
  class WatchedProtocol extends signalR.JsonHubProtocol {
    parseMessages(input, logger) {
      onActivity();
      return super.parseMessages(input, logger);
    }
  }

  // Without its own reconnect: `connection.js` does that for every transport.
  return new signalR.HubConnectionBuilder()
    .withUrl('/api/v1/hub', { accessTokenFactory: () => token })
    .withHubProtocol(new WatchedProtocol())
    // A lost line is no error here, and the page tells of it.
    .configureLogging(signalR.LogLevel.None)
    .build();
}

let loading = null;

/** The client is made for plain script elements. It is fetched with the first connection that needs it. */
function loadClient() {
  loading ??= new Promise((resolve, reject) => {
    const script = document.createElement('script');
    script.src = CLIENT;
    script.onload = () => resolve(window.signalR);
    script.onerror = () => {
      script.remove();
      loading = null;
      reject(new Problem({}));
    };
    document.head.append(script);
  });
  return loading;
}

/** The client puts words of its own before those of the server. */
function codeOf(error) {
  const reason = Object.keys(CODE_OF_REASON).find((text) => error?.message.endsWith(text));
  return CODE_OF_REASON[reason] ?? 'closed';
}

/**
 * The hub tells `HubException: code: detail`. What has no code is a fault of the server, a call that no hub understands, or a
 * connection that is lost, for which the client has many words.
 */
function problemOf({ message }) {
  const [, code, detail] = /HubException: (\w+): (.*)$/s.exec(message) ?? [];
  if (code) return new Problem({ code, detail, status: 400 });
  if (/^An unexpected error occurred invoking/.test(message)) return new Problem({ code: 'internal', detail: message, status: 500 });
  if (/^Failed to invoke/.test(message)) return new Problem({ code: 'malformed', detail: message, status: 400 });
  return new Problem({});
}
