// What the token endpoint was asked: counters for /admin/stats, the last calls for /admin/log.
// Refresh tokens appear only as a short hash.
import * as crypto from 'node:crypto';
import { live } from './settings.mjs';
import { provider } from './provider.mjs';

const LOG_KEPT = 10_000;
const hash = (value) => crypto.createHash('sha256').update(String(value)).digest('hex').slice(0, 16);

const fresh = () => ({
  since: new Date().toISOString(),
  calls: {}, // endpoint -> count
  token: {}, // grant type -> { calls, ok, in_flight, max_in_flight, errors: { code: count } }
  faults_fired: 0,
  refresh_reuse_presented: 0, // a refresh token shown again after it had been rotated
  refresh_reuse_rejected: 0, // ... for which the whole grant was revoked
  refresh_concurrent_same_token: 0, // two refreshes of one token at the same time
  refresh_max_concurrent_per_token: 0,
  introspection: { active: 0, inactive: 0 },
});

export let stats = fresh();
let log = [];
const seen = new Map(); // hash of a refresh token -> { ok, flying }

export function reset() {
  stats = fresh();
  log = [];
  seen.clear();
}

export const lastCalls = (n) => log.slice(-n);

provider.on('grant.error', (_ctx, error) => {
  if (/already used/.test(error.error_detail || '')) stats.refresh_reuse_rejected += 1;
});

function ofGrantType(name) {
  stats.token[name] ||= { calls: 0, ok: 0, in_flight: 0, max_in_flight: 0, errors: {} };
  return stats.token[name];
}

// One call of the token endpoint, from its arrival to its end.
export class TokenCall {
  constructor(call, res) {
    const started = performance.now();
    this.counters = ofGrantType(call.params.grant_type || 'none');
    this.entry = { t: new Date().toISOString(), grant_type: call.params.grant_type, client_id: call.clientId, login: call.login };
    this.counters.calls += 1;
    this.counters.in_flight += 1;
    this.counters.max_in_flight = Math.max(this.counters.max_in_flight, this.counters.in_flight);
    if (call.params.refresh_token) this.#showRefreshToken(call.params.refresh_token);
    log.push(this.entry);
    if (log.length > 2 * LOG_KEPT) log = log.slice(-LOG_KEPT);
    res.on('close', () => {
      this.counters.in_flight -= 1;
      if (this.seen) this.seen.flying -= 1;
      this.entry.ms = performance.now() - started;
    });
  }

  #showRefreshToken(token) {
    this.entry.rt = hash(token);
    if (!seen.has(this.entry.rt)) seen.set(this.entry.rt, { ok: 0, flying: 0 });
    this.seen = seen.get(this.entry.rt);
    if (this.seen.ok > 0 && live.rotate) {
      stats.refresh_reuse_presented += 1;
      this.entry.reuse = true;
    }
    this.seen.flying += 1;
    if (this.seen.flying > 1) {
      stats.refresh_concurrent_same_token += 1;
      this.entry.concurrent = this.seen.flying;
    }
    stats.refresh_max_concurrent_per_token = Math.max(stats.refresh_max_concurrent_per_token, this.seen.flying);
  }

  answered(status, body) {
    this.entry.status = status;
    if (status !== 200) {
      this.failed(status, body?.error);
      return;
    }
    this.counters.ok += 1;
    if (this.seen) this.seen.ok += 1;
    if (body?.refresh_token) this.entry.rt_out = hash(body.refresh_token);
  }

  failed(status, error) {
    this.entry.status = status;
    this.entry.error = error;
    this.counters.errors[error || status] = (this.counters.errors[error || status] || 0) + 1;
  }
}
