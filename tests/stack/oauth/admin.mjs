// The hooks of tests, /admin/...: loopback only, no login. They do without a browser what takes one,
// and do to tokens and accounts what a provider would do one day.
import * as accounts from './accounts.mjs';
import { readBody, sendJson } from './answers.mjs';
import * as faults from './faults.mjs';
import { jwtResource, provider } from './provider.mjs';
import * as records from './records.mjs';
import { changeLive, fixed, live, resetLive } from './settings.mjs';
import * as storage from './storage.mjs';

const DEFAULT_SCOPE = `openid offline_access email ${fixed.mailScope}`;
const MODEL_OF = { refresh: 'RefreshToken', access: 'AccessToken', grant: 'Grant', session: 'Session' };

async function grant(login, clientId, scope) {
  const made = new provider.Grant({ accountId: accounts.subjectOf(login), clientId });
  made.addOIDCScope(scope);
  made.addResourceScope(fixed.jwtResource, scope);
  return made.save();
}

function expire(accessToken) {
  storage.entriesOf('AccessToken').get(accessToken).payload.exp = Math.floor(Date.now() / 1000) - 10;
}

// Tokens as a code flow would give them. `access_ttl` <= 0: an access token that has already expired.
async function mint({ login, client_id = 'web-basic', scope = DEFAULT_SCOPE, access_ttl, format = live.format, refresh = true }) {
  const client = await provider.Client.find(client_id);
  if (!client) throw new Error(`no client ${client_id}`);
  const common = { accountId: accounts.subjectOf(login), client, grantId: await grant(login, client_id, scope), gty: 'authorization_code', scope };
  const access = new provider.AccessToken(common);
  if (access_ttl !== undefined) access.expiresIn = Math.max(1, access_ttl);
  if (format === 'jwt') {
    access.resourceServer = new provider.ResourceServer(fixed.jwtResource, jwtResource());
    access.scope = scope.split(' ').filter((name) => !['openid', 'offline_access'].includes(name)).join(' ');
  }
  const minted = { access_token: await access.save(), token_type: 'Bearer', expires_in: access_ttl ?? access.expiration, scope: access.scope };
  if (access_ttl <= 0 && format !== 'jwt') expire(minted.access_token);
  if (refresh) minted.refresh_token = await new provider.RefreshToken({ ...common, ...(format === 'jwt' ? { resource: fixed.jwtResource } : {}) }).save();
  return minted;
}

async function approveDevice({ user_code, login, deny }) {
  const code = await provider.DeviceCode.findByUserCode(String(user_code).toUpperCase().replace(/[^A-Z0-9]/g, ''), { ignoreExpiration: true });
  if (!code) throw new Error(`no user code ${user_code}`);
  const scope = code.params.scope || DEFAULT_SCOPE;
  if (deny) Object.assign(code, { error: 'access_denied', errorDescription: 'End-User aborted interaction' });
  else Object.assign(code, { accountId: accounts.subjectOf(login), grantId: await grant(login, code.clientId, scope), scope, authTime: Math.floor(Date.now() / 1000) });
  await code.save();
  return { ok: true };
}

function revoke({ login, kinds = ['refresh'] }) {
  const revoked = {};
  for (const kind of kinds) {
    if (!MODEL_OF[kind]) throw new Error(`no kind ${kind}; known: ${Object.keys(MODEL_OF)}`);
    const entries = storage.entriesOf(MODEL_OF[kind]);
    const hit = [...entries].filter(([, { payload }]) => !login || payload.accountId === accounts.subjectOf(login));
    hit.forEach(([id]) => entries.delete(id));
    revoked[kind] = hit.length;
  }
  return revoked;
}

function reset({ tokens }) {
  resetLive();
  faults.clear();
  records.reset();
  accounts.activateAll();
  if (tokens) storage.forgetAll();
  return { ok: true };
}

const HOOKS = {
  'GET health': () => ({ ok: true, pid: process.pid, issuer: fixed.issuer, uptime_s: process.uptime() }),
  'GET stats': () => ({ ...records.stats, faults: faults.ordered(), stored: storage.counts() }),
  'POST stats/reset': () => { records.reset(); return { ok: true }; },
  'GET log': (_body, query) => records.lastCalls(Number(query.get('n') || 200)),
  'GET config': () => live,
  'POST config': (body) => { changeLive(body); return live; },
  'GET faults': () => faults.ordered(),
  'POST fault': (body) => { faults.check(body); return faults.order(body); },
  'POST faults/clear': ({ id }) => { faults.clear(id); return { ok: true }; },
  'POST mint': mint,
  'POST revoke': revoke,
  'POST users': ({ login, active }) => ({ disabled: accounts.setActive(login, active !== false) }),
  'POST clients': async (body) => { await new storage.Adapter('Client').upsert(body.client_id, body); return { ok: true }; },
  'POST device/approve': approveDevice,
  'POST reset': reset,
};

export async function admin(req, res, url) {
  const name = `${req.method} ${url.pathname.slice('/admin/'.length)}`;
  const hook = HOOKS[name];
  if (!hook) return sendJson(res, 404, { error: `no hook ${name}`, known: Object.keys(HOOKS) });
  const body = req.method === 'POST' ? JSON.parse((await readBody(req)).toString() || '{}') : {};
  return sendJson(res, 200, await hook(body, url.searchParams));
}
