// In front of the provider: every call is counted, may meet a fault, and some answers are bent.
import { emailOf } from './accounts.mjs';
import { readBody, sendJson, sleep } from './answers.mjs';
import * as faults from './faults.mjs';
import { provider } from './provider.mjs';
import { stats, TokenCall } from './records.mjs';
import { live } from './settings.mjs';
import { entriesOf } from './storage.mjs';

const ENDPOINTS = { // the longer path comes first
  '/token/introspection': 'introspection', '/token/revocation': 'revocation', '/token': 'token',
  '/device/auth': 'device_authorization', '/device': 'device', '/auth': 'authorization', '/me': 'userinfo',
  '/jwks': 'jwks', '/.well-known': 'discovery', '/session': 'session', '/request': 'par',
};
const WITH_FORM = ['token', 'introspection', 'revocation', 'device_authorization'];
const endpointOf = (pathname) => ENDPOINTS[Object.keys(ENDPOINTS).find((path) => pathname === path || pathname.startsWith(`${path}/`))] || 'other';

// The client of HTTP Basic, form-urlencoded as RFC 6749 2.3.1 wants it. Bad input is the provider's to refuse.
function basicClient(header) {
  const credentials = /^basic (.+)$/i.exec(header || '');
  if (!credentials) return undefined;
  try {
    return decodeURIComponent(Buffer.from(credentials[1], 'base64').toString().split(':')[0].replace(/\+/g, ' '));
  } catch {
    return undefined;
  }
}

async function describe(req, url) {
  const call = { endpoint: endpointOf(url.pathname), params: {} };
  if (req.method !== 'POST' || !WITH_FORM.includes(call.endpoint)) return call;
  req.body = await readBody(req); // the provider takes an already read body from here
  call.params = Object.fromEntries(new URLSearchParams(req.body.toString()));
  call.clientId = basicClient(req.headers.authorization) || call.params.client_id;
  const refreshToken = entriesOf('RefreshToken').get(call.params.refresh_token);
  call.login = refreshToken && emailOf(refreshToken.payload.accountId);
  return call;
}

// Lets `change(status, body)` see every JSON answer of the provider; what it returns is sent instead.
function onAnswer(res, change) {
  const end = res.end.bind(res);
  res.end = (chunk, ...rest) => {
    const isJson = chunk && String(res.getHeader('content-type')).includes('json');
    const changed = change(res.statusCode, isJson ? JSON.parse(chunk.toString()) : undefined);
    if (!changed) return end(chunk, ...rest);
    const bytes = Buffer.from(JSON.stringify(changed));
    res.setHeader('content-length', bytes.length);
    return end(bytes);
  };
}

function claimLifetime(status, body) {
  if (status !== 200 || !body || live.expires_in === 'real') return undefined;
  const { expires_in: real, ...rest } = body;
  if (live.expires_in === 'omit') return rest;
  return { ...rest, expires_in: live.expires_in === 'string' ? String(real) : live.expires_in };
}

// RFC 7662 answers {"active":false} and no more. Dovecot 2.3 misses its username there and takes the server
// for broken ("Temporary authentication failure"). With `inactive_email` such answers carry a dummy address,
// so that a bad token is a plain login failure.
function countIntrospection(body, dummy) {
  stats.introspection[body?.active ? 'active' : 'inactive'] += 1;
  return body?.active === false && dummy ? { ...body, email: '-' } : undefined;
}

const isJwt = (token) => /^[\w-]+\.[\w-]+\.[\w-]*$/.test(token || '');

const callback = provider.callback();

export async function oauth(req, res, url) {
  const call = await describe(req, url);
  stats.calls[call.endpoint] = (stats.calls[call.endpoint] || 0) + 1;
  const record = call.endpoint === 'token' ? new TokenCall(call, res) : undefined;
  const delay = live[`${call.endpoint}_delay_ms`];
  if (delay) await sleep(delay);

  const fault = faults.take(call);
  if (fault && await faults.play(fault, req, res, record)) return;

  if (record) {
    onAnswer(res, (status, body) => { record.answered(status, body); return claimLifetime(status, body); });
  } else if (call.endpoint === 'introspection') {
    const dummy = live.inactive_email && call.clientId === 'dovecot';
    // The provider answers 400 for a JWT, which Dovecot would take for a broken server as well.
    if (dummy && isJwt(call.params.token)) {
      sendJson(res, 200, countIntrospection({ active: false }, dummy));
      return;
    }
    onAnswer(res, (_status, body) => countIntrospection(body, dummy));
  }
  await callback(req, res);
}
