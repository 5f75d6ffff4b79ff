# Creates a CA and its certificate for localhost in the current folder: authority.crt, server.crt, server.key.
set -e
key='-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes'
openssl req -x509 $key -days 2 -subj /CN=authority -keyout authority.key -out authority.crt
openssl req $key -subj /CN=localhost -keyout server.key -out server.csr
echo subjectAltName=DNS:localhost >names
openssl x509 -req -days 2 -in server.csr -CA authority.crt -CAkey authority.key -CAcreateserial -extfile names -out server.crt
