// Signing keys, made once per data directory: the provider's own, and one for the private_key_jwt client.
import * as crypto from 'node:crypto';
import * as fs from 'node:fs';
import * as path from 'node:path';
import { fixed } from './settings.mjs';

const generate = (type, options, name) => ({
  ...crypto.generateKeyPairSync(type, options).privateKey.export({ format: 'jwk' }), use: 'sig', ...name,
});

function make() {
  const p256 = { namedCurve: 'P-256' };
  return {
    cookie: crypto.randomBytes(24).toString('hex'),
    jwks: [generate('rsa', { modulusLength: 2048 }, { kid: 'rs1', alg: 'RS256' }), generate('ec', p256, { kid: 'es1', alg: 'ES256' })],
    client: generate('ec', p256, { kid: 'client1', alg: 'ES256' }),
  };
}

function load() {
  fs.mkdirSync(fixed.data, { recursive: true });
  const file = path.join(fixed.data, 'keys.json');
  if (!fs.existsSync(file)) fs.writeFileSync(file, JSON.stringify(make()), { mode: 0o600 });
  return JSON.parse(fs.readFileSync(file, 'utf8'));
}

export const keys = load();

export const publicJwk = ({ kty, crv, x, y, kid, alg, use }) => ({ kty, crv, x, y, kid, alg, use });

// Dovecot checks JWTs with the public keys at <dir>/<azp or "default">/<alg>/<kid>.
export function publish() {
  for (const jwk of keys.jwks) {
    const dir = path.join(fixed.data, 'jwt-keys', 'default', jwk.alg);
    fs.mkdirSync(dir, { recursive: true });
    fs.writeFileSync(path.join(dir, jwk.kid), crypto.createPublicKey({ key: jwk, format: 'jwk' }).export({ type: 'spki', format: 'pem' }));
  }
  const pem = crypto.createPrivateKey({ key: keys.client, format: 'jwk' }).export({ type: 'pkcs8', format: 'pem' });
  fs.writeFileSync(path.join(fixed.data, 'client-jwt.key.pem'), pem, { mode: 0o600 });
}
