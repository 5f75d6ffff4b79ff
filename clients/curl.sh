#!/usr/bin/env bash
# Enrols an authenticator app with mfa-server and checks codes: API_KEY=mfa_… ./curl.sh alice
# Needs bash, curl 7.55 or newer (7.83 to read Retry-After), base64 and sed.

set -euo pipefail

# Each call leaves the body of the answer in `answer` and Retry-After in `seconds`. It fails if there is a problem or no
# answer: let nobody in then.
enrol() {
  # A user who has a factor needs a proof: the assertion of a verification in this session, and its nonce.
  local proof=''
  if [[ -n ${2:-} ]]; then proof=", \"proof\": \"$2\", \"nonce\": \"$3\""; fi
  post "$1" factors "{\"kind\": \"totp\", \"label\": \"Phone\", \"qr\": \"text\"$proof}"
}
confirm() { post "$1" "factors/$2/confirm" "{\"code\": \"$(escape "$3")\"}"; }
# The nonce binds the assertion in the answer to one session of your application.
verify() { post "$1" verify "{\"code\": \"$(escape "$2")\", \"nonce\": \"$3\"}"; }

# Posts a body for a user. A user id of any form goes into the path as `~` and its base64url.
# Key and body reach curl by pipes: other users of this machine can see the arguments of a program.
# curl itself says what the status is, since the headers of a proxy and of interim answers (1xx) may come before those
# of the server. `-q` ignores ~/.curlrc.
post() {
  local user output url=${API_URL:-http://127.0.0.1:8080}
  local options=(-q -sS --connect-timeout 3 --max-time 15 -w '\n%{http_code} %header{retry-after}')
  user="~$(printf %s "$1" | base64 | tr '/+' '_-' | tr -d '=\n')"
  answer='' seconds=5
  output=$(printf %s "$3" | curl "${options[@]}" "$url/v1/users/$user/$2" --data-binary @- \
    -H 'Content-Type: application/json' -H @<(printf 'Authorization: Bearer %s' "$API_KEY")) || return 1
  answer=${output%$'\n'*}
  output=${output##*$'\n'} # The status and Retry-After.
  if [[ $output =~ \ ([0-9]+)$ ]]; then seconds=${BASH_REMATCH[1]}; fi
  [[ $output == 2[0-9][0-9]\ * ]]
}

# The first text of that name in the answer, as the server writes it. It leaves escapes as they are: where texts
# may hold quotation marks, use a JSON parser such as jq.
text() { [[ $answer =~ \"$1\":\"([^\"]*)\" ]] && printf %s "${BASH_REMATCH[1]}"; }

# A text for JSON.
escape() { printf %s "$1" | sed 's/["\\]/\\&/g'; }

# Says what the user can do about a problem, and ends with the exit code for it.
give_up() {
  local problem
  problem="$(text title || echo "No answer") ($(text type || echo unavailable))"
  case $(code) in
    invalid-code | malformed-code) echo "Wrong code: $problem" && exit 1 ;;
    locked | throttled | unavailable | busy) echo "Try again in $seconds seconds: $problem" && exit 3 ;;
    *) echo "Not possible: $problem" && exit 2 ;;
  esac >&2
}

# The last part of a problem's type tells problems apart; two of them may have the same status.
code() {
  local type
  type=$(text type || echo unavailable)
  printf %s "${type##*/}"
}

ask() { printf %s "$1" && { read -r typed || typed=''; }; }

main() {
  if [[ $# -ne 1 || -z ${API_KEY:-} ]]; then
    echo 'usage: API_KEY=mfa_… ./curl.sh USER' >&2
    exit 2
  fi
  local user=$1 factor qr nonce
  nonce=$(head -c 16 /dev/urandom | base64 | tr '/+' '_-' | tr -d '=') # An application makes one for each session.
  if ! enrol "$user"; then
    [[ $(code) == proof-required ]] || give_up
    ask 'You have a factor already. To add another, type a code of it: '
    { verify "$user" "$typed" "$nonce" && enrol "$user" "$(text assertion)" "$nonce"; } || give_up
  fi
  factor=$(text id)
  qr=$(text qr_text)
  # The code is coloured: ESC is \u001b in JSON and \033 for printf.
  printf 'Scan this with an authenticator app:\n\n%b\n' "${qr//\\u001b/\\033}"
  echo "Or type the secret: $(text secret)"
  ask 'The code that the app shows: '
  confirm "$user" "$factor" "$typed" || give_up
  echo 'Enrolled. Backup codes, each good once:'
  if [[ $answer =~ \"backup_codes\":\[([^]]+)\] ]]; then
    echo "${BASH_REMATCH[1]}" | tr -d '"' | tr ',' '\n' | sed 's/^/  /'
  else
    echo '  none new'
  fi
  ask 'The next code that the app shows: '
  verify "$user" "$typed" "$nonce" || give_up
  echo "Verified by $(text kind)"
  ask 'A backup code: '
  verify "$user" "$typed" "$nonce" || give_up
  echo "Verified by $(text kind)"
}

# Another script can take the functions by `source curl.sh`.
if [[ ${BASH_SOURCE[0]} == "$0" ]]; then
  main "$@"
fi
