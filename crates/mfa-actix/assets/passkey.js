// Passkeys in a web page: asks the browser, and returns what the server needs as plain JSON.
// An ES module without dependencies. It needs only `script-src 'self'`.

/**
 * The English text of each message id. Replace texts with `Object.assign(MESSAGES, { cancelled: '…' })`.
 */
export const MESSAGES = {
  'aborted': 'The page stopped the passkey request.',
  'already-registered': 'This device or security key already has a passkey for your account.',
  'cancelled': 'The passkey request was cancelled, timed out or is not possible here. Try again or use another method.',
  'failed': 'The passkey request failed. Try again or use another method.',
  'not-secure': 'Passkeys need a secure connection. Open this page with https.',
  'not-supported': 'This browser or device does not support this kind of passkey. Use another method.',
  'timeout': 'The passkey request took too long. Try again.',
  'use-localhost': 'Passkeys do not work with an IP address. Open this page at localhost.',
  'wrong-address': 'Passkeys of this site do not work at this address. Open its usual address.',
};

/** Why there is no credential. `id` is a key of {@link MESSAGES}, `message` its text, `cause` the browser's error. */
export class PasskeyError extends Error {
  constructor(id, cause) {
    super(MESSAGES[id], { cause });
    this.name = 'PasskeyError';
    this.id = id;
  }
}

const FIVE_MINUTES = 300_000; // Milliseconds.
/** How long autofill waits after a failure, since some browsers fail at once and each round calls the server. */
const PAUSE = 30_000;
/** The least time of a round of autofill: with a timeout of 0, the server would be called without end. */
const SECOND = 1000;

/** Aborts the ceremony that is running. A browser runs one at a time. */
let running = null;
/** Settles when the latest call of `register` or `authenticate` has ended. */
let modal = Promise.resolve();
/** Changes when a running autofill has to end: after another call of it, or a credential from a modal ceremony. */
let generation = 0;

/** Why passkeys cannot work on this page, as a message id; `null` if they can. */
export function reason() {
  if (/^(127(\.\d+){3}|\[::1\])$/.test(globalThis.location?.hostname)) return 'use-localhost';
  if (globalThis.PublicKeyCredential && globalThis.navigator?.credentials) return null;
  // Without https, browsers do not define PublicKeyCredential.
  return globalThis.isSecureContext === false ? 'not-secure' : 'not-supported';
}

/** Whether passkeys can work on this page. */
export function isAvailable() {
  return reason() === null;
}

/** Whether the browser can offer passkeys in the autofill of `<input autocomplete="username webauthn">`. */
export function canAutofill() {
  return supports('isConditionalMediationAvailable');
}

/** Whether this device can verify its user, for example by fingerprint, face or PIN. */
export function canUsePlatform() {
  return supports('isUserVerifyingPlatformAuthenticatorAvailable');
}

async function supports(check) {
  try {
    return isAvailable() && (await PublicKeyCredential[check]()) === true;
  } catch {
    return false;
  }
}

/**
 * Creates a passkey. Stops autofill first.
 *
 * @param {object} publicKey `webauthn.publicKey` in the server's answer.
 * @param {{signal?: AbortSignal, timeout?: number}} [options] `timeout` in milliseconds. Default: the timeout in
 *   `publicKey`, otherwise five minutes.
 * @returns {Promise<object>} The value for `credential` in the call that confirms the factor.
 * @throws {PasskeyError}
 */
export function register(publicKey, options) {
  return modally(() => ceremony('create', publicKey, options));
}

/**
 * Signs in with a passkey. Stops autofill first.
 *
 * Parameters and errors are those of {@link register}.
 * @returns {Promise<object>} The value for `credential` in the call that verifies the challenge.
 */
export function authenticate(publicKey, options) {
  return modally(() => ceremony('get', publicKey, options));
}

/**
 * Offers passkeys in the autofill of `<input autocomplete="username webauthn">`, until one is accepted. Does nothing
 * if the browser cannot. Each round uses fresh options: they are replaced before the challenge expires, and after a
 * call of {@link register} or {@link authenticate} that failed. A call that succeeded ends autofill; call it again
 * if the server refuses that credential. While the tab is hidden, no round begins.
 *
 * @param {() => Promise<object>} fetchOptions Begins a challenge without a user; returns its `webauthn.publicKey`.
 * @param {(credential: object) => unknown} onCredential Sends the credential to the server. If it throws, autofill
 *   goes on after half a minute.
 * @param {{onError?: (error: unknown) => void, signal?: AbortSignal}} [options] `onError` gets what `fetchOptions` or
 *   `onCredential` throws. Failures of the browser are silent, since the user has not asked for anything.
 * @returns {Promise<void>} Settles when autofill has ended.
 */
export async function autofill(fetchOptions, onCredential, { onError = () => {}, signal } = {}) {
  const mine = ++generation;
  const ended = () => generation !== mine || signal?.aborted;
  const supported = await canAutofill();
  while (supported) {
    const before = modal;
    await before;
    if (ended()) return;
    if (globalThis.document?.hidden) {
      await visibilityChange(signal);
      continue;
    }
    try {
      const publicKey = await fetchOptions();
      if (ended()) return;
      if (modal !== before) continue; // The user has pressed a button in the meantime.
      const timeout = Math.max(SECOND, 0.8 * (publicKey.timeout ?? FIVE_MINUTES));
      const credential = await ceremony('get', publicKey, { signal, timeout, mediation: 'conditional' });
      if (ended()) return;
      await onCredential(credential);
      return;
    } catch (error) {
      if (ended()) return;
      if (!(error instanceof PasskeyError)) onError(error);
      else if (error.id === 'aborted' || error.id === 'timeout') continue;
    }
    await new Promise((resume) => setTimeout(resume, PAUSE));
  }
}

