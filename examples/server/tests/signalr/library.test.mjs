// What the hub of the chat has no use for, against the example hub of messenger-axum: streams from the client and
// results of the client's own methods.

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { after, before, test } from 'node:test';
import * as signalR from '@microsoft/signalr';
import { MessagePackHubProtocol } from '@microsoft/signalr-protocol-msgpack';
import { ROWS } from './support/rows.mjs';

const binary = process.env.MESSENGER_SIGNALR_EXAMPLE;
let server;
let url;

before(async () => {
  assert.ok(binary, 'MESSENGER_SIGNALR_EXAMPLE must name the binary of examples/hub.rs of messenger-signalr');
  server = spawn(binary, ['0'], { stdio: ['ignore', 'pipe', 'inherit'] });
  const [line] = await once(server.stdout, 'data');
  url = String(line).trim();
});

after(() => server?.kill());

async function connect(t, row) {
  const builder = new signalR.HubConnectionBuilder()
    .withUrl(url, { transport: signalR.HttpTransportType[row.transportName] })
    .configureLogging(signalR.LogLevel.None);
  if (row.name.includes('messagepack')) builder.withHubProtocol(new MessagePackHubProtocol());
  const connection = builder.build();
  t.after(() => connection.stop());
  connection.on('name', () => 'Ada');
  await connection.start();
  return connection;
}

function sum(connection, numbers) {
  const subject = new signalR.Subject();
  const result = connection.invoke('Sum', subject);
  for (const number of numbers) subject.next(number);
  subject.complete();
  return result;
}

const upTo = (count) => Array.from({ length: count }, (_, index) => index + 1);

for (const row of ROWS) {
  test(`${row.name}: streams from the client, one of more items than may wait, many at once, and one that fails`, async (t) => {
    const connection = await connect(t, row);
    assert.equal(await sum(connection, upTo(500)), 125_250);
    assert.deepEqual(await Promise.all(upTo(30).map((count) => sum(connection, upTo(count)))), upTo(30).map((n) => (n * (n + 1)) / 2));

    const subject = new signalR.Subject();
    const failing = connection.invoke('Sum', subject);
    subject.next(1);
    subject.error('gave up');
    await assert.rejects(failing, /HubException: gave up/);
    await assert.rejects(sum(connection, [1, 'two']), /Failed to invoke 'Sum'/);
    assert.deepEqual(await connection.invoke('Echo', { a: [1, 'x', null] }), { a: [1, 'x', null] });
  });

  test(`${row.name}: results of the client's methods, while many calls wait for them`, async (t) => {
    const connection = await connect(t, row);
    assert.deepEqual(new Set(await Promise.all(upTo(60).map(() => connection.invoke('WhoAmI')))), new Set(['Ada']));
    connection.off('name');
    await assert.rejects(connection.invoke('WhoAmI'), /the client answered with an error: Client didn't provide a result/);
  });

  test(`${row.name}: a stream to the client, and what does not fit`, async (t) => {
    const connection = await connect(t, row);
    const items = [];
    await new Promise((complete, error) => connection.stream('Count', 1000).subscribe({ next: (item) => items.push(item), complete, error }));
    assert.deepEqual(items, upTo(1000));
    await assert.rejects(connection.invoke('Echo', 1, 2), /InvalidDataException: Invocation provides 2 argument\(s\) but target expects 1\./);
    await assert.rejects(connection.invoke('Sum'), /HubException: Client sent 0 stream\(s\), Hub method expects 1\./);
  });
}
