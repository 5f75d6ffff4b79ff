// Times verifyAuthenticationResponse of the npm package @simplewebauthn/server, whose folder is the first argument.
//
// The first line has the ceremony as JSON. Each further line has a number of calls; the answer is the seconds that they
// took.

import { createInterface } from "node:readline";

const { verifyAuthenticationResponse } = await import(`${process.argv[2]}/esm/index.js`);

let ceremony;
for await (const line of createInterface({ input: process.stdin })) {
    if (!ceremony) {
        ceremony = JSON.parse(line);
        continue;
    }
    const begin = performance.now();
    for (let call = 0; call < Number(line); call++) {
        const { verified } = await verifyAuthenticationResponse({
            response: JSON.parse(ceremony.credential),
            expectedChallenge: ceremony.challenge,
            expectedOrigin: ceremony.origin,
            expectedRPID: ceremony.rp_id,
            credential: {
                id: ceremony.credential_id,
                publicKey: Buffer.from(ceremony.public_key, "base64url"),
                counter: 0,
            },
            requireUserVerification: false,
        });
        if (!verified) throw new Error("not verified");
    }
    console.log((performance.now() - begin) / 1000);
}