/** Waits until the tab is shown or hidden, or the page stops autofill. */
function visibilityChange(signal) {
  return new Promise((resume) => {
    document.addEventListener('visibilitychange', resume, { once: true });
    signal?.addEventListener('abort', resume, { once: true });
  });
}

function modally(run) {
  const result = run();
  modal = result.then(() => { generation += 1; }, () => {});
  return result;
}

/** Replaces the running ceremony. The browser is called at once, so that the call still counts as the user's click. */
async function ceremony(method, json, { signal, timeout = json?.timeout ?? FIVE_MINUTES, mediation } = {}) {
  const problem = signal?.aborted ? 'aborted' : reason();
  if (problem) throw new PasskeyError(problem);
  running?.abort(new PasskeyError('aborted'));
  const controller = new AbortController();
  running = controller;
  const stop = () => controller.abort(new PasskeyError('aborted'));
  signal?.addEventListener('abort', stop);
  // A longer time would end at once.
  const limit = Math.min(timeout, 2 ** 31 - 1);
  const timer = setTimeout(() => controller.abort(new PasskeyError('timeout')), limit);
  // Some password managers ignore the signal.
  const stopped = new Promise((_, reject) => {
    controller.signal.addEventListener('abort', () => reject(controller.signal.reason));
  });
  try {
    const options = { publicKey: fromJson(json), signal: controller.signal };
    if (mediation) options.mediation = mediation;
    const credential = await Promise.race([navigator.credentials[method](options), stopped]);
    return toJson(credential, method);
  } catch (error) {
    throw controller.signal.aborted ? controller.signal.reason : new PasskeyError(idOf(error, method), error);
  } finally {
    clearTimeout(timer);
    signal?.removeEventListener('abort', stop);
    if (running === controller) running = null;
  }
}

/** The message id of a browser's error. */
function idOf(error, method) {
  switch (error?.name) {
    case 'NotAllowedError': case 'AbortError': return 'cancelled';
    case 'InvalidStateError': return method === 'create' ? 'already-registered' : 'failed';
    case 'SecurityError': return 'wrong-address';
    case 'NotSupportedError': case 'ConstraintError': return 'not-supported';
    default: return 'failed';
  }
}

/** The options for the browser. */
function fromJson(json) {
  const publicKey = { ...json, challenge: decode(json.challenge) };
  if (json.user) publicKey.user = { ...json.user, id: decode(json.user.id) };
  for (const list of ['allowCredentials', 'excludeCredentials']) {
    if (json[list]) publicKey[list] = json[list].map((credential) => ({ ...credential, id: decode(credential.id) }));
  }
  return publicKey;
}

/** The credential for the server. Not by its `toJSON`: password managers return credentials where that throws. */
function toJson(credential, method) {
  const id = encode(credential.rawId);
  const { response } = credential;
  const json = { id, rawId: id, type: credential.type, clientExtensionResults: {}, response: {} };
  if (credential.authenticatorAttachment) json.authenticatorAttachment = credential.authenticatorAttachment;
  json.response.clientDataJSON = encode(response.clientDataJSON);
  if (method === 'create') {
    const resident = credential.getClientExtensionResults?.()?.credProps?.rk;
    if (typeof resident === 'boolean') json.clientExtensionResults.credProps = { rk: resident };
    json.response.attestationObject = encode(response.attestationObject);
    if (response.getTransports) json.response.transports = [...response.getTransports()];
  } else {
    json.response.authenticatorData = encode(response.authenticatorData);
    json.response.signature = encode(response.signature);
    if (response.userHandle?.byteLength) json.response.userHandle = encode(response.userHandle);
  }
  return json;
}

/**
 * Tells the authenticators of the user which passkeys are accepted, and the present names. They remove the others.
 * Call it after each change with `passkeys` in the server's answer. Never fails.
 */
export async function signalAccepted(passkeys) {
  const { rp_id: rpId, user_id, accepted_credential_ids, name, display_name } = passkeys ?? {};
  // An absent list is not an empty one, which would remove every passkey.
  if (accepted_credential_ids) {
    await tell('signalAllAcceptedCredentials', () => (
      { rpId, userId: unpadded(user_id), allAcceptedCredentialIds: accepted_credential_ids.map(unpadded) }
    ));
  }
  if (name) {
    const displayName = display_name || name;
    await tell('signalCurrentUserDetails', () => ({ rpId, userId: unpadded(user_id), name, displayName }));
  }
}

/**
 * Tells the authenticator to remove a passkey. Call it only after the problem `unknown-credential`, and only if one
 * tenant in one environment uses the relying party: otherwise the passkey may belong to a user of another tenant, or
 * of production instead of staging. Never fails.
 */
export function signalUnknown(credential) {
  const { rp_id: rpId, credential_id } = credential ?? {};
  return tell('signalUnknownCredential', () => ({ rpId, credentialId: unpadded(credential_id) }));
}

async function tell(method, details) {
  try {
    await globalThis.PublicKeyCredential?.[method]?.(details());
  } catch {
    // Only a courtesy to the user: the server refuses the passkey anyway.
  }
}

/** With padding, browsers throw a TypeError. */
function unpadded(text) {
  return encode(decode(text));
}

function encode(buffer) {
  const bytes = Array.from(new Uint8Array(buffer), (byte) => String.fromCharCode(byte));
  return btoa(bytes.join('')).replace(/\+/g, '-').replace(/\//g, '_').replace(/=/g, '');
}

/** Reads base64url or base64, with padding or without. */
function decode(text) {
  return Uint8Array.from(atob(text.replace(/-/g, '+').replace(/_/g, '/')), (c) => c.charCodeAt(0));
}
