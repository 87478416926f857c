// The provider's sign-in and consent pages: two plain forms.
import { exists, passwordOf, subjectOf } from './accounts.mjs';
import { readBody } from './answers.mjs';
import { escapeHtml, provider } from './provider.mjs';
import { live } from './settings.mjs';

async function grantFor({ session, params, prompt, grantId }) {
  const { missingOIDCScope, missingOIDCClaims, missingResourceScopes } = prompt.details;
  const grant = (grantId && await provider.Grant.find(grantId)) || new provider.Grant({ accountId: session.accountId, clientId: params.client_id });
  if (missingOIDCScope) grant.addOIDCScope(missingOIDCScope.join(' '));
  if (missingOIDCClaims) grant.addOIDCClaims(missingOIDCClaims);
  for (const [resource, scopes] of Object.entries(missingResourceScopes || {})) grant.addResourceScope(resource, scopes.join(' '));
  return grant.save();
}

function form({ prompt, params, uid }, message) {
  const fields = prompt.name === 'login'
    ? `<input name="login" value="${escapeHtml(params.login_hint || '')}"><input name="password" type="password"><button name="action" value="login">Sign in</button>`
    : `<p>${escapeHtml(params.client_id)} asks for ${escapeHtml(params.scope)}</p><button name="action" value="consent">Allow</button>`;
  return `<!doctype html><title>${prompt.name}</title><p>${escapeHtml(message)}</p>
<form method="post" action="/interaction/${uid}">${fields}<button name="action" value="deny">Deny</button></form>`;
}

export async function interaction(req, res) {
  const details = await provider.interactionDetails(req, res);
  const { prompt, params } = details;
  const finish = (result, options) => provider.interactionFinished(req, res, result, options);
  const deny = () => finish({ error: 'access_denied', error_description: 'End-User aborted interaction' }, { mergeWithLastSubmission: false });
  const signIn = (email) => finish({ login: { accountId: subjectOf(email) } }, { mergeWithLastSubmission: false });
  const consent = async () => finish({ consent: { grantId: await grantFor(details) } });
  const show = (status, message = '') => {
    res.writeHead(status, { 'content-type': 'text/html; charset=utf-8', 'cache-control': 'no-store' });
    res.end(form(details, message));
  };

  if (req.method === 'GET') {
    const email = live.auto === 'hint' ? params.login_hint : live.auto;
    if (live.auto === 'deny') return deny();
    if (live.auto && prompt.name === 'login' && exists(email)) return signIn(email);
    if (live.auto && prompt.name === 'consent') return consent();
    return show(200);
  }
  const filled = new URLSearchParams((await readBody(req)).toString());
  const action = filled.get('action') || prompt.name;
  if (action === 'deny') return deny();
  if (action !== prompt.name) return show(400, prompt.name === 'login' ? 'sign in first' : 'already signed in');
  if (action === 'consent') return consent();
  const email = filled.get('login') || '';
  if (!exists(email) || filled.get('password') !== passwordOf(email)) return show(401, 'wrong login or password');
  return signIn(email);
}
