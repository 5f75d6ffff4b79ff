"""Enrols an authenticator app with mfa-server and checks codes: API_KEY=mfa_… python3 client.py alice"""

import base64
import json
import os
import secrets
import sys
from http.client import HTTPException
from urllib.parse import quote
from urllib.request import HTTPErrorProcessor, Request, build_opener

TIMEOUT = 15  # Seconds. The server takes at most 9.5.


class EveryAnswer(HTTPErrorProcessor):
    """Gives answers of every status, and follows no redirect: the API key goes to no other server."""

    def http_response(self, request, response):
        return response

    https_response = http_response


class Problem(Exception):
    """Why the server did not do what was asked (RFC 9457)."""

    def __init__(self, problem_type: str, title: str, retry_after: str | None = None):
        super().__init__(f"{title} ({problem_type})")
        self.code = problem_type.rsplit("/", 1)[-1]
        self.retry_after = int(retry_after) if retry_after and retry_after.isdigit() else 5


class Mfa:
    """Calls the server. A call that gives no result raises Problem: let nobody in then."""

    def __init__(self, url: str, key: str):
        self.url, self.key, self.opener = url, key, build_opener(EveryAnswer)

    def enrol(self, user: str, label: str, proof: str | None = None, nonce: str | None = None) -> dict:
        """A user who has a factor needs a proof: the assertion of a verification in this session, and its nonce."""
        body = {"kind": "totp", "label": label, "qr": "text"}
        return self._post(user, "factors", body | {"proof": proof, "nonce": nonce} if proof else body)

    def confirm(self, user: str, factor: str, code: str) -> dict:
        return self._post(user, f"factors/{factor}/confirm", {"code": code})

    def verify(self, user: str, code: str, nonce: str) -> dict:
        """The nonce binds the assertion in the answer to one session of your application."""
        return self._post(user, "verify", {"code": code, "nonce": nonce})

    def _post(self, user: str, call: str, body: dict) -> dict:
        headers = {"Authorization": f"Bearer {self.key}", "Content-Type": "application/json"}
        request = Request(f"{self.url}/v1/users/{segment(user)}/{call}", json.dumps(body).encode(), headers)
        try:
            with self.opener.open(request, timeout=TIMEOUT) as answer:
                result = json.load(answer)
        except (OSError, HTTPException, ValueError) as error:
            raise Problem("unavailable", f"No answer: {error}") from None
        if answer.status < 300:
            return result
        problem_type, title = result.get("type", "unavailable"), result.get("title", answer.reason)
        raise Problem(problem_type, title, answer.headers["Retry-After"])


def segment(user: str) -> str:
    """A user id in a path. Proxies rewrite paths with slashes and dots, so such ids go as base64url."""
    if user in (".", "..") or user.startswith("~") or "/" in user or "\\" in user:
        return "~" + base64.urlsafe_b64encode(user.encode()).decode().rstrip("=")
    return quote(user, safe="")


def enrol_and_verify(mfa: Mfa, user: str) -> None:
    nonce = secrets.token_urlsafe(16)  # An application makes one for each session, and keeps it there.
    try:
        enrolment = mfa.enrol(user, "Phone")
    except Problem as problem:
        if problem.code != "proof-required":
            raise
        verified = mfa.verify(user, input("You have a factor already. To add another, type a code of it: "), nonce)
        enrolment = mfa.enrol(user, "Phone", verified["assertion"], nonce)
    print(f"Scan this with an authenticator app:\n\n{enrolment['totp']['qr_text']}")
    print("Or type the secret:", enrolment["totp"]["secret"])
    confirmed = mfa.confirm(user, enrolment["factor"]["id"], input("The code that the app shows: "))
    print("Enrolled. Backup codes, each good once:", *confirmed.get("backup_codes") or ["none new"], sep="\n  ")
    print("Verified by", mfa.verify(user, input("The next code that the app shows: "), nonce)["kind"])
    print("Verified by", mfa.verify(user, input("A backup code: "), nonce)["kind"])


def main() -> int:
    if len(sys.argv) != 2 or "API_KEY" not in os.environ:
        print("usage: API_KEY=mfa_… python3 client.py USER", file=sys.stderr)
        return 2
    try:
        enrol_and_verify(Mfa(os.environ.get("API_URL", "http://127.0.0.1:8080"), os.environ["API_KEY"]), sys.argv[1])
        return 0
    except EOFError:
        advice, exit_code = "No code was given", 2
    except Problem as problem:
        advice, exit_code = f"Not possible: {problem}", 2
        if problem.code in ("invalid-code", "malformed-code"):
            advice, exit_code = f"Wrong code: {problem}", 1
        elif problem.code in ("locked", "throttled", "unavailable", "busy"):
            advice, exit_code = f"Try again in {problem.retry_after} seconds: {problem}", 3
    print(f"\n{advice}", file=sys.stderr)
    return exit_code


if __name__ == "__main__":
    sys.exit(main())
