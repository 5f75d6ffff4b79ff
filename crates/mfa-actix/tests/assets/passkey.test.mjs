// The pure parts of passkey.js, in Node.js 24 with a browser of the test: node --test passkey.test.mjs

import assert from 'node:assert/strict';
import { afterEach, beforeEach, test } from 'node:test';

const SCRIPT = new URL('../../assets/passkey.js', import.meta.url);
const bytes = (...values) => new Uint8Array(values).buffer;
const named = (name) => new DOMException('as the browser puts it', name);
const settled = () => new Promise((resume) => setImmediate(resume));

const CREATION = {
  challenge: '-_8',
  rp: { id: 'example.com', name: 'Example' },
  user: { id: 'AQI', name: 'alice', displayName: 'Alice' },
  pubKeyCredParams: [{ type: 'public-key', alg: -7 }],
  excludeCredentials: [{ type: 'public-key', id: '_w', transports: ['usb'] }],
  timeout: 60_000,
};
const REQUEST = { challenge: 'AAE', rpId: 'example.com', allowCredentials: [{ type: 'public-key', id: '_-8' }] };

/** What password managers return: `toJSON` throws, and there are results that the server does not know. */
function credential(response) {
  return {
    id: 'in another form==',
    rawId: bytes(0xff, 0xef),
    type: 'public-key',
    authenticatorAttachment: 'platform',
    getClientExtensionResults: () => ({ credProps: { rk: true, other: 1 }, prf: { results: { first: bytes(1) } } }),
    toJSON() { throw new TypeError('Illegal invocation'); },
    response: { clientDataJSON: bytes(0x7b, 0x7d), ...response },
  };
}
const created = (more) => credential({ attestationObject: bytes(0xa0), getTransports: () => ['internal'], ...more });
const asserted = (more) =>
  credential({ authenticatorData: bytes(0), signature: bytes(0x30, 0xfb, 0xf0), userHandle: bytes(0x75), ...more });

let passkey;
/** The calls of the browser, in order. Each is pending until the test settles it, or the page aborts it. */
let calls;
let signalled;
/** Ends what a page still does after its test. */
let leaving;
let modules = 0;

/** As browsers do: while a call waits, others fail. `deaf` is a password manager that ignores the signal. */
function ask(method, options, deaf = false) {
  if (calls.some((call) => call.waits)) return Promise.reject(named('OperationError'));
  const call = { method, options, waits: true };
  calls.push(call);
  return new Promise((resolve, reject) => {
    call.succeed = (value) => { call.waits = false; resolve(value); };
    call.fail = (error) => { call.waits = false; reject(error); };
    if (!deaf) options.signal.addEventListener('abort', () => call.fail(named('AbortError')));
  });
}

function define(values) {
  for (const [name, value] of Object.entries(values)) {
    Object.defineProperty(globalThis, name, { value, configurable: true, writable: true });
  }
}

beforeEach(async () => {
  calls = [];
  signalled = [];
  leaving = new AbortController();
  const signalling = (method) => async (details) => { signalled.push([method, details]); };
  define({
    document: Object.assign(new EventTarget(), { hidden: false }),
    isSecureContext: true,
    location: { hostname: 'example.com' },
    navigator: {
      credentials: { create: (options) => ask('create', options), get: (options) => ask('get', options) },
    },
    PublicKeyCredential: {
      isConditionalMediationAvailable: async () => true,
      isUserVerifyingPlatformAuthenticatorAvailable: async () => true,
      signalAllAcceptedCredentials: signalling('all'),
      signalCurrentUserDetails: signalling('details'),
      signalUnknownCredential: signalling('unknown'),
    },
  });
  // Each test has a page of its own.
  passkey = await import(`${SCRIPT}?page=${modules += 1}`);
});

let unhandled = [];
process.on('unhandledRejection', (error) => unhandled.push(error));
afterEach(async () => {
  leaving.abort();
  await settled();
  assert.deepEqual(unhandled.splice(0), [], 'a rejection was not handled');
});

async function failure(promise) {
  const error = await promise.then((value) => assert.fail(JSON.stringify(value)), (error) => error);
  assert.ok(error instanceof passkey.PasskeyError, error);
  assert.equal(error.message, passkey.MESSAGES[error.id]);
  assert.ok(error.message);
  return error;
}

