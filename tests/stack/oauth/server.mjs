// The test stack's authorization server: oidc-provider plus hooks that order faults and look inside.
// Listens on loopback only. settings -> storage, keys, clients -> provider -> pages, records, faults -> front, admin.
import * as fs from 'node:fs';
import * as http from 'node:http';
import * as https from 'node:https';
import { admin } from './admin.mjs';
import { sendJson } from './answers.mjs';
import { oauth } from './front.mjs';
import * as keys from './keys.mjs';
import { interaction } from './pages.mjs';
import { provider } from './provider.mjs';
import { fixed } from './settings.mjs';
import * as storage from './storage.mjs';

const BACKLOG = 1024;
const KEEP_ALIVE_MS = 120_000;

async function handle(req, res) {
  try {
    const url = new URL(req.url, 'http://stack');
    if (url.pathname.startsWith('/admin/')) await admin(req, res, url);
    else if (url.pathname.startsWith('/interaction/')) await interaction(req, res);
    else await oauth(req, res, url);
  } catch (error) {
    if (res.headersSent) res.destroy();
    else sendJson(res, 400, { error: error.error || 'bad_request', detail: error.error_description || error.message });
  }
}

function listen(server, port) {
  server.keepAliveTimeout = KEEP_ALIVE_MS;
  server.on('error', (error) => { console.error(`cannot listen: ${error.message}`); process.exit(1); });
  server.listen(port, fixed.host, BACKLOG);
}

function stop() {
  storage.save();
  process.exit(0);
}

provider.on('server_error', (_ctx, error) => console.error('server_error', error));
keys.publish();
await storage.open();
process.on('SIGTERM', stop);
process.on('SIGINT', stop);
listen(http.createServer(handle), fixed.port);
if (fixed.tlsPort) listen(https.createServer({ key: fs.readFileSync(fixed.tlsKey), cert: fs.readFileSync(fixed.tlsCert) }, handle), fixed.tlsPort);
console.log(`${fixed.issuer} pid ${process.pid} node ${process.version}`);
