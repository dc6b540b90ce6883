// Fastify, ioredis (automatic pipelining) and undici (one pool per service): the usual BFF in Node, one process.
//
// The composed screen is cached as JSON bytes for 300 s and deleted on events of its device, its apps and its use.
// Checked: the token by fast-jwt, which remembers what it verified; the caller's requests by @fastify/rate-limit in
// Redis (one fixed window; one round trip of its own). Not checked: sessions ended early, who may see which device,
// versions. Stale for up to 300 s after a change of the owner, and after a deletion that crosses a composition in
// progress.

import { createPublicKey } from 'node:crypto';
import rateLimit from '@fastify/rate-limit';
import { connect } from '@nats-io/transport-node';
import Fastify from 'fastify';
import { createVerifier } from 'fast-jwt';
import { Redis } from 'ioredis';
import { Pool } from 'undici';

const env = process.env;
const TTL_SECONDS = 300;
const redis = new Redis(env.PEER_REDIS_URL, { enableAutoPipelining: true });
const services = Object.fromEntries(
  ['user', 'device', 'app', 'billing'].map((name) => [
    name, new Pool(env[`PEER_${name.toUpperCase()}_URL`], { connections: 64 }),
  ]),
);
const key = createPublicKey({ key: JSON.parse(env.PEER_JWK), format: 'jwk' })
  .export({ type: 'spki', format: 'pem' });
const verify = createVerifier({ key, algorithms: ['EdDSA'], allowedIss: 'cloudphone', cache: 50_000 });
let authorization = '';

async function signIn() {
  const { body } = await services.user.request({
    method: 'POST', path: '/v1/service-tokens', headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ clientId: env.PEER_CLIENT, clientSecret: env.PEER_SECRET }),
  });
  authorization = `Bearer ${(await body.json()).accessToken}`;
}

async function ask(service, path) {
  const { statusCode, body } = await services[service].request({ method: 'GET', path, headers: { authorization } });
  if (statusCode === 404) {
    await body.dump();
    return null;
  }
  if (statusCode !== 200) throw new Error(`${service} answered ${statusCode}`);
  return (await body.json()).data;
}

async function deviceAndOwner(id) {
  const device = await ask('device', `/v1/devices/${id}`);
  if (device === null) return [null, null];
  delete device.ownerName;
  delete device.ownerEmail;
  return [device, device.ownerId && await ask('user', `/v1/users/${device.ownerId}`)];
}

async function deviceFull(id) {
  const [[device, owner], applications, usage] = await Promise.all([
    deviceAndOwner(id), ask('app', `/v1/devices/${id}/installations`), ask('billing', `/v1/devices/${id}/usage`),
  ]);
  return device && { device, owner, applications, usage };
}

async function showDevice(request, reply) {
  const cached = `peer-fastify:device:${request.params.id}`;
  let body = await redis.getBuffer(cached);
  if (body === null) {
    const found = await deviceFull(request.params.id);
    if (found === null) return reply.code(404).send();
    body = Buffer.from(JSON.stringify(found));
    await redis.set(cached, body, 'EX', TTL_SECONDS);
  }
  return reply.header('content-type', 'application/json').send(body);
}

async function authenticate(request, reply) {
  try {
    request.caller = verify((request.headers.authorization ?? '').slice(7)).sub;
  } catch {
    return reply.code(401).send();
  }
}

async function forgetOnEvents() {
  const bus = await connect({ servers: env.PEER_NATS_URL });
  for await (const message of bus.subscribe('cloudphone.events.>')) {
    for (const entity of Object.keys(message.json().entities ?? {})) {
      const [kind, id] = entity.split(':');
      if (kind === 'device' || kind === 'installations' || kind === 'usage') {
        await redis.del(`peer-fastify:device:${id}`);
      }
    }
  }
}

const app = Fastify();
const params = { type: 'object', properties: { id: { type: 'string', pattern: '^[0-9a-f-]{36}$' } } };
app.decorateRequest('caller', '');
app.get('/health', async () => ({ ready: true }));
app.get('/devices/:id', { schema: { params } }, showDevice);
app.register(async (checked) => {
  checked.addHook('onRequest', authenticate);
  await checked.register(rateLimit, {
    max: 1000, timeWindow: 1000, redis, hook: 'preHandler', nameSpace: 'peer-fastify:limit:',
    keyGenerator: (request) => request.caller,
  });
  checked.get('/checked/devices/:id', { schema: { params } }, showDevice);
});

await signIn();
forgetOnEvents();
await app.listen({ port: Number(env.PEER_PORT), host: '127.0.0.1' });
process.on('SIGTERM', () => process.exit(0));
