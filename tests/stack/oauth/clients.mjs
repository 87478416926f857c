// The registered clients, and which redirect URIs each may use.
import { fixed } from './settings.mjs';
import { keys, publicJwk } from './keys.mjs';

const secret = fixed.clientSecret;
const CODE = ['authorization_code', 'refresh_token'];
const DEVICE = 'urn:ietf:params:oauth:grant-type:device_code';
const SHARED_MAILBOX = 'shared@example.test'; // where tokens without a user log in

const web = (client_id, auth, more) => ({
  client_id, client_secret: secret, grant_types: CODE, redirect_uris: ['http://127.0.0.1/callback'], web_redirects: true, token_endpoint_auth_method: auth, ...more,
});
const native = (client_id, auth, more) => ({
  client_id, application_type: 'native', grant_types: CODE, token_endpoint_auth_method: auth, ...more,
  // RFC 8252: any port on loopback
  redirect_uris: ['127.0.0.1', 'localhost', '[::1]'].flatMap((host) => [`http://${host}/`, `http://${host}/callback`]),
});
const service = (client_id, grant_types, auth, more) => ({
  client_id, client_secret: secret, grant_types, redirect_uris: [], response_types: [], token_endpoint_auth_method: auth, ...more,
});

export const clients = [
  web('web-basic', 'client_secret_basic'),
  web('web-post', 'client_secret_post'),
  // RFC 6749 2.3.1: id and secret must be form-urlencoded before they go into Basic
  web('web:odd id', 'client_secret_basic', { client_secret: 'p%ss w+rd:&=/0123456789-odd-secret' }),
  web('web-jwt', 'private_key_jwt', {
    client_secret: undefined,
    jwks: { keys: [publicJwk(keys.client)] },
    token_endpoint_auth_signing_alg: 'ES256',
    grant_types: [...CODE, 'client_credentials'],
    mailbox: SHARED_MAILBOX,
  }),
  native('native-public', 'none'),
  { ...native('device-public', 'none'), grant_types: [DEVICE, 'refresh_token'], redirect_uris: [], response_types: [] },
  service('svc-cc', ['client_credentials'], 'client_secret_basic', { mailbox: SHARED_MAILBOX }),
  service('dovecot', [], 'client_secret_basic'), // the resource server, which may introspect every token
];

// `http://127.0.0.1:*/oauth/callback/*` -> what it matches; everything but the two stars is literal.
function matcher(pattern) {
  const literal = pattern.replace(/[.?+^$()[\]{}|\\]/g, '\\$&');
  return new RegExp(`^${literal.replace(/:\*(?=\/)/, '(?::\\d{1,5})?').replace(/\/\*$/, '/[\\w~./-]+')}$`);
}
const webRedirects = fixed.webRedirects.map(matcher);

// Replaces the provider's Client#redirectUriAllowed, which knows no patterns for web clients.
export function redirectAllowed(client, uri, providersOwnRule) {
  if (client.web_redirects) return webRedirects.some((pattern) => pattern.test(uri));
  return providersOwnRule.call(client, uri);
}
