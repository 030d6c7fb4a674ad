// An OpenID provider for tests: node server.js PORT. POST /test/rotate has it
// sign with a new key; GET /test/fetches says how often its keys were fetched.
import http from 'node:http';
import { generateKeyPairSync } from 'node:crypto';
import Provider from 'oidc-provider';

const port = Number(process.argv[2]);
const issuer = `http://127.0.0.1:${port}`;
const keys = []; // the newest first, which signs
let fetches = 0;
let handler;

function rotate() {
  const { privateKey } = generateKeyPairSync('rsa', { modulusLength: 2048 });
  keys.unshift({ ...privateKey.export({ format: 'jwk' }), kid: `k${keys.length + 1}`, use: 'sig', alg: 'RS256' });
  const provider = new Provider(issuer, {
    jwks: { keys: [...keys] },
    cookies: { keys: ['test'] },
    clients: [
      {
        client_id: 'simp', token_endpoint_auth_method: 'none', response_types: [], redirect_uris: [],
        grant_types: ['urn:ietf:params:oauth:grant-type:device_code', 'refresh_token'],
      },
      // Each of these gets tokens of a user of its name; simpd introspects.
      ...['simpd', 'dora', 'erik', 'finn'].map((id) => ({
        client_id: id, client_secret: 'secret', response_types: [], redirect_uris: [], grant_types: ['client_credentials'],
      })),
    ],
    features: {
      clientCredentials: { enabled: true },
      deviceFlow: { enabled: true },
      introspection: { enabled: true },
      revocation: { enabled: true },
      resourceIndicators: {
        enabled: true,
        defaultResource: () => 'urn:simp:jwt',
        useGrantedResource: () => true,
        getResourceServerInfo: (_ctx, resource) => ({
          scope: 'chat', audience: 'simp', accessTokenTTL: 3600,
          accessTokenFormat: resource === 'urn:simp:opaque' ? 'opaque' : 'jwt', jwt: { sign: { alg: 'RS256' } },
        }),
      },
    },
    scopes: ['openid', 'offline_access', 'email', 'chat'],
    claims: { email: ['email', 'email_verified'] },
    findAccount: (_ctx, id) => ({ accountId: id, claims: () => ({ sub: id, email: `${id}@example.com`, email_verified: true }) }),
    extraTokenClaims: (_ctx, token) => ({ email: `${token.accountId ?? token.clientId}@example.com`, email_verified: true }),
  });
  handler = provider.callback();
}

rotate();
http.createServer((request, response) => {
  switch (request.url) {
    case '/test/rotate':
      rotate();
      response.end();
      return;
    case '/test/fetches':
      response.end(String(fetches));
      return;
    case '/jwks':
      fetches += 1;
  }
  handler(request, response);
}).listen(port, '127.0.0.1');
