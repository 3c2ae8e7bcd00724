const POLL_MS = 40;

/** Runs a check until it passes; fails with the check's last error when the time is over. */
export async function eventually(what, check, timeoutMs = 10_000) {
  const deadline = Date.now() + timeoutMs;
  for (;;) {
    try {
      return await check();
    } catch (error) {
      if (Date.now() > deadline) throw new Error(`Not in ${timeoutMs} ms: ${what}. ${error.message}`, { cause: error });
      await new Promise((resolve) => setTimeout(resolve, POLL_MS));
    }
  }
}
