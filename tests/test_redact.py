"""Secrets are found wherever they stand, innocent text stays, and the quick look overlooks nothing."""

from __future__ import annotations

import base64
import html
import importlib.util
import inspect
import json
import os
import random
import re
import string
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from time import process_time
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from localops.encoding import quick_look, redact
from localops.encoding.encode import Encoder, dumps
from localops.encoding.named_values import NAME
from localops.encoding.redact import Redactor, Secret, environment_secrets
from tests.examples import examples, sized

ALNUM = string.ascii_letters + string.digits
RANDOM = random.Random(2026)
REDACTOR = Redactor()
ENCODER = Encoder(redactor=REDACTOR)


def _some(alphabet: str, low: int, high: int | None = None) -> str:
    return "".join(RANDOM.choices(alphabet, k=RANDOM.randint(low, high or low)))


def _pem() -> str:
    body = "\n".join(_some(ALNUM + "+/", 64) for _ in range(6))
    kind = RANDOM.choice(["", "RSA ", "EC ", "OPENSSH ", "ENCRYPTED "])
    return f"-----BEGIN {kind}PRIVATE KEY-----\n{body}\n-----END {kind}PRIVATE KEY-----"


def _basic() -> str:
    pair = f"{_some(string.ascii_lowercase, 4, 8)}:{_some(ALNUM, 8, 16)}"
    return "Basic " + base64.b64encode(pair.encode()).decode()


# Each maker gives what is planted and the part of it that must not be seen again.
SHAPES: dict[str, Callable[[], str]] = {
    "openai": lambda: "sk-" + _some(ALNUM, 32, 48),
    "openai project": lambda: "sk-proj-" + _some(ALNUM + "_-", 60, 120),
    "anthropic": lambda: "sk-ant-api03-" + _some(ALNUM + "_-", 80, 95),
    "aws": lambda: RANDOM.choice(["AKIA", "ASIA"]) + _some(string.ascii_uppercase + string.digits, 16),
    "github": lambda: RANDOM.choice(["ghp_", "gho_", "ghu_", "ghs_", "ghr_"]) + _some(ALNUM, 36),
    "github fine": lambda: "github_pat_" + _some(ALNUM + "_", 82),
    "slack": lambda: f"xox{RANDOM.choice('abprs')}-{_some(string.digits, 11)}-{_some(ALNUM, 24)}",
    "google": lambda: "AIza" + _some(ALNUM + "_-", 35),
    "hugging face": lambda: "hf_" + _some(ALNUM, 34),
    "stripe": lambda: RANDOM.choice(["sk_live_", "rk_live_", "sk_test_"]) + _some(ALNUM, 24, 99),
    "jwt": lambda: f"eyJ{_some(ALNUM, 20)}.eyJ{_some(ALNUM, 60)}.{_some(ALNUM + '_-', 43)}",
    "pem": _pem,
    "bearer": lambda: "Bearer " + _some(ALNUM, 24, 40),
    "basic": _basic,
    "gitlab": lambda: "glpat-" + _some(ALNUM + "_-", 20),
    "xai": lambda: "xai-" + _some(ALNUM, 80),
    "groq": lambda: "gsk_" + _some(ALNUM, 52),
    "npm": lambda: "npm_" + _some(ALNUM, 36),
    "pypi": lambda: "pypi-AgEIcHlwaS5vcmc" + _some(ALNUM + "_-", 100, 160),
    "sendgrid": lambda: f"SG.{_some(ALNUM + '_-', 22)}.{_some(ALNUM + '_-', 43)}",
    "digitalocean": lambda: "dop_v1_" + _some("0123456789abcdef", 64),
    "shopify": lambda: "shpat_" + _some("0123456789abcdef", 32),
    "perplexity": lambda: "pplx-" + _some(ALNUM, 48),
    "nvidia": lambda: "nvapi-" + _some(ALNUM + "_-", 64),
    "tavily": lambda: "tvly-dev-" + _some(ALNUM, 32),
    "azure": lambda: f"DefaultEndpointsProtocol=https;AccountName=a;AccountKey={_some(ALNUM + '+/', 86)}==",
    "--option": lambda: f"deploy --{RANDOM.choice(['password', 'token', 'api-key'])} {_some(ALNUM, 8, 20)}",
    "curl": lambda: f"curl -sS -u admin:{_some(ALNUM, 8, 20)}",
    "apikey header": lambda: f"Authorization: ApiKey {_some(ALNUM, 20, 40)}7",
    "url": lambda: f"postgres://app:{_some(ALNUM + '!$%', 10, 20)}@db.example.org:5432/app",
    "api_key=": lambda: RANDOM.choice(["api_key", "API_KEY", "apikey"]) + "=" + _some(ALNUM, 16, 32),
    "password=": lambda: RANDOM.choice(["password", "DB_PASSWORD", "passwd"]) + "=" + _some(ALNUM + "!%*", 8, 20) + "7",
    "aws secret": lambda: "aws_secret_access_key = " + _some(ALNUM + "/+", 40),
    '"secret": ""': lambda: f'"client_secret": "{_some(ALNUM, 12, 40)}"',
    "token: ''": lambda: f"accessToken: '{_some(ALNUM, 12, 40)}'",
    "<element>": lambda: RANDOM.choice(["<password>{}</password>", "<a:apiKey b='c'>{}</a:apiKey>"]).format(
        _some(ALNUM, 8, 20)
    ),
    "signed url": lambda: f"https://a.blob.core.windows.net/b?sv=2024&sig={quote(_some(ALNUM + '+/', 43))}%3D",
}
WRAPPINGS: dict[str, Callable[[str], object]] = {
    "prose": lambda text: f"First we tried {text} and it worked.",
    "json in a text": lambda text: json.dumps({"headers": {"x": text}, "n": 1}),
    "url": lambda text: f"https://example.org/v1/{text}?page=2",
    "nested dict": lambda text: {"a": {"b": [{"c": text}]}},
    "list": lambda text: ["before", text, "after"],
    "bytes": lambda text: f"GET / HTTP/1.1\r\nX-It: {text}\r\n".encode(),
    "exception": lambda text: ValueError(f"refused: {text}"),
    "repr": lambda text: _Holder(text),
}


