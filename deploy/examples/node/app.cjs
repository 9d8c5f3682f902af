// Orders by Node's own HTTP server. Nothing here knows of metrics: the OpenTelemetry agent measures it.
//
//   npm install
//   export OTEL_SERVICE_NAME=orders OTEL_METRICS_EXPORTER=otlp
//   node --require @opentelemetry/auto-instrumentations-node/register app.cjs
"use strict";

const http = require("node:http");

const server = http.createServer((request, response) => {
  const lost = request.url.startsWith("/lost");
  response.writeHead(lost ? 503 : 200, { "content-type": "application/json" });
  response.end(JSON.stringify({ path: request.url }));
});
server.listen(Number(process.env.PORT ?? 8002), "127.0.0.1");
for (const signal of ["SIGINT", "SIGTERM"]) {
  process.once(signal, () => server.close());
}
