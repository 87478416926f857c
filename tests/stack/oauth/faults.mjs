// Faults to order: which calls one matches, and what then happens to them. ../README.md has the table.
import { sendJson, sleep } from './answers.mjs';
import { stats } from './records.mjs';

const CHUNK = 'A'.repeat(65_536);
const HUGE_BYTES = 64 * 1024 * 1024;
const TRUNCATE_MS = 20; // for the first half to arrive

let faults = [];
let lastId = 0;

export function order(fault) {
  lastId += 1;
  faults.push({ endpoint: 'token', times: 1, skip: 0, fired: 0, ...fault, id: lastId });
  return faults.at(-1);
}

export const ordered = () => faults;
export function clear(id) { faults = id ? faults.filter((fault) => fault.id !== id) : []; }

function matches(fault, call) {
  const want = (wanted, is) => wanted === undefined || wanted === is;
  return (fault.endpoint === 'any' || fault.endpoint === call.endpoint)
    && want(fault.grant_type, call.params.grant_type) && want(fault.client_id, call.clientId) && want(fault.login, call.login);
}

export function take(call) {
  for (const fault of faults) {
    if (fault.times === 0 || !matches(fault, call)) continue;
    if (fault.skip > 0) { fault.skip -= 1; continue; }
    if (fault.times > 0) fault.times -= 1;
    fault.fired += 1;
    stats.faults_fired += 1;
    return fault;
  }
  return undefined;
}

function refuse(fault, res) {
  const status = fault.status || (fault.error === 'invalid_client' ? 401 : 400);
  const headers = { ...fault.headers, ...(fault.retry_after === undefined ? {} : { 'retry-after': String(fault.retry_after) }) };
  const body = fault.body || (fault.error && { error: fault.error, error_description: fault.error_description });
  if (fault.raw === undefined && body) return sendJson(res, status, body, headers);
  res.writeHead(status, { ...(fault.raw === undefined ? {} : { 'content-type': fault.content_type || 'text/html' }), ...headers });
  return res.end(fault.raw);
}

function truncate(res) {
  const body = JSON.stringify({ access_token: 'x'.repeat(200), token_type: 'Bearer', expires_in: 3600 });
  res.writeHead(200, { 'content-type': 'application/json', 'content-length': body.length });
  res.write(body.slice(0, body.length / 2));
  setTimeout(() => res.destroy(), TRUNCATE_MS);
}

async function pourOut(bytes, res) {
  res.writeHead(200, { 'content-type': 'application/json' });
  res.write('{"access_token":"');
  const closed = new Promise((resolve) => { res.once('close', resolve); });
  for (let sent = 0; sent < bytes && !res.destroyed; sent += CHUNK.length) {
    if (!res.write(CHUNK)) await Promise.race([closed, new Promise((resolve) => { res.once('drain', resolve); })]);
  }
  res.end('"}');
}

// The server does its work (rotates the refresh token!), but nobody hears of it.
function loseAnswer(req, res, record) {
  res.end = () => {
    if (record) record.entry.lost = true;
    req.socket.destroy();
    return res;
  };
}

const KINDS = {
  answer: (fault, req, res) => refuse(fault, res),
  hang: () => {}, // never answers
  drop: (fault, req) => req.socket.destroy(),
  reset: (fault, req) => req.socket.resetAndDestroy(),
  truncate: (fault, req, res) => truncate(res),
  garbage: (fault, req, res) => { res.writeHead(200, { 'content-type': 'text/html' }); res.end('<html>captive portal</html>'); },
  huge: (fault, req, res) => pourOut(fault.bytes || HUGE_BYTES, res),
};

// Plays a fault; says whether the call is thereby over (otherwise the provider still has to do its work).
export async function play(fault, req, res, record) {
  if (record) record.entry.fault = fault.id;
  if (fault.delay_ms) await sleep(fault.delay_ms);
  const kind = fault.kind || (fault.status || fault.error ? 'answer' : 'delay');
  if (kind === 'lost') loseAnswer(req, res, record);
  if (!KINDS[kind]) return false;
  record?.failed(kind === 'answer' ? fault.status || 400 : kind, fault.error);
  KINDS[kind](fault, req, res);
  return true;
}

const KNOWN = [...Object.keys(KINDS), 'lost', 'delay'];
export function check(fault) {
  if (fault.kind && !KNOWN.includes(fault.kind)) throw new Error(`no fault ${fault.kind}; known: ${KNOWN}`);
}