class _Holder:
    def __init__(self, text: str) -> None:
        self.text = text

    def __repr__(self) -> str:
        return f"Holder(text={self.text!r})"


def _core(planted: str) -> str:
    """The middle of the secret: no part of it that is this long may be left."""
    secret = planted.split("@db.")[0].split("</")[0].rstrip("\"'").split("\n")[len(planted.split("\n")) // 2]
    return secret[-8:]


def _visible(body: str) -> str:
    """A body with what its base64 holds."""
    value = json.loads(body)["params"]
    if isinstance(value, dict) and "$bytes" in value:
        return base64.b64decode(value["$bytes"]).decode()
    return body


@pytest.mark.parametrize("wrapping", WRAPPINGS)
@pytest.mark.parametrize("shape", SHAPES)
def test_a_planted_secret_is_not_written(shape: str, wrapping: str) -> None:
    """At least 99 of 100 secrets of every shape are removed, however wrapped, and the event says so."""
    missed, many = [], examples(25)
    for _ in range(many):
        planted = SHAPES[shape]()
        body = ENCODER.encode({"params": WRAPPINGS[wrapping](planted)})
        if _core(planted) in _visible(body) or not json.loads(body).get("notes", {}).get("redacted"):
            missed.append((planted, body))
    assert len(missed) <= max(1, many // 100), missed[0]


def test_programs_hold_few_false_secrets() -> None:
    """At most five hits in a megabyte of Python source, where tokens and passwords are talked about a lot."""
    files = sorted(Path(os.__file__).parent.glob("*.py"))
    texts = [path.read_text("utf-8", "replace") for path in files]
    hits = sum(REDACTOR.clean(text)[1] for text in texts)
    assert hits <= 5 * sum(map(len, texts)) / 1e6


@pytest.mark.parametrize(
    "text",
    [
        '{"usage": {"prompt_tokens": 41, "completion_tokens": 7, "max_tokens": 512}}',
        "the tokenizer splits a token: it is a piece of a word",
        "a risk-averse-and-rather-long-winded-description of a task-management-system",
        "token = next(tokens)  # password = getpass()",
        "my secret is that I never sleep; ask mail@example.org or see https://example.org/basic/bearer",
        "AI Assistant, ASIA and AKIA; 3f2504e0-4f89-41d3-9a0c-0305e82c3301",
        "Bearer of bad news, basic understanding",
        "the author authenticated with his keys: key=7, sort_key=created_at, cache_key: user:12:profile",
        "PWD=/home/ada, pwd=/tmp and OLDPWD=/root; run --token <TOKEN> or --password PASSWORD, docker -u 1000:1000",
        "def connect(auth: AuthTypes = None, cookies: CookieTypes | None = None, password=None, token=token)",
        '<label for="password">Password</label> <h1>Your token</h1> <Key>a/b.txt</Key> <token>{token}',
        "?sig=short&design=0123456789abcdef0123456789; sig=inspect.signature(find), sig=0123456789abcdef0",
        "pass=3 fail=1; first_pass: 12345678, a cookie: the best one, sk-ecdsa-sha2-nistp256@openssh.com",
        "Incorrect API key provided; no API key provided: set OPENAI_API_KEY; the API key provided is not valid",
        "Invalid API key: please check your settings. Invalid API key: unauthorized.",
        "OPENAI_API_KEY=\nMODEL=gpt-4o\nDB_PASSWORD=\r\nDB_HOST=db1",
        "Invalid token provided: expected a string but got null; invalid key: session_id is invalid",
    ],
)
def test_innocent_text_is_left_alone(text: str) -> None:
    """Words that only look like the beginning of a secret stay as they are."""
    assert REDACTOR.clean(text) == (text, 0)


@pytest.mark.parametrize(
    ("name", "label"),
    [
        ("password", "password"),
        ("db_password", "password"),
        ("X-Api-Key", "api_key"),
        ("apiKey", "apikey"),
        ("Authorization", "authorization"),
        ("accessToken", "token"),
        ("token", "token"),
        ("client_secret", "secret"),
        ("AWS_SECRET_ACCESS_KEY", "access_key"),
        ("db_pass", "db_pass"),
        ("pwd", "pwd"),
        ("DB_PWD", "pwd"),
        ("userPwd", "pwd"),
        ("passwd", "passwd"),
        ("credentials", "credentials"),
        ("Cookie", "cookie"),
        ("Set-Cookie", "cookie"),
        ("auth", "auth"),
        ("proxyAuth", "auth"),
        ("openai_key", "openai_key"),
        ("AccountKey", "accountkey"),
        ("PWD", ""),
        ("OLDPWD", ""),
        ("pass", ""),
        ("first_pass", ""),
        ("tokens", ""),
        ("author", ""),
        ("authenticated", ""),
        ("oauth_state", ""),
        ("nextPageToken", ""),
        ("page_token", ""),
        ("NextToken", ""),
        ("Continuation-Token", ""),
        ("syncToken", ""),
        ("pageAccessToken", "token"),
        ("next_access_token", "token"),
        ("prompt_tokens", ""),
        ("max_tokens", ""),
        ("tokenizer", ""),
        ("token_count", ""),
        ("subtoken", ""),
        ("secretary", ""),
        ("key", ""),
        ("monkey", ""),
    ],
)
def test_names_are_whole_words(name: str, label: str) -> None:
    """A name is a secret's by its last words, however they are joined, and never by a part of a word."""
    assert REDACTOR.names(name) == label


def test_what_a_secret_name_holds_goes_whatever_it_is() -> None:
    """Texts and numbers under a secret's name go; what hides nothing stays, and containers are walked."""
    params = {"password": "x", "api_key": 12345678, "token": None, "secret": {"a": 1}, "authorization": ""}
    assert json.loads(ENCODER.encode({"params": params}))["params"] == {
        "password": "[redacted:password]",
        "api_key": "[redacted:api_key]",
        "token": None,
        "secret": {"a": 1},
        "authorization": "",
    }


@pytest.mark.parametrize(
    ("name", "value", "goes"),
    [
        ("openai_key", "abc", True),
        ("password", "hunter", True),
        ("auth", ["user", "pass"], True),
        ("cookies", {"sid": "abc"}, True),
        ("credentials", [{"user": "a", "word": "b"}], True),
        ("pwd", "open sesame", True),
        ("pwd", "/home/ada", False),
        ("pwd", "C:\\Users", False),
        ("signature_key", "9f8Kq2LmZx81Tyw0Pb3R", True),
        ("cache_key", "3f2504e0-4f89-41d3-9a0c-0305e82c3301", False),
        ("cache_key", "3f2504e0aaaaaaaaaaaaaaaaaaaaaaaa", True),
        ("cache_key", "2026113012345678", False),
        ("sort_key", "created_at_and_then_by_name", False),
        ("citation_key", "vaswani2017attentionIsAllYouNeed", False),
        ("foreign_keys", ["order_id", "customer_id_of_2024"], False),
        ("row_key", 12345678901234567890, False),
        ("key", "9f8Kq2LmZx81Tyw0Pb3R", False),
        ("auth", {"kind": "none"}, False),
    ],
)
def test_a_name_and_what_it_names(name: str, value: object, goes: bool) -> None:
    """A secret's name takes any value; `pwd` no folder, and another `…_key` only what looks random."""
    body = ENCODER.encode({"params": {name: value}})
    assert (json.loads(body)["params"][name] != value) is goes
    assert ("redacted" in body) is goes


@pytest.mark.parametrize(
    ("entry", "goes"),
    [
        ({"name": "DB_PASSWORD", "value": "swordfish"}, True),
        ({"key": "api-token", "type": "text", "value": "swordfish"}, True),
        ({"ParameterKey": "DbPassword", "ParameterValue": 12345678}, True),
        ({"Name": "level", "Key": "ApiSecret", "Value": b"swordfish"}, True),
        ({"name": "level", "value": "debug"}, False),
        ({"name": "cache_key", "value": "user:12:profile"}, False),
        ({"name": "DB_PASSWORD", "value": None}, False),
        ({"name": "DB_PASSWORD", "valueFrom": "vault"}, False),
        ({"name": "What is the token", "value": "a piece"}, False),
        ({"name": "token", "value": {"type": "string"}}, False),
    ],
)
def test_an_entry_of_a_list_of_variables(entry: dict[str, object], goes: bool) -> None:
    """A value is a secret if the name before it is one, also when all names and texts are known."""
    encode = Encoder(redactor=Redactor()).encode
    for text in ("DB_PASSWORD", "api-token", "swordfish", "text"):
        encode({"params": {"key": "first", "name": "first", "type": "text", "value": text}})
    for _ in range(3):
        body = encode({"params": {"env": [{"name": "first", "value": "one"}, entry]}})
        assert ("[redacted:" in body, '{"name":"first","value":"one"}' in body) == (goes, True)


def test_an_object_that_is_an_entry_of_a_list_of_variables() -> None:
    """Objects as clients of Kubernetes have them."""
    shown = json.loads(ENCODER.encode({"params": [_Variable("API_TOKEN", "swordfish"), _Variable("LEVEL", "debug")]}))
    assert [one["value"] for one in shown["params"]] == ["[redacted:token]", "debug"]


@dataclass
class _Variable:
    name: str
    value: str


def test_arguments_of_a_command_are_seen_with_their_option() -> None:
    """In a list of arguments the one behind --password goes, whatever it looks like."""
    command = ["deploy", "--to", "prod", "--db-password", "x", "--token=y2k", "--verbose", "-u", "1000:1000"]
    shown = json.loads(ENCODER.encode({"params": {"argv": command}}))["params"]["argv"]
    assert shown == [
        *("deploy", "--to", "prod", "--db-password", "[redacted:password]", "--token=[redacted:token]"),
        *("--verbose", "-u", "1000:1000"),
    ]


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("password=letmein", "password=[redacted:password]"),
        ("PGPASSWORD=abc psql", "PGPASSWORD=[redacted:password] psql"),
        ("https://h/x?token=abc&page=2", "https://h/x?token=[redacted:token]&page=2"),
        ("Server=h;User=a;Password=abc;", "Server=h;User=a;Password=[redacted:password];"),
        ('{"password": "abc", "user": "ada"}', '{"password": "[redacted:password]", "user": "ada"}'),
        ("mysql --password x", "mysql --password [redacted:password]"),
        ("curl -u ada:abc https://h", "curl -u ada:[redacted:password] https://h"),
        ("Cookie: sid=abc; lang=en", "Cookie: [redacted:cookie]"),
        ("postgres://app:p@ss@db/x", "postgres://app:[redacted:url]@db/x"),
        ("postgres://app:p@ssW0rdX/y@db/x", "postgres://app:[redacted:url]@db/x"),
        ("postgres://app:aa/Bc9dEfG@db/x", "postgres://app:[redacted:url]@db/x"),
        ("PostgreSQL+psycopg2://app:a?b#c:d/e@db/x", "PostgreSQL+psycopg2://app:[redacted:url]@db/x"),
        ("URL:\\npostgres://app:a/b@db/x", "URL:\\npostgres://app:[redacted:url]@db/x"),
        ("redis://:a/b@h1,redis://:c/d@h2", "redis://:[redacted:url]@h1,redis://:[redacted:url]@h2"),
        ('{"to": "amqps://app:a/b@mq", "of": "me@h"}', '{"to": "amqps://app:[redacted:url]@mq", "of": "me@h"}'),
        ("JDBC:oracle:thin:scott/p/a@ss@//h:1521/x", "JDBC:oracle:thin:scott/[redacted:url]@//h:1521/x"),
        ("Authorization: ApiKey abc123", "Authorization: ApiKey [redacted:authorization]"),
        (
            "<db><user>ada</user><password>abc</password></db>",
            "<db><user>ada</user><password>[redacted:password]</password></db>",
        ),
        (
            '<w:Password Type="#Text">\n  a b\n</w:Password>',
            '<w:Password Type="#Text">\n  [redacted:password]</w:Password>',
        ),
        ("<secret><![CDATA[a]b]]></secret>", "<secret><![CDATA[[redacted:secret]]]></secret>"),
        ("https://h/x?X-Amz-Signature=" + "0a" * 32, "https://h/x?X-Amz-Signature=[redacted:signature]"),
        ("https://h/x?a=1&amp;sig=" + "Zq7Wkv" * 4 + "=&b=2", "https://h/x?a=1&amp;sig=[redacted:signature]&b=2"),
    ],
)
def test_short_and_plain_secrets_in_a_text(text: str, shown: str) -> None:
    """Where only a secret can be, it is removed, however short and plain."""
    assert REDACTOR.clean(text)[0] == shown


