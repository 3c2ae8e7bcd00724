// Two clients for Python, each as a process of its own.

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { describe, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { numbered } from './support/client.mjs';
import { ROWS, WEB_SOCKETS } from './support/rows.mjs';
import { useWorld } from './support/world.mjs';

const world = useWorld();
const PYTHON = process.env.MESSENGER_TEST_PYTHON;
const LIMIT_MS = 40_000;

async function run(script, args) {
  assert.ok(PYTHON, 'MESSENGER_TEST_PYTHON must name a Python with what requirements.txt lists');
  const path = fileURLToPath(new URL(`python/${script}.py`, import.meta.url));
  const child = spawn(PYTHON, [path, ...args], { stdio: ['ignore', 'pipe', 'pipe'], timeout: LIMIT_MS, killSignal: 'SIGKILL' });
  let said = '';
  let complaints = '';
  child.stdout.on('data', (chunk) => (said += chunk));
  child.stderr.on('data', (chunk) => (complaints += chunk));
  const [code] = await once(child, 'close');
  assert.equal(code, 0, `${script} ends with ${code}:\n${said}\n${complaints}`);
  return JSON.parse(said);
}

async function talks(script, ...more) {
  // These tests run at the same time, and each is to hear of its own chat alone.
  const guest = await world.person('Guest');
  const group = await world.group(world.ada, [guest]);
  for (const body of numbered(60)) await world.ada.send(group, body);
  const { answer, event, error, items } = await run(script, [world.hubUrl(), guest.token, group.id, ...more]);
  assert.equal(answer.body, 'from Python ✓');
  assert.equal(answer.senderId, guest.id);
  assert.deepEqual(event, { chatId: group.id, revision: answer.revision, message: answer });
  assert.match(error, /^An unexpected error occurred invoking 'SendMessage' on the server\. HubException: invalid: /);
  const history = await guest.history(group);
  assert.deepEqual(items, history);
  assert.deepEqual(history.at(-1), answer);
}

describe('Python', { concurrency: true }, () => {
  for (const row of WEB_SOCKETS) {
    test(`pysignalr, ${row.name}: sends, receives, is refused and streams`, () => talks('with_pysignalr', row.protocolName));
  }

  // Its long polls carry no token and take one record from an answer, so that they work with no hub that asks for a log-in.
  for (const row of ROWS.filter(({ transportName }) => transportName !== 'LongPolling')) {
    test(`signalrcore, ${row.name}: sends, receives, is refused and streams`, () =>
      talks('with_signalrcore', row.protocolName, row.transportName));
  }
});
