// The page behind a real nginx: TLS, HTTP/2, below a prefix that the proxy passes on or takes away, with each usual Host header;
// signing in, what a viewer sees, and the way out. The configuration is the one that docs/access.md shows.

import assert from "node:assert/strict";
import { execFileSync, spawn } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { connect } from "node:http2";
import { request as overTls } from "node:https";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { after, before, test } from "node:test";
import { fitsInWidth, freePorts, LOOKS, PHONE, says, screenshots, startBrowser, startStarling, until, violations } from "./harness.mjs";

const HOST = "dash.example.org";
const PREFIX = "/starling";
const PASSWORD = "correct horse battery";
const root = resolve(import.meta.dirname, "../..");
const binary = process.env.STARLING_BINARY ?? join(root, "target/debug/starling");

let folder;
let starling;
let nginx;
let browser;
/** Ports of the proxy, by what it does. */
let ports;

const command = (args, input = "") => execFileSync(binary, args, { input, cwd: folder, encoding: "utf8" });

/** The example of the documentation, with the addresses of this test. */
function documented(port, upstream) {
  const text = readFileSync(join(root, "docs/access.md"), "utf8");
  const block = /```nginx\n([\s\S]*?)```/.exec(text)[1];
  return block
    .replace("listen 443 ssl http2;", `listen 127.0.0.1:${port} ssl http2;`)
    .replace("/etc/ssl/dash.pem", join(folder, "page/certificate.pem"))
    .replace("/etc/ssl/dash.key", join(folder, "page/key.pem"))
    .replaceAll("127.0.0.1:7480", upstream);
}

before(async () => {
  folder = mkdtempSync(join(tmpdir(), "starling-proxy-"));
  const users = join(folder, "users.toml");
  for (const [name, role] of [["vera", "viewer"], ["otto", "operator"]]) {
    command(["users", "add", name, "--role", role, "--file", users], `${PASSWORD}\n`);
  }
  command(["ca", "init"]);
  command(["ca", "issue", "aggregator", "page", "--host", HOST]);
  [ports, starling, browser] = await Promise.all([
    freePorts(6),
    startStarling(
      "--set", `dashboard.users=${users}`, "--set", `dashboard.base_path=${PREFIX}`,
      "--set", `dashboard.allowed_hosts=["${HOST}"]`, "--set", 'dashboard.trusted_proxies=["127.0.0.1"]',
    ),
    startBrowser(),
  ]);
  const upstream = new URL(starling.url).host;
  // The example first; then what others write in place of `$http_host`, and one that takes the prefix away.
  const passing = documented(ports[0], upstream);
  const hosts = ["$host", "$host:$server_port", "$proxy_host"].map((host, i) =>
    documented(ports[i + 1], upstream).replace("proxy_set_header Host $http_host;", `proxy_set_header Host ${host};`));
  const taking = documented(ports[4], upstream).replace(`proxy_pass http://${upstream};`, `proxy_pass http://${upstream}/;`);
  const configuration = `
    pid ${folder}/nginx.pid; error_log ${folder}/error.log; daemon off; worker_processes 1;
    events {}
    http {
      access_log ${folder}/access.log;
      ${["client_body", "proxy", "fastcgi", "uwsgi", "scgi"].map((kind) => `${kind}_temp_path ${folder}/${kind};`).join(" ")}
      map $http_upgrade $connection_upgrade { default upgrade; '' close; }
      ${[passing, ...hosts, taking].map((server) => server.replace(/map \$http_upgrade[\s\S]*?\n}\n/, "")).join("\n")}
    }`;
  writeFileSync(join(folder, "nginx.conf"), configuration);
  nginx = spawn("/usr/sbin/nginx", ["-c", join(folder, "nginx.conf"), "-e", join(folder, "error.log")], { stdio: "inherit" });
  await until("the proxy answers", () => ask(0, "GET", "/").then(({ status }) => status, (error) => error.message), (status) => status === 303);
});

after(async () => {
  await browser?.close();
  if (nginx && nginx.exitCode === null) {
    const ended = new Promise((done) => nginx.once("exit", done));
    nginx.kill("SIGTERM");
    await ended;
  }
  await starling?.stop();
  if (folder) rmSync(folder, { recursive: true, force: true });
});

/** One request through a server of the proxy: status, headers and body. */
function ask(server, method, path, { headers = {}, body, below = PREFIX, localAddress } = {}) {
  return new Promise((done, failed) => {
    const port = ports[server];
    const request = overTls(
      {
        host: "127.0.0.1", port, localAddress, method, path: below + path, rejectUnauthorized: false, servername: HOST,
        headers: { host: `${HOST}:${port}`, accept: "text/html", ...headers },
      },
      (response) => {
        let text = "";
        response.on("data", (part) => (text += part));
        response.on("end", () => done({ status: response.statusCode, headers: response.headers, text }));
      },
    );
    request.on("error", failed);
    request.end(body);
  });
}