@pytest.mark.parametrize(
    "text",
    [
        "Incorrect API key provided: VALUE. You can find your API key at https://platform.openai.com/account/api-keys.",
        "Error code: 401 - {'error': {'message': 'Incorrect API key provided: VALUE. You can find it', 'param': None}}",
        "Invalid API key: VALUE",
        'raise AuthenticationError("invalid API key: VALUE")',
        "Invalid access token provided: VALUE\nRetry",
        'API key "VALUE" is not valid',
    ],
)
@pytest.mark.parametrize("value", ["Zq81kdLsPw", "qwertyzxcvbn", "abcd******wxyz"])
def test_a_key_in_an_error_of_a_provider_is_not_written(text: str, value: str) -> None:
    """A key without a known beginning is found by the words of the error that refuses it."""
    text = text.replace("VALUE", value)
    written = Encoder(redactor=REDACTOR).encode({"details": text, "plain": "x"})
    assert value not in written
    assert "[redacted:" in written


def test_a_key_that_is_not_valid_is_not_written() -> None:
    """Without quotes only what no word looks like: the key parameter may be invalid, too."""
    assert REDACTOR.clean("api key hunter22abc is not valid")[1] == 1
    assert REDACTOR.clean("The API key parameter is not valid")[1] == 0


def test_tokens_of_a_model_are_no_secrets() -> None:
    """A token with its probability beside it is a piece of text, as in the logprobs of a completion."""
    piece = {"token": " Hello", "logprob": -0.3}
    assert json.loads(ENCODER.encode({"returns": [piece]}))["returns"] == [piece]


