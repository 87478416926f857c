// The authorization server itself: oidc-provider, set up so that `live` settings count at once.
import * as crypto from 'node:crypto';
import Provider, { errors } from 'oidc-provider';
import { emailOf, exists } from './accounts.mjs';
import { clients, redirectAllowed } from './clients.mjs';
import { keys } from './keys.mjs';
import { fixed, live } from './settings.mjs';
import { Adapter } from './storage.mjs';

const SCOPES = ['openid', 'offline_access', 'email', fixed.mailScope, 'mail.read', 'mail.send'];
const RESOURCE_SCOPES = SCOPES.filter((scope) => !['openid', 'offline_access'].includes(scope));
const DAY = 24 * 3600;

export const escapeHtml = (value) => String(value).replace(/[&<>"']/g, (c) => `&#${c.charCodeAt(0)};`);

// In oidc-provider a JWT access token is one for a resource server that wants JWTs.
export const jwtResource = () => ({
  scope: RESOURCE_SCOPES.join(' '),
  audience: fixed.jwtResource,
  accessTokenTTL: live.access_ttl,
  accessTokenFormat: 'jwt',
  jwt: { sign: { alg: fixed.jwtAlg } },
});

function padding(token) {
  if (live.jwt_pad <= 0 || token.resourceServer?.accessTokenFormat !== 'jwt') return {};
  return { pad: crypto.randomBytes(live.jwt_pad).toString('base64url').slice(0, live.jwt_pad) };
}

export const provider = new Provider(fixed.issuer, {
  adapter: Adapter,
  clients,
  jwks: { keys: keys.jwks },
  cookies: { keys: [keys.cookie] },
  clockTolerance: fixed.clockTolerance,
  scopes: SCOPES,
  claims: { openid: ['sub'], email: ['email', 'email_verified'] },
  conformIdTokenClaims: false, // the e-mail address is in the ID token, not only at /me
  extraClientMetadata: { properties: ['mailbox', 'web_redirects'] },
  features: {
    devInteractions: { enabled: false },
    deviceFlow: { enabled: true },
    clientCredentials: { enabled: true },
    introspection: { enabled: true, allowedPolicy: (_ctx, client, token) => client.clientId === 'dovecot' || client.clientId === token.clientId },
    revocation: { enabled: true, allowedPolicy: (_ctx, client, token) => client.clientId === token.clientId },
    resourceIndicators: {
      enabled: true,
      defaultResource: (_ctx, _client, oneOf) => oneOf || (live.format === 'jwt' ? fixed.jwtResource : undefined),
      useGrantedResource: () => true,
      getResourceServerInfo: (_ctx, resource) => {
        if (resource !== fixed.jwtResource) throw new errors.InvalidTarget();
        return jwtResource();
      },
    },
  },
  formats: {
    // The provider looks at `parts` itself, not at what is returned.
    customizers: { jwt: (_ctx, _token, parts) => { parts.header = { ...parts.header, typ: live.jwt_typ }; } },
    bitsOfOpaqueRandomness: (_ctx, token) => (['AccessToken', 'ClientCredentials'].includes(token.kind) ? live.token_chars * 6 : 256),
  },
  pkce: { required: (_ctx, client) => fixed.pkceRequired || client.clientAuthMethod === 'none' },
  expiresWithSession: () => false,
  issueRefreshToken: (_ctx, client, code) => client.grantTypeAllowed('refresh_token') && (live.refresh_always || code.scopes.has('offline_access')),
  rotateRefreshToken: () => live.rotate,
  ttl: {
    AccessToken: () => live.access_ttl,
    ClientCredentials: () => live.access_ttl,
    RefreshToken: () => live.refresh_ttl,
    Grant: () => Math.max(live.refresh_ttl, 14 * DAY),
    AuthorizationCode: () => fixed.codeTtl,
    DeviceCode: () => fixed.deviceTtl,
    Session: () => DAY,
    Interaction: () => 3600,
    IdToken: () => 3600,
  },
  interactions: { url: (_ctx, interaction) => `/interaction/${interaction.uid}` },
  findAccount: (_ctx, subject) => {
    const email = emailOf(subject);
    if (!exists(email)) return undefined;
    return { accountId: subject, claims: async () => ({ sub: subject, email, email_verified: true }) };
  },
  // What introspection (and a JWT) says besides the standard: Dovecot finds the mailbox in `email`.
  extraTokenClaims: (_ctx, token) => {
    const email = token.accountId ? emailOf(token.accountId) : clients.find((client) => client.client_id === token.clientId)?.mailbox;
    return { email, username: email, ...padding(token) };
  },
  renderError: (ctx, out) => {
    ctx.type = 'html';
    ctx.body = `<!doctype html><title>error</title>${Object.entries(out).map(([name, value]) => `<p>${escapeHtml(name)}: ${escapeHtml(value)}</p>`).join('')}`;
  },
});

const providersOwnRule = provider.Client.prototype.redirectUriAllowed;
provider.Client.prototype.redirectUriAllowed = function redirectUriAllowed(uri) {
  return redirectAllowed(this, uri, providersOwnRule);
};
