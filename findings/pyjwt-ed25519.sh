#!/bin/sh
# PyJWT 2.15.1 (PyPI), 2026-11-30: it does not know the algorithm name `Ed25519` (RFC 9864). PyJWKSet drops a key with
# `"alg": "Ed25519"` without a word, so that a verifier finds no key for its `kid`; a set with no other key raises. The
# same key with `"alg": "EdDSA"` (RFC 8037) is there.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet 'pyjwt[crypto]==2.15.1'
cat >seen.py <<'PYTHON'
import warnings

from jwt import PyJWKSet
from jwt.exceptions import PyJWKSetError

# The keys of RFC 8037, appendix A.2, and of RFC 7517, appendix A.1.
edwards = {"kty": "OKP", "crv": "Ed25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo", "use": "sig"}
p256 = {
    "kty": "EC", "crv": "P-256", "use": "sig", "alg": "ES256", "kid": "p256",
    "x": "MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4", "y": "4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM",
}

def ids(*keys):
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        found = [key.key_id for key in PyJWKSet.from_dict({"keys": list(keys)}).keys]
    return found, [str(warning.message) for warning in told]

known = ids(p256, {**edwards, "kid": "old name", "alg": "EdDSA"})
unknown = ids(p256, {**edwards, "kid": "new name", "alg": "Ed25519"})
print("ES256 and EdDSA: keys and warnings", known)
print("ES256 and Ed25519: keys and warnings", unknown)
assert known == (["p256", "old name"], []), known
assert unknown == (["p256"], []), unknown
try:
    ids({**edwards, "kid": "new name", "alg": "Ed25519"})
    raise SystemExit("a set with only Ed25519 is read")
except PyJWKSetError as error:
    print("Ed25519 alone:", error)
PYTHON
venv/bin/python seen.py