def test_secrets_under_one_name_in_a_list() -> None:
    """A list under a secret's name holds secrets."""
    assert "hunter2" not in ENCODER.encode({"params": {"passwords": ["hunter2"]}})


@pytest.mark.parametrize(
    "secret",
    [
        'quo"ted\\one',
        "påsswörd-ß",
        "with space & more",
        "line\nbreak-it",
        "plainliteral",
        "a'b/c=d+e<f>g&h",
        'it\'s "x/y"=1',
        "Abc/def+ghi=12",
        "aB3dE6gH9jK2/mN5+pQ8==",
    ],
)
def test_a_literal_is_found_in_every_form(secret: str) -> None:
    """A given secret is found as it is, in JSON, in JSON in JSON, in a URL, HTML, Python or bytes, and as a key."""
    encode = Encoder(redactor=Redactor(secrets=[Secret(secret, "env MINE")])).encode
    inside = json.dumps({"a": secret})
    for value in (
        secret,
        inside,
        json.dumps([inside]),
        f"https://h/{quote(secret)}",
        f"https://h/?q={quote(quote(secret, safe=''), safe='')}" if secret.isascii() else quote(secret, safe=""),
        {secret: 1},
        secret.encode(),
        repr({"a": secret}),
        repr({"a": secret, "b": "'\""}),
        repr(secret.encode()),
        html.escape(secret),
        html.escape(secret, quote=False),
        html.escape(secret).replace("&#x27;", "&#39;"),
        json.dumps({"html": html.escape(secret)}),
        secret.replace("/", "\\/"),
        inside.replace("/", "\\/"),
        _as_go_writes_it(inside, "<>&"),
        _as_go_writes_it(inside, "<>&='"),
        json.dumps([_as_go_writes_it(inside, "<>&='")]),
    ):
        body = encode({"params": value})
        shown = base64.b64decode(json.loads(body)["params"]["$bytes"]).decode() if isinstance(value, bytes) else body
        assert "[redacted:env MINE]" in shown
        assert secret not in json.dumps(json.loads(body), ensure_ascii=False)


