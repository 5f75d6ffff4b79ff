"""Times verify_authentication_response of the PyPI package webauthn.

The first line has the ceremony as JSON. Each further line has a number of calls; the answer is the seconds that they
took.
"""

import json
import sys
import time

from webauthn import verify_authentication_response
from webauthn.helpers import base64url_to_bytes

ceremony = json.loads(sys.stdin.readline())
arguments = {
    "credential": ceremony["credential"],
    "expected_challenge": base64url_to_bytes(ceremony["challenge"]),
    "expected_rp_id": ceremony["rp_id"],
    "expected_origin": ceremony["origin"],
    "credential_public_key": base64url_to_bytes(ceremony["public_key"]),
    "credential_current_sign_count": 0,
}
for line in iter(sys.stdin.readline, ""):
    begin = time.perf_counter()
    for _ in range(int(line)):
        verify_authentication_response(**arguments)
    print(time.perf_counter() - begin, flush=True)
