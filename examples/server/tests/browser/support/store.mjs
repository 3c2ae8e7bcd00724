import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import pg from 'pg';

/** A store for one server and its restarts, with nothing in it unless an old one is named. */
export async function makeStore() {
  const { MESSENGER_TEST_STORE_URL: old, MESSENGER_BROWSER_STORE: kind } = process.env;
  if (old) return { url: old, remove: async () => {} };
  switch (kind || 'sqlite') {
    case 'sqlite':
      // Relative to the working directory of the server, which is removed with all that is in it.
      return { url: 'sqlite://messenger.db', remove: async () => {} };
    case 'postgres':
      return makeDatabase();
    default:
      assert.fail(`MESSENGER_BROWSER_STORE is ${kind}, and neither sqlite nor postgres`);
  }
}

async function makeDatabase() {
  const server = process.env.MESSENGER_TEST_POSTGRES_URL;
  assert.ok(
    server,
    'MESSENGER_TEST_POSTGRES_URL must be the URL of a PostgreSQL server, with a user who may create databases: run scripts/test, which starts one',
  );
  const name = `messenger_browser_${randomUUID().replaceAll('-', '')}`;
  await run(server, `CREATE DATABASE ${name}`);
  const url = new URL(server);
  url.pathname = `/${name}`;
  return { url: url.href, remove: () => run(server, `DROP DATABASE IF EXISTS ${name} WITH (FORCE)`) };
}

async function run(url, sql) {
  const client = new pg.Client({ connectionString: url });
  await client.connect();
  try {
    await client.query(sql);
  } finally {
    await client.end();
  }
}
