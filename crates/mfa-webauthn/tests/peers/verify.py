"""Verifies pairs of a registration and an assertion, given as JSON, by the PyPI package webauthn.

Everything but the origin is taken from the options, and the public key from the registration.
"""

import json
import sys

from webauthn import verify_authentication_response, verify_registration_response
from webauthn.helpers import bytes_to_base64url
from webauthn.helpers.exceptions import WebAuthnException
from webauthn.helpers.parse_authentication_options_json import parse_authentication_options_json
from webauthn.helpers.parse_registration_options_json import parse_registration_options_json


def verify(ceremonies):
    registration, authentication = ceremonies["registration"], ceremonies["authentication"]
    options = json.loads(registration["options"])
    # The library refuses options with ES384, which it does not know: findings/webauthn-es384.sh.
    offered = options["pubKeyCredParams"]
    options["pubKeyCredParams"] = [parameters for parameters in offered if parameters["alg"] != -35]
    options = parse_registration_options_json(options)
    registered = verify_registration_response(
        credential=registration["credential"],
        expected_challenge=options.challenge,
        expected_rp_id=options.rp.id,
        expected_origin=ceremonies["origin"],
        require_user_verification=options.authenticator_selection.user_verification == "required",
        supported_pub_key_algs=[parameters.alg for parameters in options.pub_key_cred_params],
    )
    user = options.user
    options = parse_authentication_options_json(authentication["options"])
    allowed = [credential.id for credential in options.allow_credentials or []]
    asserted = verify_authentication_response(
        credential=authentication["credential"],
        expected_challenge=options.challenge,
        expected_rp_id=options.rp_id,
        expected_origin=ceremonies["origin"],
        credential_public_key=registered.credential_public_key,
        credential_current_sign_count=registered.sign_count,
        require_user_verification=options.user_verification == "required",
    )
    return {
        "user": {"id": bytes_to_base64url(user.id), "name": user.name, "display_name": user.display_name},
        "credential_id": bytes_to_base64url(registered.credential_id),
        "aaguid": registered.aaguid,
        "format": registered.fmt,
        "allowed": allowed == [registered.credential_id],
        "user_verified": [registered.user_verified, asserted.user_verified],
        "backed_up": [registered.credential_backed_up, asserted.credential_backed_up],
        "sign_count": [registered.sign_count, asserted.new_sign_count],
    }


def answer(ceremonies):
    try:
        return verify(ceremonies)
    except WebAuthnException as refused:
        return {"refused": str(refused)}


print(json.dumps([answer(ceremonies) for ceremonies in json.load(sys.stdin)]))
