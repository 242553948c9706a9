"""Texts that hold no secret, though many look a little like it: what a redactor must leave alone."""

from __future__ import annotations

_NAMES = "token tokens secret password cookie credentials auth key api_key access_token client_secret".split()
_PLACEHOLDERS = "<TOKEN> ${TOKEN} {{token}} $(cat token) None null *** %s".split()

_SENTENCES = """
The token: it is a piece of a word, and the tokenizer makes many of them.
the token: abc1
the token is a word, the secret is patience, and the password is required.
A password is a secret; the key is to keep it.
Basic understanding2
Basic authentication is not enough, basic income neither.
Bearer of bad news, bearer of gifts
sk-8-board-deck-pro
sk-learn-compatible-estimators-are-nice
xoxo-love-you-very-much
xoxo, gossip girl
GOOGLE_APPLICATION_CREDENTIALS=/path
GOOGLE_APPLICATION_CREDENTIALS=/home/ada/keys/service.json
SSL_KEY=/etc/ssl/private/server.key
TLS_SECRET=./certs/tls.pem
PWD=/home/ada OLDPWD=/root
my secret is that I never sleep; ask mail@example.org
AI Assistant, ASIA and AKIA; 3f2504e0-4f89-41d3-9a0c-0305e82c3301
the author authenticated with his keys: key=7, sort_key=created_at, cache_key: user:12:profile
docker run -u 1000:1000 -p 8080:80 -p8081:81 image
mkdir -p /tmp/a/b && cp -pr a b
ssh -p 2222 root@example.org
mysql -u root -p shop
mysql --port 3306 -h localhost
git clone https://github.com/a/b.git
git clone git@github.com:a/b.git
ssh://git@github.com/a/b.git
https://user@example.org/path
https://example.org:8080/packages/@scope/name
postgres://localhost:5432/app?user=ada@example.org
redis://localhost:6379/0 by ada@example.org
jdbc:oracle:thin:@//localhost:1521/app
amqp://localhost:5672/vhost
https://example.org/?key=name&code=404
https://example.org/?code=en-US&state=ok
https://shop.example.org/?code=SUMMER2026&key=user_profile
https://example.org/search?q=password+reset
tx 0x5c504ed432cb51138bcf09aa5e8a410dd4a1e204ef84bfed1be16dfba1b22060
block hash 0x5c504ed432cb51138bcf09aa5e8a410dd4a1e204ef84bfed1be16dfba1b22060
contract 0xdAC17F958D2ee523a2206206994597C13D831ec7
sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08
md5 5d41402abc4b2a76b9719d911017c592
commit 2fd4e1c67a2d28fced849ee1bb76e7391b93eb12
call_aB3dE5gH7jK9mN1pQ3sT5vX7
chatcmpl-9aBcDeFgHiJkLmNoPqRsTuVwXyZ01
toolu_01A09q90qw90lq917835lq9
msg_01XFDUDYJgAACzvnptvVoYEL
resp_67ccd2bed1ec8190b14f964abc0542670bb6a6b452d3795b
thread_abc123DEF456ghi789JKL012
file-abc123DEF456ghi789JKL012
run_2026_11_28T10_00_00_a_long_name_of_a_run
The phrase "to be or not to be that is the question whether it is nobler" is old.
A mnemonic for the planets helps children remember their order from the sun.
A mnemonic: my very educated mother just served us nachos.
def connect(auth: AuthTypes = None, cookies: CookieTypes | None = None, password=None, token=token)
token = next(tokens)  # password = getpass()
password = os.environ["DB_PASSWORD"]
password=os.environ["DB_PASSWORD"]
api_key = os.getenv("OPENAI_API_KEY")
api_key=os.getenv("OPENAI_API_KEY"),
client = OpenAI(api_key=settings.openai_api_key)
self.token = token
this.password = password;
const token = await getToken(user);
const {token, password} = req.body;
if token == END: return
if (token === null) { return; }
secret: getSecret(name),
password: string;
password: string
token: str
token: str = ""
secret: Optional[str] = None
credentials: Credentials | None
auth: enabled
token: required
password: None
password: <your password>
password: ${DB_PASSWORD}
password: {{ vault_password }}
password=$DB_PASSWORD
DB_PASSWORD=${DB_PASSWORD}
export API_KEY=$(cat key.txt)
export TOKEN=<paste it here>
curl -H "Authorization: Bearer $TOKEN" https://example.org
curl -H "Authorization: Bearer ${TOKEN}" https://example.org
Authorization: Bearer <token>
Authorization: required
WWW-Authenticate: Basic realm="all"
--token <TOKEN>
--password PASSWORD
--password "$PASSWORD"
usage: tool [--token TOKEN] [--password]
Set-Cookie is a header; a cookie: the best one.
<label for="password">Password</label>
<h1>Your token</h1>
<input type="password" name="password">
<token>{token}</token>
<Key>a/b.txt</Key>
a risk-averse-and-rather-long-winded-description of a task-management-system
pass=3 fail=1; first_pass: 12345678
sk-ecdsa-sha2-nistp256@openssh.com
?sig=short&design=0123456789abcdef0123456789
sig=inspect.signature(find)
Version 2.0.1-rc.1+build.20261128
2026-11-28T10:00:00.123Z INFO request_id=7f3a path=/api/v1/items
ya29 is how some of them begin; dp.pt is not a host
The SK hynix SSD, SK8 boards, and SKU 12345678
key-value stores, key-0, key-frames
us-east-1, eu-us2, list-us1
hooks.slack.com is a host
https://discord.com/channels/123456789012345678/123456789012345678
@app.get("/items", name="items")
12:30:45:AA and 08:00:27:AA:BB:CC
data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk
integrity="sha384-oqVuAfXRKap7fdgcCY5uykM6+R9GqQ8KuxyrHXNDqoTbV2zOoPpZ8fbr3bLLVdyq"
certificate-authority-data: LS0tLS1CRUdJTiBDRVJUSUZJQ0FURS0tLS0tCk1JSUM=
ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ4rX3KbqyyXz1y8vQkqk3H8xqkq0gq7 ada@example.org
-----BEGIN PUBLIC KEY-----
-----BEGIN CERTIFICATE-----
machine learning needs data, login needs a user
The login page asks for a user and a password twice.
Password must be at least 12 characters long.
Your password was changed.
Invalid password: expected 8 characters or more
error: bad token ')' at line 3
SyntaxError: unexpected token: else
Unexpected token } in JSON at position 12
Token limit: 4096. Tokens used: 512.
max_tokens=4096, prompt_tokens: 12, token_count = 9
The secret ingredient is love.
secret santa, secret service, open secret
cookie-cutter, cookies and cream
Accept all cookies?
authors: Smith, Jones; author=ada
authority=example.org
author: jane2
oauth_state, oauth2, unauthorized: 401
auth=none
auth=True
use_auth_token=True
trust_remote_code=True, token=False
sort_key: "created_at_and_then_by_name"
partition_key="tenant_id"
primary_key=True
foreign_key: order_id
idempotency_key: 3f2504e0-4f89-41d3-9a0c-0305e82c3301
key: user:12:profile
public_key: see below
"key": "value"
{"key": "a-b-c", "code": "en-US"}
{"eos_token": "</s>"}
{"pad_token": "[PAD]", "unk_token": "<unk>", "bos_token": "<s>"}
{"usage": {"prompt_tokens": 41, "completion_tokens": 7, "max_tokens": 512}}
{"token": " Hello"
{"password": null, "token": ""}
{"auth": {"type": "none"}}
{"password": {"type": "string", "minLength": 8}}
{"type": "apiKey", "in": "header"}
{"name": "sort_key", "value": "created_at"}
{"name": "token", "value": null}
[{"name": "api_token", "required": true}, {"name": "level", "value": "debug"}]
<add key="Theme" value="dark"/> <add key="TokenLifetime" value="3600"/>
<input type="password" name="password" value="Password">
<option key="auth" value="Basic">
EAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA
EAAAAQAAAAIAAAADAAAABAAAAAUAAAAGAAAABwAAAAgAAAAJAAAACgAAAAsAAAAM
sq0idp-2bQ9LxkF3mPzYv8RtWc7Ng
{"finish_reason": "stop", "token_ids": [1, 2, 3]}
fetch(u, {credentials: 'include'})
get(url, auth=(user, pw))
assert token == 'abc1'
if (token === "IDENT") { return; }
A non-fungible token: ERC721
API_KEY=your-api-key-here
OPENAI_API_KEY=sk-...
curl -u $USER:$PASS https://example.org
{"nextPageToken": "CAUQAA12", "syncToken": "CPDAlvWDx70C"}
GET /v1/files?page_token=abc12&pageSize=10
[["token", "string"], ["password", "string"]]
["tool", "--token", "--verbose"]
["find", "-path", "a/b1", "-print"]
| token | a piece of a word, 4 letters on average |
""".strip().splitlines()