test('options of a registration are read from base64url', async () => {
  const result = passkey.register(CREATION);
  const [{ method, options }] = calls;
  assert.equal(method, 'create');
  assert.equal(options.mediation, undefined);
  assert.deepEqual(options.publicKey, {
    ...CREATION,
    challenge: new Uint8Array([0xfb, 0xff]),
    user: { ...CREATION.user, id: new Uint8Array([1, 2]) },
    excludeCredentials: [{ ...CREATION.excludeCredentials[0], id: new Uint8Array([0xff]) }],
  });
  calls[0].succeed(created());
  await result;
  assert.equal(CREATION.challenge, '-_8', 'the options of the host have changed');
});

test('a new credential is written field by field, although its toJSON throws', async () => {
  const result = passkey.register(CREATION);
  calls[0].succeed(created());
  assert.deepEqual(await result, {
    id: '_-8', rawId: '_-8', type: 'public-key', authenticatorAttachment: 'platform',
    clientExtensionResults: { credProps: { rk: true } },
    response: { clientDataJSON: 'e30', attestationObject: 'oA', transports: ['internal'] },
  });
});

test('a new credential has no members that the browser does not tell', async () => {
  const result = passkey.register(CREATION);
  const silent = { authenticatorAttachment: null, getClientExtensionResults: () => ({ credProps: {} }) };
  calls[0].succeed({ ...created({ getTransports: undefined }), ...silent });
  assert.deepEqual(await result, {
    id: '_-8', rawId: '_-8', type: 'public-key', clientExtensionResults: {},
    response: { clientDataJSON: 'e30', attestationObject: 'oA' },
  });
});

test('an assertion is written field by field, with a user handle only if there is one', async () => {
  for (const [userHandle, written] of [[bytes(0x75), { userHandle: 'dQ' }], [null, {}], [undefined, {}], [bytes(), {}]]) {
    const result = passkey.authenticate(REQUEST);
    const call = calls.at(-1);
    assert.equal(call.method, 'get');
    assert.deepEqual(call.options.publicKey.allowCredentials[0].id, new Uint8Array([0xff, 0xef]));
    call.succeed(asserted({ userHandle }));
    assert.deepEqual(await result, {
      id: '_-8', rawId: '_-8', type: 'public-key', authenticatorAttachment: 'platform', clientExtensionResults: {},
      response: { clientDataJSON: 'e30', authenticatorData: 'AA', signature: 'MPvw', ...written },
    });
  }
});

test('bytes of every value and length survive base64url', async () => {
  for (const length of [1, 2, 3, 255, 256, 70_000]) {
    const original = Uint8Array.from({ length }, (_, at) => (at * 7) % 256);
    const result = passkey.authenticate({ challenge: Buffer.from(original).toString('base64url') });
    const { options, succeed } = calls.at(-1);
    assert.deepEqual(options.publicKey.challenge, original);
    succeed(asserted({ signature: original.buffer }));
    assert.equal((await result).response.signature, Buffer.from(original).toString('base64url'));
  }
});

test('errors of the browser become message ids', async () => {
  for (const [method, name, id] of [
    ['register', 'NotAllowedError', 'cancelled'],
    ['register', 'AbortError', 'cancelled'],
    ['register', 'InvalidStateError', 'already-registered'],
    ['register', 'SecurityError', 'wrong-address'],
    ['register', 'NotSupportedError', 'not-supported'],
    ['register', 'ConstraintError', 'not-supported'],
    ['register', 'UnknownError', 'failed'],
    ['authenticate', 'NotAllowedError', 'cancelled'],
    ['authenticate', 'InvalidStateError', 'failed'],
  ]) {
    const result = passkey[method](method === 'register' ? CREATION : REQUEST);
    const cause = named(name);
    calls.at(-1).fail(cause);
    const error = await failure(result);
    assert.deepEqual([error.id, error.cause], [id, cause], `${method} ${name}`);
  }
});

test('what cannot be used is a failure', async () => {
  const nothing = passkey.authenticate(REQUEST);
  calls[0].succeed(null);
  assert.equal((await failure(nothing)).id, 'failed');
  for (const options of [undefined, {}, { ...REQUEST, challenge: '?' }]) {
    assert.equal((await failure(passkey.authenticate(options))).id, 'failed');
  }
  assert.equal(calls.length, 1);
  const next = passkey.authenticate(REQUEST);
  calls[1].succeed(asserted());
  await next;
});

