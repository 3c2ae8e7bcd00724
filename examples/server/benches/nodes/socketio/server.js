// A node of Socket.IO with its Redis adapter: gives what is sent to a room to all sockets in it, on all nodes, and
// stores nothing. The argument is the URL of Redis; without one the node is on its own.
import { createServer } from "node:http";
import { createAdapter } from "@socket.io/redis-adapter";
import { createClient } from "redis";
import { Server } from "socket.io";

const [url] = process.argv.slice(2);
const options = { transports: ["websocket"] };
if (url) {
  const publisher = createClient({ url });
  const subscriber = publisher.duplicate();
  for (const client of [publisher, subscriber]) client.on("error", () => {});
  await Promise.all([publisher.connect(), subscriber.connect()]);
  options.adapter = createAdapter(publisher, subscriber);
}

const http = createServer();
const io = new Server(http, options);
io.on("connection", (socket) => {
  const { room } = socket.handshake.query;
  socket.join(room);
  socket.on("send", (message, done) => {
    io.to(room).emit("message", message);
    done();
  });
});

http.listen(0, "127.0.0.1", () => console.error(`http://127.0.0.1:${http.address().port}/`));