def _as_go_writes_it(text: str, signs: str) -> str:
    return "".join(f"\\u{ord(sign):04x}" if sign in signs else sign for sign in text)


def test_own_patterns_keys_and_hook() -> None:
    """The user's own patterns, names, and a function that gets every text with its name are applied."""
    redactor = Redactor(
        patterns=[r"\bemp-\d{4}\b"],
        keys=["card_number"],
        hook=lambda name, text: text.upper() if name == "shout" else text,
    )
    body = json.loads(
        Encoder(redactor=redactor).encode({"params": {"who": "emp-1234", "cardNumber": 4111, "shout": "hi"}})
    )
    assert body["params"] == {
        "who": "[redacted:pattern]",
        "cardNumber": "[redacted:cardnumber]",
        "shout": "HI",
    }


def test_own_keys_pass_the_quick_look() -> None:
    """A name given by the user is found by an encoder that has nothing else to look for."""
    encode = Encoder(redactor=Redactor(keys=["card number"])).encode
    for name in ("card_number", "cardNumber", "CARD-NUMBER", "Card Number"):
        assert "4111" not in encode({"params": {name: "4111"}})
    assert "4111" in encode({"params": {"discard_numbers": "4111"}})


def test_a_hook_that_fails_lets_nothing_through() -> None:
    """A text the hook could not judge is not written."""
    encode = Encoder(redactor=Redactor(hook=lambda name, text: 1 / 0)).encode  # type: ignore[arg-type, return-value]
    assert json.loads(encode({"params": "private"}))["params"] == "[redacted:hook failed]"