test('where passkeys cannot work the reason is given, and no check throws', async () => {
  const { PublicKeyCredential: known } = globalThis;
  const throwing = { isConditionalMediationAvailable() { throw new Error('x'); } };
  for (const [reason, values] of [
    [null, {}],
    ['not-secure', { PublicKeyCredential: undefined, isSecureContext: false }],
    ['not-supported', { PublicKeyCredential: undefined }],
    ['not-supported', { navigator: {} }],
    ['use-localhost', { location: { hostname: '127.0.0.1' } }],
    ['use-localhost', { location: { hostname: '[::1]' } }],
    [null, { location: { hostname: 'localhost' } }],
    [null, { location: { hostname: '127.0.0.1.example.com' } }],
  ]) {
    const defaults = { location: { hostname: 'example.com' }, isSecureContext: true, PublicKeyCredential: known };
    const credentials = { get: async () => asserted() };
    define({ ...defaults, navigator: { credentials }, ...values });
    const works = reason === null;
    assert.equal(passkey.reason(), reason, JSON.stringify(values));
    assert.equal(passkey.isAvailable(), works);
    assert.equal(await passkey.canAutofill(), works);
    assert.equal(await passkey.canUsePlatform(), works);
    if (works) await passkey.authenticate(REQUEST);
    else assert.equal((await failure(passkey.authenticate(REQUEST))).id, reason);
  }
  define({ PublicKeyCredential: throwing, location: { hostname: 'example.com' } });
  assert.equal(await passkey.canAutofill(), false);
  assert.equal(await passkey.canUsePlatform(), false);
});

test('a host replaces the texts', async () => {
  Object.assign(passkey.MESSAGES, { cancelled: 'Abgebrochen.' });
  const result = passkey.authenticate(REQUEST);
  calls[0].fail(named('NotAllowedError'));
  assert.equal((await failure(result)).message, 'Abgebrochen.');
});

test('a caller stops a ceremony, also where the browser does not', async () => {
  define({ navigator: { credentials: { create: (options) => ask('create', options, true) } } });
  const stopping = new AbortController();
  const result = passkey.register(CREATION, { signal: stopping.signal });
  stopping.abort();
  assert.equal((await failure(result)).id, 'aborted');
  assert.equal(calls[0].options.signal.aborted, true);
  assert.equal((await failure(passkey.register(CREATION, { signal: stopping.signal }))).id, 'aborted');
  assert.equal(calls.length, 1);
});

test('a ceremony that stays pending ends after a time', async ({ mock }) => {
  mock.timers.enable({ apis: ['setTimeout'] });
  define({ navigator: { credentials: { create: (options) => ask('create', options, true) } } });
  for (const [json, options, limit] of [
    [CREATION, { timeout: 1000 }, 1000],
    [CREATION, undefined, 60_000],
    [{ ...CREATION, timeout: undefined }, {}, 300_000],
    // What a timer does not accept.
    [{ ...CREATION, timeout: 2 ** 32 - 1 }, {}, 2 ** 31 - 1],
  ]) {
    let ended = false;
    const result = failure(passkey.register(json, options)).finally(() => { ended = true; });
    mock.timers.tick(limit - 1);
    await settled();
    assert.equal(ended, false);
    mock.timers.tick(1);
    assert.equal((await result).id, 'timeout');
    calls.at(-1).waits = false;
  }
});

test('a ceremony that has ended is not stopped later', async ({ mock }) => {
  mock.timers.enable({ apis: ['setTimeout'] });
  const stopping = new AbortController();
  const result = passkey.register(CREATION, { signal: stopping.signal });
  calls[0].succeed(created());
  await result;
  mock.timers.tick(60_000);
  stopping.abort();
  assert.equal(calls[0].options.signal.aborted, false);
});

/** Autofill whose rounds have the challenges 0000, 0001, … */
function fill(onCredential = () => {}, more = {}) {
  const page = { rounds: 0, errors: [], ended: false };
  const fetchOptions = async () => {
    assert.ok(page.rounds < 10, 'the server is asked again and again');
    return { challenge: String(page.rounds++).padStart(4, '0'), timeout: 300_000 };
  };
  const onError = (error) => page.errors.push(error);
  page.result = passkey.autofill(more.fetchOptions ?? fetchOptions, onCredential, { onError, signal: leaving.signal, ...more });
  page.result.then(() => { page.ended = true; });
  return page;
}
const waiting = () => calls.filter((call) => call.waits).map((call) => call.options.mediation ?? call.method);

test('autofill passes on the credential and ends', async () => {
  const seen = [];
  const page = fill((credential) => seen.push(credential.id));
  await settled();
  assert.deepEqual(waiting(), ['conditional']);
  calls[0].succeed(asserted());
  await page.result;
  assert.deepEqual([seen, page.rounds, page.errors], [['_-8'], 1, []]);
});

test('autofill does nothing where the browser cannot', async () => {
  PublicKeyCredential.isConditionalMediationAvailable = async () => false;
  const page = fill();
  await page.result;
  assert.deepEqual([page.rounds, calls.length], [0, 0]);
});

