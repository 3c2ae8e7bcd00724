import signalR from '@microsoft/signalr';
import msgpack from '@microsoft/signalr-protocol-msgpack';

const PROTOCOLS = {
  json: () => new signalR.JsonHubProtocol(),
  messagepack: () => new msgpack.MessagePackHubProtocol(),
};

const row = (transport, protocol) => ({
  name: `${transport} ${protocol}`,
  transport: signalR.HttpTransportType[transport],
  transportName: transport,
  protocolName: protocol,
  protocol: PROTOCOLS[protocol],
});

/** Every way in which the official client talks to a hub. Server-Sent Events are text, so they carry JSON alone. */
export const ROWS = [
  row('WebSockets', 'json'),
  row('WebSockets', 'messagepack'),
  row('ServerSentEvents', 'json'),
  row('LongPolling', 'json'),
  row('LongPolling', 'messagepack'),
];

export const WEB_SOCKETS = ROWS.filter(({ transportName }) => transportName === 'WebSockets');