_SHAPES = [
    "{name} is not set",
    "the {name} is invalid",
    "missing {name}: see the manual",
    "no {name} given",
    "{name} = get_{name}()",
    "{name}: see below",
    "self.{name} = {name}",
    "def read({name}=None):",
    "read({name}={name})",
    'print(f"{name}: {{{name}}}")',
    "return obj.{name}.strip()",
    "{name}={name}.value,",
    "# TODO: rotate the {name} every 90 days",
    "What is a {name}?",
    "Enter your {name}:",
    "{name}: str | None = None",
    "{name} := range {name}s",
    "`{name}` (string): the {name} to use",
    "| {name} | string | yes |",
    "- {name}: the {name} of the user",
    "{name}_file: /run/secrets/x",
    "{name}_length = 32",
]

_PROSE = [
    f"{subject} {verb} {thing}, {time}."
    for subject in ("The agent", "A worker", "Our plan", "The model-based-approach", "user_42", "Run #7")
    for verb in ("read", "wrote", "looked for", "was asked about", "re-ran")
    for thing in ("the file src/app/main.py", "3 of 12 tests", "https://example.org/a?page=2#top", "step_3_of_the_plan")
    for time in ("today", "at 10:30:00")
]

_ENTRIES = [
    "- name: DB_PASSWORD\n  value: $(DB_PASSWORD)\n",
    '- name: DB_PASSWORD\n  value: "{{ .Values.password }}"\n',
    "- name: API_TOKEN\n  valueFrom:\n    secretKeyRef: {name: vault, key: token}\n- name: LEVEL\n  value: debug1\n",
    "- name: token\n  type: string\n- name: level\n  value: 12345678\n",
    "name: token\nvalue: the best\n",
    'a name="token" and its value is 7',
]

TEXTS: list[str] = [
    *_SENTENCES,
    *_ENTRIES,
    *(shape.format(name=name) for name in _NAMES for shape in _SHAPES),
    *(f"{name}={value}" for name in _NAMES[:4] for value in _PLACEHOLDERS),
    *_PROSE,
]
