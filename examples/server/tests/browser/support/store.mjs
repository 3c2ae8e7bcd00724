import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
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
    case 'mssql':
      return makeMssqlDatabase();
    default:
      assert.fail(`MESSENGER_BROWSER_STORE is ${kind}, and none of sqlite, postgres and mssql`);
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

/** The program makes it, and drops it when it is told to end, or when this process has ended in whatever way. */
async function makeMssqlDatabase() {
  const { MESSENGER_TEST_MSSQL_URL: server, MESSENGER_TEST_MSSQL_DATABASE: program } = process.env;
  assert.ok(
    server && program,
    'MESSENGER_TEST_MSSQL_URL must be the URL of an SQL Server, with a user who may create databases, and MESSENGER_TEST_MSSQL_DATABASE the program mssql-database of messenger-testing: run scripts/test mssql, which sees to both',
  );
  const child = spawn(program, { stdio: ['pipe', 'pipe', 'inherit'] });
  const exited = once(child, 'exit');
  const url = await Promise.race([
    once(createInterface(child.stdout), 'line').then(([line]) => line),
    exited.then(([code]) => assert.fail(`${program} has ended with ${code}, without a database`)),
  ]);
  const remove = async () => {
    child.stdin.end();
    const [code] = await exited;
    assert.equal(code, 0, 'the database is dropped');
  };
  return { url, remove };
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