test('a button stops autofill in the same task, and autofill goes on with fresh options if that fails', async () => {
  for (const [method, json] of [['authenticate', REQUEST], ['register', CREATION]]) {
    const page = fill();
    await settled();
    const before = calls.length;
    const result = passkey[method](json);
    assert.equal(calls.length, before + 1, 'the browser was not called at once');
    assert.deepEqual(waiting(), [calls.at(-1).method]);
    await settled();
    assert.equal(page.rounds, 1, 'autofill did not wait for the end');
    calls.at(-1).fail(named('NotAllowedError'));
    assert.equal((await failure(result)).id, 'cancelled');
    await settled();
    assert.deepEqual([waiting(), page.rounds, page.errors], [['conditional'], 2, []]);
    assert.notDeepEqual(calls.at(-1).options.publicKey.challenge, calls[before - 1].options.publicKey.challenge);
  }
});

test('autofill ends after a credential from a button', async () => {
  const page = fill();
  await settled();
  const result = passkey.authenticate(REQUEST);
  calls[1].succeed(asserted());
  await result;
  await page.result;
  assert.deepEqual([waiting(), page.rounds], [[], 1]);
  fill();
  await settled();
  assert.deepEqual(waiting(), ['conditional'], 'it cannot be begun again');
});

test('autofill that still fetches options does not stop a button', async () => {
  const fetches = [];
  fill(undefined, { fetchOptions: () => new Promise((resolve) => fetches.push(resolve)) });
  await settled();
  const result = passkey.authenticate(REQUEST);
  fetches[0]({ challenge: 'AAAA' });
  await settled();
  assert.deepEqual(waiting(), ['get']);
  calls[0].fail(named('NotAllowedError'));
  await failure(result);
  await settled();
  assert.equal(fetches.length, 2);
});

test('a second button takes the place of the first', async () => {
  const first = failure(passkey.authenticate(REQUEST));
  const second = passkey.register(CREATION);
  assert.equal((await first).id, 'aborted');
  calls[1].succeed(created());
  await second;
});

test('a second autofill takes the place of the first', async () => {
  const first = fill();
  await settled();
  const second = fill();
  await settled();
  assert.deepEqual([first.ended, second.ended, waiting()], [true, false, ['conditional']]);
  assert.deepEqual([first.rounds, second.rounds], [1, 1]);
});

test('options are replaced before the challenge expires', async ({ mock }) => {
  mock.timers.enable({ apis: ['setTimeout'] });
  const page = fill();
  await settled();
  mock.timers.tick(239_999);
  await settled();
  assert.equal(page.rounds, 1);
  mock.timers.tick(1);
  await settled();
  assert.deepEqual([page.rounds, waiting(), page.errors], [2, ['conditional'], []]);
});

test('options that are valid for a short time are replaced before that, too', async ({ mock }) => {
  mock.timers.enable({ apis: ['setTimeout'] });
  // Milliseconds: the timeout of the options, and when they are replaced.
  for (const [timeout, replaced] of [[30_000, 24_000], [10_000, 8000], [0, 1000]]) {
    let rounds = 0;
    const fetchOptions = async () => {
      rounds += 1;
      return { challenge: 'AAAA', timeout };
    };
    const page = fill(undefined, { fetchOptions });
    await settled();
    mock.timers.tick(replaced - 1);
    await settled();
    assert.equal(rounds, 1, `${timeout}`);
    mock.timers.tick(1);
    await settled();
    assert.deepEqual([rounds, waiting(), page.errors], [2, ['conditional'], []], `${timeout}`);
  }
});

/** Hides or shows the tab. */
async function turn(hidden) {
  document.hidden = hidden;
  document.dispatchEvent(new Event('visibilitychange'));
  await settled();
}

test('a hidden tab begins no challenge until it is shown', async ({ mock }) => {
  mock.timers.enable({ apis: ['setTimeout'] });
  document.hidden = true;
  const page = fill();
  await settled();
  await turn(true);
  assert.deepEqual([page.rounds, calls.length], [0, 0]);
  await turn(false);
  assert.deepEqual([page.rounds, waiting()], [1, ['conditional']]);

  // The open round goes on when the tab is hidden; the next one waits.
  await turn(true);
  assert.deepEqual(waiting(), ['conditional']);
  mock.timers.tick(240_000);
  await settled();
  mock.timers.tick(3_600_000);
  await settled();
  assert.deepEqual([page.rounds, waiting()], [1, []]);
  await turn(false);
  assert.deepEqual([page.rounds, waiting(), page.errors], [2, ['conditional'], []]);
});

