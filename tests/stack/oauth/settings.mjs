// What the environment says. `fixed` stays for the life of the process; `live` can be changed by
// POST /admin/config. ../README.md lists the variables.

const text = (name, otherwise) => process.env[name] || otherwise;
const number = (name, otherwise) => Number(process.env[name] || otherwise);
const flag = (name, otherwise) => (process.env[name] ? !/^(0|no|off|false)$/i.test(process.env[name]) : otherwise);
const list = (name, otherwise) => text(name, otherwise).split(/[ ,]+/).filter(Boolean);

const port = number('OAUTH_PORT', 21000);
const loopback = (path) => ['127.0.0.1', 'localhost'].map((host) => `http://${host}:*${path}`).join(' ');

export const fixed = {
  host: '127.0.0.1',
  port,
  tlsPort: number('OAUTH_TLS_PORT', 0),
  tlsKey: text('OAUTH_TLS_KEY'),
  tlsCert: text('OAUTH_TLS_CERT'),
  issuer: text('OAUTH_ISSUER', `http://127.0.0.1:${port}`),
  data: text('OAUTH_DATA', '.'),
  mailScope: text('OAUTH_MAIL_SCOPE', 'https://mail.example/'),
  domain: text('OAUTH_DOMAIN', 'example.test'),
  clientSecret: text('OAUTH_CLIENT_SECRET', 'stack-client-secret-0123456789abcdef'),
  // Redirect URIs of the web clients: a port `*` is any port, a last path segment `*` any path below.
  webRedirects: list('OAUTH_WEB_REDIRECTS', [loopback('/oauth/callback'), loopback('/oauth/callback/*'), loopback('/callback'), loopback('/')].join(' ')),
  jwtResource: 'urn:stack:mail:jwt',
  jwtAlg: text('OAUTH_JWT_ALG', 'RS256'),
  pkceRequired: flag('OAUTH_PKCE_REQUIRED', false),
  clockTolerance: number('OAUTH_CLOCK_TOLERANCE', 0), // the provider's own 15 s would hide expiry
  codeTtl: number('OAUTH_CODE_TTL', 60),
  deviceTtl: number('OAUTH_DEVICE_TTL', 600),
};

const fromEnvironment = () => ({
  access_ttl: number('OAUTH_ACCESS_TTL', 3600), // seconds
  refresh_ttl: number('OAUTH_REFRESH_TTL', 14 * 24 * 3600), // seconds
  rotate: flag('OAUTH_ROTATE', true), // a refresh hands out a new refresh token
  rotate_grace: number('OAUTH_ROTATE_GRACE', 0), // seconds for which the old one still works
  refresh_always: flag('OAUTH_REFRESH_ALWAYS', false), // a refresh token without offline_access
  format: text('OAUTH_FORMAT', 'opaque'), // access tokens: opaque | jwt
  token_chars: number('OAUTH_TOKEN_CHARS', 43), // length of an opaque access token
  jwt_pad: number('OAUTH_JWT_PAD', 0), // extra bytes in a JWT access token
  jwt_typ: text('OAUTH_JWT_TYP', 'JWT'), // RFC 9068 says at+jwt; Dovecot 2.3 takes nothing but JWT
  inactive_email: flag('OAUTH_INACTIVE_EMAIL', true), // see front.mjs
  auto: text('OAUTH_AUTO', ''), // who signs in without a page: '' nobody, an address, 'hint', 'deny'
  token_delay_ms: number('OAUTH_TOKEN_DELAY_MS', 0),
  introspection_delay_ms: number('OAUTH_INTROSPECTION_DELAY_MS', 0),
  expires_in: 'real', // what token answers claim: real | omit | string | a number
});

export const live = fromEnvironment();

export function resetLive() {
  Object.assign(live, fromEnvironment());
}

// Changes settings, or nothing at all when one of them does not exist.
export function changeLive(changes) {
  const unknown = Object.keys(changes).filter((name) => !(name in live));
  if (unknown.length) throw new Error(`unknown setting ${unknown}; known: ${Object.keys(live)}`);
  Object.assign(live, changes);
}