def test_environment_secrets() -> None:
    """Only values that an environment calls secret are taken, and only those that can be one."""
    environ = {
        "OPENAI_API_KEY": "abcdefgh12345",
        "DATABASE_URL": "postgres://app:s3cretpass@db/x",
        "BROKER": "amqp://localhost/ amqp://app:s3/cr@t/pass@mq/x",
        "DB_PASSWORD": "hunterhunter",
        "SIGN_KEY": "0123456789abcdef",
        "SORT_KEY": "created_at_and_more",
        "PATH": "/usr/bin",
        "HOME": "/root",
        "TOKENIZERS_PARALLELISM": "falsefalse",
        "SSH_PRIVATE_KEY": "/root/.ssh/id",
        "API_TOKEN": "short",
        "SMTP_PASS": "hunter2",
        "OLDPWD": "/home/ada/projects",
        "PASSWORD": "changeme",
        "TOKEN": "https://example.org/token",
    }
    secrets = {str(secret): getattr(secret, "label", "") for secret in environment_secrets(environ)}
    assert secrets == {
        "abcdefgh12345": "env OPENAI_API_KEY",
        "s3cretpass": "env DATABASE_URL",
        "s3/cr@t/pass": "env BROKER",
        "hunterhunter": "env DB_PASSWORD",
        "hunter2": "env SMTP_PASS",
        "0123456789abcdef": "env SIGN_KEY",
    }


@pytest.mark.parametrize(
    "name",
    "DB_PASSWORD DbPassPhrase MY_PWD API_KEY ssh.keys ACCESS_TOKEN SECRETS Session-Cookie BASIC_AUTH AUTHORIZATION "
    "GOOGLE_CREDENTIALS MYSQL_PASS Login-Cookies".split(),
)
def test_an_environment_knows_every_name_of_a_secret(name: str) -> None:
    """The words that are looked for first in a name miss no such name."""
    assert environment_secrets({name: "hunter22"}) == ["hunter22"]


FRAGMENTS = st.sampled_from(
    [
        "password",
        "Pass-Word",
        "passphrase",
        "API_KEY",
        "apiKey",
        "api key",
        "secret",
        "Token",
        "token",
        "authoriZation",
        "access.key",
        "private_key",
        "=",
        ": ",
        '":"',
        '\\": \\"',
        "'",
        '"',
        " ",
        "\n",
        "hunter22",
        "sk-",
        "sk-ant-",
        "AKIA",
        "ABCDEFGHIJKLMNOP",
        "ghp_",
        "abcdefghij0123456789ABCD",
        "hf_",
        "xoxb-",
        "xapp-",
        "AIza",
        "eyJabcdefgh",
        ".",
        "Bearer ",
        "basic ",
        "dXNlcjpwYXNz",
        "://",
        "user:pw",
        "@",
        "-----BEGIN RSA ",
        "PRIVATE KEY",
        "-----",
        "-----END",
        "sk_live_",
        "github_pat_",
        *"--password |--token|--api-key |-u |curl |pwd|auth|cookie: |Set-Cookie|db_pass|smtp pass|credentials".split(
            "|"
        ),
        *"glpat-|xai-|gsk_|npm_|pypi-|SG.|dop_v1_|shpat_|AccountKey|openai_key|sort-key|ApiKey |authorization".split(
            "|"
        ),
        *"<|>|</|&|sig=|X-Goog-Signature=".split("|"),
        *"""name|value|key|name: |value: |key="| value="|/>|"name": "|", "value": "|ApiSecret|API_TOKEN|EAAA""".split(
            "|"
        ),
        "0123456789abcdef0123456789abcdef",
        "é",
        "\\",
        "{",
        *(LITERALS := ["given-secret", "Zq7Wkv-X", "zzzz", 'é"\\é"', '""""']),
    ]
)
TEXTS = st.lists(FRAGMENTS, max_size=8).map("".join)


@settings(max_examples=examples(150))
@given(
    st.recursive(
        TEXTS | st.integers(0, 99),
        lambda inner: st.lists(inner) | st.dictionaries(TEXTS, inner),
        max_leaves=6,
    ),
    st.sampled_from(LITERALS),
)
@example(['""""'], '""""')
def test_the_quick_look_overlooks_nothing(value: object, literal: str) -> None:
    """Any text that a full search would redact is suspected by the quick look at its JSON."""
    fields: dict[str, object] = {"params": value}
    quick = Redactor(secrets=[literal], keys=["hunter22"])
    thorough = Redactor(secrets=[literal], keys=["hunter22"])
    thorough.suspects = lambda body: True
    expected = Encoder(redactor=thorough).encode(fields)
    assert Encoder(redactor=quick).encode(fields) == expected
    if not quick.suspects(dumps(fields)):
        assert "redacted" not in expected