/** Status of an upgrade to the live socket through a server of the proxy. */
function upgrade(server, headers) {
  return new Promise((done, failed) => {
    const port = ports[server];
    const request = overTls({
      host: "127.0.0.1", port, path: `${PREFIX}/ws/v1/live`, rejectUnauthorized: false, servername: HOST,
      headers: {
        host: `${HOST}:${port}`, connection: "Upgrade", upgrade: "websocket", "sec-websocket-version": "13",
        "sec-websocket-key": "dGhlIHNhbXBsZSBub25jZQ==", "sec-websocket-protocol": "starling.live.v1", ...headers,
      },
    });
    request.on("upgrade", (response, socket) => {
      socket.destroy();
      done(response.statusCode);
    });
    request.on("response", (response) => {
      response.resume();
      done(response.statusCode);
    });
    request.on("error", failed);
    request.end();
  });
}

const form = (name, password, next = "") => ({
  headers: { "content-type": "application/x-www-form-urlencoded" },
  body: new URLSearchParams({ name, password, next }).toString(),
});

/** Signs in through a server of the proxy, as a page there does. */
async function cookie(server, name) {
  const { headers, body } = form(name, PASSWORD, "/alerts");
  const answer = await ask(server, "POST", "/login", { headers: { ...headers, origin: `https://${HOST}:${ports[server]}` }, body });
  assert.equal(answer.status, 303, answer.text);
  assert.equal(answer.headers.location, `${PREFIX}/alerts`);
  const [set] = answer.headers["set-cookie"];
  assert.match(set, /^__Secure-starling_\d+=[\w-]{43}; Path=\/starling; Max-Age=604800; HttpOnly; SameSite=Lax; Secure$/);
  return set.split(";")[0];
}

for (const [server, what] of ["as the browser sent it", "without its port", "with the port of the proxy", "of the server behind", "and the prefix taken away"].entries()) {
  test(`a Host header ${what}: page, API and socket work, and another site is refused`, async () => {
    const own = await cookie(server, "otto");
    const page = await ask(server, "GET", "/nodes?q=zone%3Ab", { headers: { cookie: own } });
    assert.equal(page.status, 200);
    const parts = [...page.text.matchAll(/(?:src|href)="([^"]+)"/g)].map((found) => found[1]);
    assert.ok(parts.length > 3 && parts.every((part) => part.startsWith(`${PREFIX}/assets/`)), parts.join(" "));
    for (const part of parts) {
      assert.equal((await ask(server, "GET", part, { below: "", headers: { cookie: own } })).status, 200, part);
    }
    const json = { cookie: own, "content-type": "application/json", accept: "application/json" };
    const change = (origin) => ask(server, "POST", "/api/v1/silences", { headers: { ...json, origin }, body: "{}" });
    // 400: it was let in, and says nothing of what is to be silent.
    assert.equal((await change(`https://${HOST}:${ports[server]}`)).status, 400);
    for (const origin of ["https://evil.example", "null", `https://${HOST}.evil.example`]) {
      assert.equal((await change(origin)).status, 403, origin);
    }
    const here = `https://${HOST}:${ports[server]}`;
    assert.equal(await upgrade(server, { cookie: own, origin: here }), 101);
    assert.equal(await upgrade(server, { cookie: own, origin: "https://evil.example" }), 403);
    assert.equal(await upgrade(server, { origin: here }), 401);
    const { servers } = JSON.parse((await ask(server, "GET", "/api/v1/openapi.json", { headers: json })).text);
    assert.deepEqual(servers, [{ url: PREFIX }]);
  });
}

test("the prefix without its slash leads to the one with it, once", async () => {
  const bare = await ask(0, "GET", "?a=b");
  assert.equal(bare.status, 308);
  assert.ok(bare.headers.location.endsWith(`${PREFIX}/?a=b`), bare.headers.location);
  const signedOut = await ask(0, "GET", "/nodes?q=a%23b");
  assert.equal(signedOut.status, 303);
  assert.equal(signedOut.headers.location, `${PREFIX}/login?next=%2Fnodes%3Fq%3Da%2523b`);
  assert.equal((await ask(0, "GET", "/login")).status, 200);
});

test("HTTP/2 is spoken, and a name that is not allowed is not answered", async () => {
  const session = connect(`https://127.0.0.1:${ports[0]}`, { rejectUnauthorized: false, servername: HOST });
  const status = (authority) =>
    new Promise((done, failed) => {
      const stream = session.request({ ":path": `${PREFIX}/login`, ":authority": authority });
      stream.on("response", (headers) => done(headers[":status"]));
      stream.on("error", failed);
      stream.resume();
      stream.end();
    });
  assert.equal(await status(`${HOST}:${ports[0]}`), 200);
  assert.equal(await status("evil.example"), 403);
  assert.equal(session.alpnProtocol, "h2");
  session.close();
});

