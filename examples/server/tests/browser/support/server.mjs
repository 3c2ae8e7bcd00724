import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { makeStore } from './store.mjs';
import { eventually } from './wait.mjs';

/** The real server as a process of its own, on a store that outlives a restart. `settings` are further variables for it. */
export async function startServer(settings = {}) {
  const binary = process.env.MESSENGER_SERVER_BIN;
  assert.ok(binary, 'MESSENGER_SERVER_BIN must name the server binary');
  const store = await makeStore();
  const folder = await mkdtemp(join(tmpdir(), 'messenger-browser-'));
  const port = await freePort();
  const url = `http://127.0.0.1:${port}`;
  const env = {
    ...process.env,
    MESSENGER_LISTEN: `127.0.0.1:${port}`,
    MESSENGER_STORE_URL: store.url,
    MESSENGER_RATE_LIMITS: 'off',
    ...settings,
  };
  let child = null;
  let exited = null;
  let output = '';

  async function start() {
    child = spawn(binary, { env, cwd: folder, stdio: ['ignore', 'pipe', 'pipe'] });
    exited = once(child, 'exit');
    const keep = (chunk) => (output = (output + chunk).slice(-20_000));
    child.stdout.on('data', keep);
    child.stderr.on('data', keep);
    const ready = eventually('the server is ready', async () => {
      const response = await fetch(`${url}/health/ready`);
      assert.equal(response.status, 200);
    }, 30_000);
    const early = exited.then(([code]) => assert.fail(`the server ended with ${code} before it was ready:\n${output}`));
    // Of the two, only the first to settle counts.
    for (const outcome of [ready, early]) outcome.catch(() => {});
    await Promise.race([ready, early]);
  }

  async function end(signal) {
    child.kill(signal);
    const [code, bySignal] = await exited;
    return { code, bySignal };
  }

  async function remove() {
    if (child.exitCode === null && child.signalCode === null) await end('SIGKILL');
    await rm(folder, { recursive: true, force: true });
    await store.remove();
  }

  try {
    await start();
  } catch (error) {
    await remove();
    throw error;
  }
  return {
    url,
    port,
    start,
    get pid() {
      return child.pid;
    },
    /** The last of what the server has written. */
    get output() {
      return output;
    },
    /** Asks the server to end; a clean end has the exit code 0. */
    async stop() {
      const { code, bySignal } = await end('SIGTERM');
      assert.deepEqual({ code, bySignal }, { code: 0, bySignal: null }, `the server's last words:\n${output}`);
    },
    kill: () => end('SIGKILL'),
    /** Runs another program on the store of the server. */
    async runOnStore(program) {
      const [code] = await once(spawn(program, [store.url], { cwd: folder, stdio: 'inherit' }), 'exit');
      assert.equal(code, 0, `${program} on ${store.url}`);
    },
    remove,
  };
}

async function freePort() {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address();
  server.close();
  await once(server, 'close');
  return port;
}
