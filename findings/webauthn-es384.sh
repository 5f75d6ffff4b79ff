#!/bin/sh
# webauthn 3.0.1 (PyPI), 2026-11-30: it has ES256 and ES512, but not ES384 (COSE -35, RFC 9053). Registration options that
# offer it beside others are refused as a whole by parse_registration_options_json, generate_registration_options cannot
# offer it, and a valid assertion by such a key raises UnsupportedAlgorithm.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet webauthn==3.0.1
cat >seen.py <<'PYTHON'
import hashlib, json

import cbor2
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256, SHA384, SHA512
from webauthn import verify_authentication_response
from webauthn.helpers import bytes_to_base64url as text, parse_registration_options_json
from webauthn.helpers.exceptions import InvalidJSONStructure, UnsupportedAlgorithm

def options(*algorithms):
    return {
        "rp": {"id": "example.com", "name": "Example"},
        "user": {"id": "dQ", "name": "alice", "displayName": "Alice"},
        "challenge": text(b"challenge"),
        "pubKeyCredParams": [{"type": "public-key", "alg": algorithm} for algorithm in algorithms],
        "attestation": "none",
    }

def assertion(algorithm, number, curve, hash):
    """Of a new key; the sizes of curve and hash are those of the algorithm."""
    key = ec.generate_private_key(curve)
    public = key.public_key().public_numbers()
    size = (curve.key_size + 7) // 8
    x, y = public.x.to_bytes(size, "big"), public.y.to_bytes(size, "big")
    cose_key = cbor2.dumps({1: 2, 3: algorithm, -1: number, -2: x, -3: y})
    client_data = {"type": "webauthn.get", "challenge": text(b"challenge"), "origin": "https://example.com"}
    client_data = json.dumps(client_data).encode()
    data = hashlib.sha256(b"example.com").digest() + b"\x05\0\0\0\0"
    signature = key.sign(data + hashlib.sha256(client_data).digest(), ec.ECDSA(hash))
    response = {"clientDataJSON": client_data, "authenticatorData": data, "signature": signature}
    return verify_authentication_response(
        credential={
            "id": "aWQ", "rawId": "aWQ", "type": "public-key", "clientExtensionResults": {},
            "response": {name: text(value) for name, value in response.items()},
        },
        expected_challenge=b"challenge",
        expected_rp_id="example.com",
        expected_origin="https://example.com",
        credential_public_key=cose_key,
        credential_current_sign_count=0,
    )

parse_registration_options_json(options(-7, -36, -257))
try:
    parse_registration_options_json(options(-7, -35, -257))
    raise SystemExit("options with ES384 are parsed")
except InvalidJSONStructure as error:
    print(f"options with ES256, ES384 and RS256: {error}")

assertion(-7, 1, ec.SECP256R1(), SHA256())
assertion(-36, 3, ec.SECP521R1(), SHA512())
try:
    assertion(-35, 2, ec.SECP384R1(), SHA384())
    raise SystemExit("an assertion with ES384 is verified")
except UnsupportedAlgorithm as error:
    print(f"assertions with ES256 and ES512 are verified; with ES384: {error}")
PYTHON
venv/bin/python seen.py
