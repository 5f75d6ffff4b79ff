// Verifies pairs of a registration and an assertion, given as JSON, by the npm package @simplewebauthn/server.
//
// Everything but the origin is taken from the options, and the public key from the registration. The folder of the
// package is the first argument.

import { readFileSync } from "node:fs";

const { verifyAuthenticationResponse, verifyRegistrationResponse } = await import(`${process.argv[2]}/esm/index.js`);

async function verify({ origin, registration, authentication }) {
    let options = JSON.parse(registration.options);
    const { verified, registrationInfo: registered } = await verifyRegistrationResponse({
        response: JSON.parse(registration.credential),
        expectedChallenge: options.challenge,
        expectedOrigin: origin,
        expectedRPID: options.rp.id,
        requireUserVerification: options.authenticatorSelection.userVerification === "required",
        supportedAlgorithmIDs: options.pubKeyCredParams.map(({ alg }) => alg),
    });
    if (!verified) throw new Error("not verified");
    const { id, name, displayName } = options.user;
    options = JSON.parse(authentication.options);
    const asserted = await verifyAuthenticationResponse({
        response: JSON.parse(authentication.credential),
        expectedChallenge: options.challenge,
        expectedOrigin: origin,
        expectedRPID: options.rpId,
        credential: registered.credential,
        requireUserVerification: options.userVerification === "required",
    });
    if (!asserted.verified) throw new Error("not verified");
    const info = asserted.authenticationInfo;
    const allowed = (options.allowCredentials ?? []).map((credential) => credential.id);
    return {
        user: { id, name, display_name: displayName },
        credential_id: registered.credential.id,
        aaguid: registered.aaguid,
        format: registered.fmt,
        allowed: allowed.length === 1 && allowed[0] === registered.credential.id,
        user_verified: [registered.userVerified, info.userVerified],
        backed_up: [registered.credentialBackedUp, info.credentialBackedUp],
        sign_count: [registered.credential.counter, info.newCounter],
    };
}

const answers = [];
for (const ceremonies of JSON.parse(readFileSync(0, "utf8"))) {
    answers.push(await verify(ceremonies).catch((refused) => ({ refused: refused.message })));
}
console.log(JSON.stringify(answers));