_SUSPECT = """key=1 keys: data token="a ken=1 cookie=a kies: ker login hooks_slack hooks/x ask_me k_live_ k_test_
k_prod_ key_0123456789abcdef0123456789abcdef key_____ key block_____ private key secret.key signing_key k_other taken
keyboard sk0123456789abcdef0123456789abcdef passw pass_phrase pass pass_p pwd seed phrase recovery_phrase seedphrase
pace backup phrase secret phrase dapi0123456789abcdef0123456789abcdef cret secrets credential credentials create uth
auth authorization author truth a__user __1 my_u my_us1 my_use _p1 x _p1 \\n_p1 \\r_px n_p1 x _p word x _a y
id_abcdefghij0123456789 id_abcdefghij012345678 abcdefghij0123456789_id a/_abcdefghij/0123+6789_
01a22722_2d02_7fdc_aa31_1c8ef068c643
01a22722_2d02_7fdc_aa31_1c8ef068c6434 01a22722_zd02_7fdc_aa31_1c8ef068c643
AKIA ASIA ABIA ACCA AIza ATATT3 ATCTT3 ATBB ABSK AKCp ATTT3 ABC
AAabcdefghijabcdefghijabcdefghij012 AAabcdefghijabcdefghijabcdefghij01 Aa"""


def _quick_look_at_the_start() -> Any:
    spec = importlib.util.spec_from_file_location("quick_look_at_the_start", quick_look.__file__)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_first_texts_are_searched_like_all_others() -> None:
    """The words that are looked for until a pattern is compiled are in every text that the pattern finds."""
    module = _quick_look_at_the_start()
    words = [*_SUSPECT.splitlines(), *_SUSPECT.split(), *re.findall(r"\S+ \S+", _SUSPECT), "bearer x", "basic x"]
    texts = {(word + end).encode() for word in words for end in ("", "=", " is ", '":')}
    outcomes = set()
    for name in ("_k", "_p", "_c", "_u", "_b", "_underscore", "_capital_a"):
        made = inspect.getclosurevars(getattr(module, name)).nonlocals
        search = re.compile(module._fill_in(made["pattern"])).search
        for text in texts:
            first = module._search(name, made["pattern"], *made["words"], unless=made["unless"])
            assert bool(first(text)) == bool(search(text)), (name, text)
            outcomes.add((name, bool(search(text))))
    assert len(outcomes) == 14


def test_names_of_the_environment_are_judged_by_the_pattern_of_secret_names() -> None:
    """The ends that are looked at first let no name of a secret pass, and add none."""
    pattern = re.compile(rf"(?:{NAME})\Z")
    ends = (
        "password passwords pass_wd passphrase key keys db_pass authorization credential credentials key_data mnemonic"
    )
    ends += " seed-phrase token secret secrets cookie cookies auth pwd passed keyboard tokens api_key access_key"
    for before in ("", "MY_", "my", "my_", "API_", "eos_", "EOS_", "x.", "API ", "private-", "9"):
        for end in ends.split():
            for name in (before + end, (before + end).upper(), before + end.title()):
                assert redact._is_secrets_name(name) == (pattern.search(name) is not None), name