test('a button in a tab that was hidden comes before autofill', async () => {
  document.hidden = true;
  const page = fill();
  await settled();
  const result = passkey.authenticate(REQUEST);
  await turn(false);
  assert.deepEqual([page.rounds, waiting()], [0, ['get']]);
  calls[0].fail(named('NotAllowedError'));
  await failure(result);
  await settled();
  assert.deepEqual([page.rounds, waiting()], [1, ['conditional']]);
});

test('a host stops autofill in a hidden tab', async () => {
  document.hidden = true;
  const stopping = new AbortController();
  const page = fill(undefined, { signal: stopping.signal });
  await settled();
  stopping.abort();
  await page.result;
  await turn(false);
  assert.deepEqual([page.rounds, calls.length, page.errors], [0, 0, []]);
});

test('a browser that refuses at once is asked again later, and shows nothing', async ({ mock }) => {
  mock.timers.enable({ apis: ['setTimeout'] });
  const page = fill();
  await settled();
  for (const round of [1, 2, 3]) {
    assert.equal(page.rounds, round);
    calls.at(-1).fail(named('NotAllowedError'));
    await settled();
    mock.timers.tick(29_999);
    await settled();
    assert.equal(page.rounds, round);
    mock.timers.tick(1);
    await settled();
  }
  assert.deepEqual(page.errors, []);
});

test('errors of the page itself are told, and autofill goes on', async ({ mock }) => {
  mock.timers.enable({ apis: ['setTimeout'] });
  const refused = new Error('refused');
  const page = fill(() => { throw refused; });
  await settled();
  calls[0].succeed(asserted());
  await settled();
  assert.deepEqual([page.errors, page.rounds], [[refused], 1]);
  mock.timers.tick(30_000);
  await settled();
  assert.deepEqual([page.rounds, waiting()], [2, ['conditional']]);

  // An error with the name of an own one does not ask the server again and again.
  const offline = Object.assign(new Error('offline'), { id: 'timeout' });
  let fetches = 0;
  const fetchOptions = async () => {
    fetches += 1;
    if (fetches > 10) await new Promise(() => {});
    throw offline;
  };
  const other = fill(undefined, { fetchOptions });
  await settled();
  assert.equal(fetches, 1);
  assert.deepEqual(other.errors, [offline]);
});

test('a host stops autofill', async () => {
  const stopping = new AbortController();
  const page = fill(undefined, { signal: stopping.signal });
  await settled();
  stopping.abort();
  await page.result;
  assert.deepEqual([waiting(), page.rounds, page.errors], [[], 1, []]);
});

test('signals have unpadded ids', async () => {
  await passkey.signalAccepted({
    rp_id: 'example.com', user_id: 'AQ==', accepted_credential_ids: ['_-8=', '/+8='], name: 'alice', display_name: '',
  });
  await passkey.signalUnknown({ rp_id: 'example.com', credential_id: '_-8=' });
  assert.deepEqual(signalled, [
    ['all', { rpId: 'example.com', userId: 'AQ', allAcceptedCredentialIds: ['_-8', '_-8'] }],
    ['details', { rpId: 'example.com', userId: 'AQ', name: 'alice', displayName: 'alice' }],
    ['unknown', { rpId: 'example.com', credentialId: '_-8' }],
  ]);
});

test('an empty list of passkeys is signalled, and an absent one is not', async () => {
  await passkey.signalAccepted({ rp_id: 'example.com', user_id: 'AQ', accepted_credential_ids: [] });
  await passkey.signalAccepted({ rp_id: 'example.com', user_id: 'AQ' });
  for (const nothing of [undefined, null]) await passkey.signalAccepted(nothing);
  assert.deepEqual(signalled, [['all', { rpId: 'example.com', userId: 'AQ', allAcceptedCredentialIds: [] }]]);
});

test('signals never fail', async () => {
  const change = { rp_id: 'example.com', user_id: '?', accepted_credential_ids: ['?'], name: 'alice' };
  for (const known of [
    undefined,
    {},
    { signalAllAcceptedCredentials() { throw new TypeError('x'); } },
    { signalUnknownCredential: async () => { throw named('SecurityError'); } },
    PublicKeyCredential,
  ]) {
    define({ PublicKeyCredential: known });
    await passkey.signalAccepted(change);
    await passkey.signalAccepted({ ...change, user_id: 'AQ', accepted_credential_ids: ['AQ'] });
    await passkey.signalUnknown({ rp_id: 'example.com', credential_id: 'AQ' });
    for (const nothing of [undefined, null, '', 7]) {
      await passkey.signalAccepted(nothing);
      await passkey.signalUnknown(nothing);
    }
  }
});
