// Enrols an authenticator app with mfa-server and checks codes: API_KEY=mfa_… node client.mjs alice
// Node.js 18 or newer, no packages.

import { randomBytes } from 'node:crypto';
import { createInterface } from 'node:readline';
import { pathToFileURL } from 'node:url';

const TIMEOUT = 15_000; // Milliseconds. The server takes at most 9,500.

/** Why the server did not do what was asked (RFC 9457). */
export class Problem extends Error {
  constructor(type, title, retryAfter) {
    super(`${title} (${type})`);
    this.code = type.split('/').at(-1);
    this.retryAfter = Number.parseInt(retryAfter, 10) || 5;
  }
}

/** Calls the server. A call that gives no result throws a Problem: let nobody in then. */
export class Mfa {
  constructor(url, key) {
    this.url = url;
    this.key = key;
  }

  /** A user who has a factor needs a proof: the assertion of a verification in this session, and its nonce. */
  enrol(user, label, proof, nonce) {
    return this.#post(user, 'factors', { kind: 'totp', label, qr: 'text', proof, nonce });
  }

  confirm(user, factor, code) {
    return this.#post(user, `factors/${factor}/confirm`, { code });
  }

  /** The nonce binds the assertion in the answer to one session of your application. */
  verify(user, code, nonce) {
    return this.#post(user, 'verify', { code, nonce });
  }

  async #post(user, call, body) {
    let response, answer;
    try {
      response = await fetch(`${this.url}/v1/users/${segment(user)}/${call}`, {
        method: 'POST',
        headers: { Authorization: `Bearer ${this.key}`, 'Content-Type': 'application/json' },
        body: JSON.stringify(body),
        signal: AbortSignal.timeout(TIMEOUT),
        redirect: 'error', // The API key goes to no other server.
      });
      answer = await response.json();
    } catch (error) {
      throw new Problem('unavailable', `No answer: ${error.cause?.message ?? error.message}`);
    }
    if (response.ok) return answer;
    const { type = 'unavailable', title = response.statusText } = answer;
    throw new Problem(type, title, response.headers.get('Retry-After'));
  }
}

/** A user id in a path. Proxies rewrite paths with slashes and dots, so such ids go as base64url. */
function segment(user) {
  const rewritten = /^(~|\.{1,2}$)|[/\\]/.test(user);
  return rewritten ? `~${Buffer.from(user).toString('base64url')}` : encodeURIComponent(user);
}

async function enrolAndVerify(mfa, user, ask) {
  const nonce = randomBytes(16).toString('base64url'); // An application makes one for each session, and keeps it there.
  const enrolment = await mfa.enrol(user, 'Phone').catch(async (problem) => {
    if (problem.code !== 'proof-required') throw problem;
    const code = await ask('You have a factor already. To add another, type a code of it: ');
    return mfa.enrol(user, 'Phone', (await mfa.verify(user, code, nonce)).assertion, nonce);
  });
  console.log(`Scan this with an authenticator app:\n\n${enrolment.totp.qr_text}`);
  console.log(`Or type the secret: ${enrolment.totp.secret}`);
  const confirmed = await mfa.confirm(user, enrolment.factor.id, await ask('The code that the app shows: '));
  console.log(['Enrolled. Backup codes, each good once:', ...(confirmed.backup_codes ?? ['none new'])].join('\n  '));
  console.log(`Verified by ${(await mfa.verify(user, await ask('The next code that the app shows: '), nonce)).kind}`);
  console.log(`Verified by ${(await mfa.verify(user, await ask('A backup code: '), nonce)).kind}`);
}

/** Says what the user can do, and gives the exit code. */
function explain(problem) {
  if (!(problem instanceof Problem)) throw problem;
  let [advice, exitCode] = ['Not possible', 2];
  if (['invalid-code', 'malformed-code'].includes(problem.code)) [advice, exitCode] = ['Wrong code', 1];
  if (['locked', 'throttled', 'unavailable', 'busy'].includes(problem.code)) {
    [advice, exitCode] = [`Try again in ${problem.retryAfter} seconds`, 3];
  }
  console.error(`\n${advice}: ${problem.message}`);
  return exitCode;
}

if (process.argv[1] && import.meta.url === pathToFileURL(process.argv[1]).href) {
  const { API_URL = 'http://127.0.0.1:8080', API_KEY } = process.env;
  if (process.argv.length !== 3 || !API_KEY) {
    console.error('usage: API_KEY=mfa_… node client.mjs USER');
    process.exit(2);
  }
  const lines = createInterface({ input: process.stdin })[Symbol.asyncIterator]();
  const ask = async (question) => {
    process.stdout.write(question);
    return (await lines.next()).value ?? '';
  };
  process.exitCode = await enrolAndVerify(new Mfa(API_URL, API_KEY), process.argv[2], ask).then(() => 0, explain);
  process.stdin.destroy();
}