test("a guesser is slowed by its own address, and what it says of itself changes nothing", async () => {
  const guess = (headers) => ask(0, "POST", "/login", {
      // Another address than that of the proxy, which is believed.
      ...form("otto", "wrong"), headers: { ...form("", "").headers, ...headers }, localAddress: "127.0.0.2",
    });
  const statuses = [];
  for (let i = 0; i < 12; i++) statuses.push((await guess({ "x-forwarded-for": `10.0.0.${i}` })).status);
  assert.deepEqual(statuses, [...Array(10).fill(401), 429, 429]);
});

/** Opens the log-in below the prefix, as who follows a link signed out. */
async function visit(size, use) {
  const context = await browser.newContext({ ignoreHTTPSErrors: true, viewport: size, colorScheme: size.theme ?? "dark", timezoneId: "UTC" });
  const page = await context.newPage();
  const [faults, outside] = [[], []];
  page.on("console", (m) => ["error", "warning"].includes(m.type()) && faults.push(m.text()));
  page.on("pageerror", (error) => faults.push(error.message));
  const look = (url) => {
    const { host, pathname } = new URL(url);
    if (host !== `${HOST}:${ports[0]}` || !pathname.startsWith(`${PREFIX}/`)) outside.push(url);
  };
  page.on("request", (request) => look(request.url()));
  page.on("websocket", (socket) => look(socket.url()));
  await page.goto(`https://${HOST}:${ports[0]}${PREFIX}/alerts?q=c%2B%2B`);
  await use(page, faults);
  assert.deepEqual(outside, [], "requests outside of the prefix");
  assert.deepEqual(faults, []);
  await context.close();
}

const signIn = async (page, name) => {
  await page.locator("#name").fill(name);
  await page.locator("#password").fill(PASSWORD);
  await page.locator("button").click();
};

for (const look of LOOKS) {
  test(`axe finds nothing on the log-in, ${look.theme}, ${look.width} wide`, () =>
    visit(look, async (page) => {
      await page.locator("#name").waitFor();
      assert.deepEqual(await violations(page), []);
      assert.ok(await fitsInWidth(page));
      await page.screenshot({ path: `${screenshots}/login-${look.width}-${look.theme}.png` });
    }));
}

test("who signs in lands where the link led, goes on by links, and signs out", () =>
  visit({ width: 1440, height: 900 }, async (page, faults) => {
    assert.match(page.url(), /\/starling\/login\?next=/);
    await page.locator("#name").fill("vera");
    await page.locator("#password").fill("not the password");
    await page.locator("button").click();
    await page.locator("[role=alert]").waitFor();
    assert.equal(await page.locator("#name").inputValue(), "vera");
    // The refusal is an answer with a status of its own, which Chromium writes down.
    assert.match(faults.splice(0).join(), /^(Failed to load resource: the server responded with a status of 401.*)?$/);
    await signIn(page, "vera");
    await says(page, "Live");
    assert.ok(page.url().endsWith(`${PREFIX}/alerts?q=c%2B%2B`), page.url());
    await until("who it is", () => page.locator(".foot").textContent(), (text) => text.startsWith("veraSign out"));
    const add = page.locator("button", { hasText: "New silence" });
    await until("a viewer cannot silence", () => add.isDisabled(), (off) => off);
    assert.match(await add.getAttribute("title"), /operator/);
    await page.locator(".nav a", { hasText: "Nodes" }).click();
    await page.waitForURL(`**${PREFIX}/nodes*`);
    await page.locator("table.nodes tbody tr a").first().click();
    await page.waitForURL(`**${PREFIX}/nodes/*`);
    await page.reload();
    await says(page, "Live");
    await page.locator(".foot button", { hasText: "Sign out" }).click();
    await page.waitForURL(`**${PREFIX}/login?next=*`);
    faults.splice(0);
  }));

test("a page whose session is ended elsewhere goes to the log-in and back", () =>
  visit(PHONE, async (page, faults) => {
    await signIn(page, "otto");
    await says(page, "Live");
    // The side bar has no room on a phone: the Settings have it too.
    await page.goto(`https://${HOST}:${ports[0]}${PREFIX}/settings`);
    await until("who it is", () => page.locator(".settings").textContent(), (text) => /ottoSign outSigned in, with the role operator/.test(text));
    await page.goBack();
    await says(page, "Live");
    const own = (await page.context().cookies()).map(({ name, value }) => `${name}=${value}`).join("; ");
    await ask(0, "POST", "/logout", { headers: { cookie: own } });
    await page.waitForURL(`**${PREFIX}/login?next=*`);
    await signIn(page, "otto");
    await says(page, "Live");
    assert.ok(page.url().endsWith(`${PREFIX}/alerts?q=c%2B%2B`), page.url());
    faults.splice(0);
  }));

test("no secret is in a log", () => {
  const logs = readFileSync(join(folder, "access.log"), "utf8") + starling.log();
  assert.ok(!logs.includes(PASSWORD) && !/starling_\d+=[\w-]{20}/.test(logs));
  assert.match(logs, /log-in refused: too many attempts/);
});
