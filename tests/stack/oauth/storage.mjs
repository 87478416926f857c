// Where the provider keeps its tokens: memory, and a file over a planned stop, so that a restarted
// server still knows them. (The provider's own memory store forgets everything past 1,000 entries.)
import * as fs from 'node:fs';
import * as path from 'node:path';
import { fixed, live } from './settings.mjs';

const KEPT = ['Grant', 'RefreshToken', 'AccessToken', 'ClientCredentials', 'Session', 'Client'];
const OF_A_GRANT = new Set(['AccessToken', 'AuthorizationCode', 'RefreshToken', 'DeviceCode']);
const EXPIRED_KEPT_MS = 60_000; // expired entries answer more clearly than absent ones
const SWEEP_MS = 30_000;

const models = new Map(); // model -> Map(id -> { payload, expires, consumedAt }), times in ms
const grants = new Map(); // grant id -> Map(model -> Set of ids)

export function entriesOf(model) {
  if (!models.has(model)) models.set(model, new Map());
  return models.get(model);
}

export const counts = () => Object.fromEntries([...models].map(([model, entries]) => [model, entries.size]));

export function forgetAll() {
  models.forEach((entries) => entries.clear());
  grants.clear();
}

const idsOf = (grantId, model) => {
  if (!grants.has(grantId)) grants.set(grantId, new Map());
  const byModel = grants.get(grantId);
  if (!byModel.has(model)) byModel.set(model, new Set());
  return byModel.get(model);
};

function find(entries, wanted) {
  for (const entry of entries.values()) if (wanted(entry.payload)) return { ...entry.payload };
  return undefined;
}

// The interface that oidc-provider asks for.
export class Adapter {
  constructor(model) {
    this.model = model;
    this.entries = entriesOf(model);
  }

  async upsert(id, payload, expiresIn) {
    this.entries.set(id, { payload, expires: expiresIn ? Date.now() + expiresIn * 1000 : Infinity });
    if (OF_A_GRANT.has(this.model) && payload.grantId) idsOf(payload.grantId, this.model).add(id);
  }

  async find(id) {
    const entry = this.entries.get(id);
    if (!entry) return undefined;
    const { consumed, ...unused } = entry.payload;
    const inGrace = this.model === 'RefreshToken' && consumed && Date.now() - entry.consumedAt <= live.rotate_grace * 1000;
    return inGrace && live.rotate_grace > 0 ? unused : { ...entry.payload };
  }

  async findByUid(uid) { return find(this.entries, (payload) => payload.uid === uid); }

  async findByUserCode(code) { return find(this.entries, (payload) => payload.userCode === code); }

  async consume(id) {
    const entry = this.entries.get(id);
    if (!entry) return;
    entry.consumedAt = Date.now();
    entry.payload.consumed = Math.floor(entry.consumedAt / 1000);
  }

  async destroy(id) { this.entries.delete(id); }

  async revokeByGrantId(grantId) {
    for (const id of grants.get(grantId)?.get(this.model) || []) this.entries.delete(id);
  }
}

function sweep() {
  const limit = Date.now() - EXPIRED_KEPT_MS;
  for (const [model, entries] of models) {
    if (model === 'RefreshToken') continue; // a rotated one must be recognised for as long as we run
    for (const [id, { payload, expires }] of entries) {
      if (expires >= limit) continue;
      entries.delete(id);
      if (payload.grantId) grants.get(payload.grantId)?.get(model)?.delete(id);
    }
  }
}

const file = path.join(fixed.data, 'state.json');

export function save() {
  const rows = (model) => [...entriesOf(model)].map(([id, { payload, expires }]) => [id, payload, expires === Infinity ? null : expires]);
  fs.writeFileSync(`${file}.new`, JSON.stringify(Object.fromEntries(KEPT.map((model) => [model, rows(model)]))), { mode: 0o600 });
  fs.renameSync(`${file}.new`, file);
}

export async function open() {
  setInterval(sweep, SWEEP_MS).unref();
  if (!fs.existsSync(file)) return;
  for (const [model, rows] of Object.entries(JSON.parse(fs.readFileSync(file, 'utf8')))) {
    const adapter = new Adapter(model);
    for (const [id, payload, expires] of rows) {
      await adapter.upsert(id, payload);
      entriesOf(model).get(id).expires = expires ?? Infinity;
    }
  }
}
