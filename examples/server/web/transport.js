import { openSignalR } from './signalr-socket.js';
import { openWebSocket } from './socket.js';

const KEY = 'messenger.transport';
const PARAMETER = 'transport';

/** What can carry the connection; all of them do the same. */
export const TRANSPORTS = {
  websocket: { label: 'WebSocket', open: openWebSocket },
  signalr: { label: 'SignalR', open: openSignalR },
};

/** The id of the chosen transport: what the address asks for (`?transport=signalr`), else what this browser used last. */
export function loadTransport() {
  const asked = new URLSearchParams(location.search).get(PARAMETER);
  return [asked, localStorage.getItem(KEY)].find((id) => Object.hasOwn(TRANSPORTS, id ?? '')) ?? 'websocket';
}

export function saveTransport(id) {
  localStorage.setItem(KEY, id);
  // A choice made later than the address counts more, also after a reload.
  const url = new URL(location.href);
  url.searchParams.delete(PARAMETER);
  history.replaceState(history.state, '', url);
}
