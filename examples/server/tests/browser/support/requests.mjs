/** The fields of each request of this name that the page sends on a connection that it opens from now on, with their moments. */
export function requestsOf(page, name) {
  const requests = [];
  page.on('websocket', (socket) =>
    socket.on('framesent', ({ payload }) => {
      // In a frame of SignalR, each record ends with the character 30.
      for (const record of payload.split('\x1e').filter(Boolean)) {
        const { method, params, target = method, arguments: [fields] = [params] } = JSON.parse(record);
        if (target === name) requests.push({ fields, at: Date.now() });
      }
    }));
  return requests;
}