@pytest.mark.parametrize(
    "hostile",
    [
        "sk-",
        "eyJ-",
        "eyJaaaaaa.",
        "-----BEGIN PRIVATE KEY-----",
        "://a:",
        "password=",
        'password: \\"',
        'token="',
        "Bearer ",
        "basic a",
        "hf_a",
        "a",
        "a-",
        "xoxb-",
        " ",
        "\\",
        "1=",
        "api_",
        "AIza",
        "--a ",
        "--password ",
        "curl -u a:",
        "cookie: a",
        "cookie: a=",
        "authorization: a ",
        "glpat-a",
        "SG.a",
        "pass",
        "auth=",
        ">",
        "</",
        "</password",
        ">a",
        ">a</password>",
        "]",
        "&sig=",
        'name="token" ',
        'name="token", value',
        '<a key="token" x',
        '"name": "token", "value": ',
        "name: token\n",
        "name: token\nvalue:",
        "EAAA",
        "api key a",
        "api key provided: ",
        "invalid api key: aaaaaaaa ",
        "%253D",
        "token%3D",
        r"token\u003d",
        "&amp;",
        "&amp;#61;",
        "token\x1b[31m",
        "\x1b]8;;",
        r"\u001b]8;;",
        "token^[[",
        "=3D",
        "token\\",
        '["token","',
        "('token', 'a1', ",
        "| token ",
        "password: |\n  ",
        "password: |\n  aaaa1\n  ",
        'name="token"\r\n',
        'name="token"\r\n\r\n',
        '"mysql","-p',
        '"-u","a:',
        '--password","',
        "token: a[",
        "token: a | ",
        "api_key=SecretStr(",
        'x["token"]',
    ],
)
def test_time_is_linear(hostile: str) -> None:
    """Four times as much of the worst text takes nowhere near sixteen times as long."""

    def cost(size: int) -> float:
        text = hostile * (size // len(hostile))
        start = process_time()
        REDACTOR.clean(text)
        return process_time() - start

    # Measured side by side: a machine that is busy slows down both, and one pair that fits is proof.
    small = sized(10_000, 20_000)
    assert any(cost(4 * small) < 10 * min(cost(small), cost(small)) + 0.03 for _ in range(5))


@given(TEXTS)
@example("-u sk-ABCDEFGHIJKLMNOP")
@example("-u passwordAKIAABCDEFGHIJKLMNOP")
def test_redaction_is_done_once(text: str) -> None:
    """A redacted text stays the same the second time, as for an event that is recorded twice."""
    once, _ = REDACTOR.clean(text)
    assert REDACTOR.clean(once)[0].count("[redacted:") == once.count("[redacted:")


@settings(max_examples=60, deadline=None)
@example(["", "xoxb-xoxb-hunter22"])
@given(
    st.lists(
        st.recursive(TEXTS, lambda inner: st.lists(inner) | st.dictionaries(TEXTS, inner), max_leaves=4),
        min_size=2,
        max_size=5,
    )
)
def test_what_was_seen_before_hides_nothing(values: list[object]) -> None:
    """Texts and names that are known to be clean are not looked at again; the others are, wherever they stand."""
    encoder = Encoder(redactor=Redactor(secrets=["given-secret"]))
    thorough = Redactor(secrets=["given-secret"])
    thorough.suspects = lambda body: True
    for value in [*values, values, *values]:
        assert encoder.encode({"params": value}) == Encoder(redactor=thorough).encode({"params": value})


def test_a_value_that_is_known_later_is_found_behind_escapes() -> None:
    """Which parts of a text have their escapes undone depends on the values that are known by then."""
    environ: dict[str, str] = {}
    redactor = Redactor(environ=environ)
    text = "the kite\x1b[0m$hunter22 flies"
    assert redactor.clean(text) == (text, 0)
    environ["DB_PASSWORD"] = "kite$hunter22"
    redactor.look_again()
    assert redactor.clean(text) == ("the [redacted:env DB_PASSWORD] flies", 1)


def test_a_text_that_was_clean_may_be_a_name_or_a_secret_later() -> None:
    """A word that is harmless as a text is not as a name, nor once the environment has it as a secret."""
    environ: dict[str, str] = {}
    encoder = Encoder(redactor=Redactor(environ=environ))
    for _ in range(2):
        assert encoder.encode({"params": ["token", "plain-word-77", 1]}) == '{"params":["token","plain-word-77",1]}'
        assert "[redacted:token]" in encoder.encode({"params": {"token": "plain-word-77"}})
    environ["SOME_TOKEN"] = "plain-word-77"
    assert "plain-word-77" not in encoder.encode({"params": ["token", "plain-word-77"]})


def test_few_clean_texts_are_remembered() -> None:
    """A process that records new texts all the time keeps at most a megabyte of them."""
    redactor = Redactor()
    encoder = Encoder(redactor=redactor)
    most = 0
    for number in range(3_000):
        encoder.encode({"params": {f"name {number}": f"{number} " * 150}})
        most = max(most, sum(map(len, redactor.known.texts)) + sum(map(len, redactor.known.names)))
    assert 100_000 < most < 1 << 20


def test_the_names_of_a_dict_are_remembered_together() -> None:
    """After each of them is known; few such sets are kept, and none of a dict with very many names."""
    redactor = Redactor()
    encoder = Encoder(redactor=redactor)
    known = redactor.known
    for _ in range(2):
        encoder.encode({"params": {"limit": 1, "query": "x"}})
    # As it may be written ahead of what follows, each of the two adds the same to the texts of the names.
    beside = known.shapes[("limit", "query")] - known.names["limit"] - known.names["query"]
    assert beside == 2 * known.shapes[("params",)] - 2 * known.names["params"] > 0
    many = [f"n{number}" for number in range(100)]
    for number in range(100):
        for other in many[:9]:
            for _ in range(2):
                encoder.encode({"params": {many[number]: 1, other: 2}, "returns": dict.fromkeys(many)})
    assert 100 < len(known.shapes) <= 256
    assert max(map(len, known.shapes)) == 2
