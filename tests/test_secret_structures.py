"""Secrets that only their place makes secrets: an argument behind an option, one of a pair, a line of a program."""

from __future__ import annotations

import json
from typing import Any

import pytest

from localops.encoding.encode import Encoder, dumps
from localops.encoding.redact import Redactor

SECRET = "Zq9hunter22"


def _writings(value: Any) -> list[object]:
    """Return a value as it is, and as the texts in which agents pass it on."""
    text = value if isinstance(value, str) else json.dumps(value)
    return [
        value,
        text,
        json.dumps({"out": value}),
        json.dumps({"out": text}),
        json.dumps(value, indent=2),
        repr(value),
    ]


@pytest.mark.parametrize(
    "value",
    [
        ["curl", "-u", f"bob:{SECRET}", "https://example.org"],
        ["curl", "--user", f"bob:{SECRET}"],
        ["mysql", "-u", "root", f"-p{SECRET}", "shop"],
        ["/usr/bin/sshpass", "-p", SECRET, "ssh", "h"],
        ["redis-cli", "-h", "db", "-a", SECRET],
        ["docker", "login", "-u", "me", "-p", SECRET],
        ["tool", "--password", SECRET, "-v"],
        ["tool", "--api-key", SECRET],
        ["bash", "-lc", f"curl -u bob:{SECRET} https://example.org"],
        f"curl --user bob:{SECRET} https://example.org",
        [["x-api-key", SECRET], ["accept", "*/*"]],
        {"headers": [["Authorization", f"Bearer {SECRET}"]]},
        [["Cookie", f"sid={SECRET}"]],
        [{"op": "replace", "path": "/db/password", "value": SECRET}],
        [{"key": "db.password", "value": {"stringValue": SECRET}}],
    ],
)
def test_a_secret_in_a_structure(value: Any) -> None:
    """An argument list, pairs and entries lose the secret, as values and in each text that has them."""
    encode = Encoder(redactor=Redactor()).encode
    for written in _writings(value):
        body = encode({"params": {"v": written}})
        assert (SECRET in body, '"redacted":' in body) == (False, True), written


def test_an_option_is_not_the_value_of_another() -> None:
    """Nor is it one in a list of two."""
    encode = Encoder(redactor=Redactor()).encode
    for value in (["--token", "--verbose"], ["tool", "--password", "--stdin"]):
        for written in _writings(value):
            assert '"redacted":' not in encode({"params": {"v": written}}), written


def test_a_way_to_log_in_is_no_secret() -> None:
    """Neither behind an option nor under a name; another value there is one."""
    encode = Encoder(redactor=Redactor()).encode
    for value in (["gh", "--auth", "oauth2"], {"auth": "Basic"}, 'auth="digest"'):
        assert '"redacted":' not in encode({"params": {"v": value}}), value
    assert SECRET not in encode({"params": {"v": ["gh", "--auth", SECRET], "auth": SECRET}})


def test_a_key_is_searched_before_it_is_cut() -> None:
    """A tuple as a key, or as a name, becomes a text of limited length; a secret across its end leaves nothing."""
    encoder = Encoder(redactor=Redactor())
    token = f"ghp_{'aB3dE6gH' * 5}"
    for before in (60, 85, 1_970):
        value = (f"{'x' * before} {token} {'y' * 300}",)
        for body in (encoder.encode({"params": {value: 2}}), encoder.text(value, 2_000)):
            assert ("xxxx" in body, token[:8] in body, token[-8:] in body) == (True, False, False)


def test_pairs_of_other_kinds() -> None:
    """Tuples, bytes and the items of a dict are pairs, too; a name and its value may have been recorded before."""
    encode = Encoder(redactor=Redactor()).encode
    for value in (
        [("x-api-key", SECRET)],
        [(b"authorization", SECRET.encode())],
        {"X-Api-Key": SECRET}.items(),
        repr([(b"x-api-key", SECRET.encode())]),
        f'[\n  "x-api-key",\n  "{SECRET}"\n]',
    ):
        for _ in range(2):
            encode({"params": {"seen": ["first", "x-api-key", "last"]}})
            encode({"params": {"seen": SECRET}})
            body = encode({"params": {"v": value}})
            assert ("[redacted:" in body or '"redacted":1' in body, SECRET in body) == (True, False)


@pytest.mark.parametrize(
    "text",
    [
        'password: str = "SECRET"',
        "password: str | None = 'SECRET'",
        "    api_key: SecretStr = SecretStr('SECRET')",
        'Client(api_key=SecretStr("SECRET"), n=1)',
        'let api_key: &str = "SECRET";',
        "const apiToken: string = 'SECRET';",
        'os.environ["OPENAI_API_KEY"] = "SECRET"',
        "process.env['API_TOKEN'] = 'SECRET'",
        "password: |\n  SECRET\nhost: x",
        "db:\n  password: >-\n    SECRET\n    aB3dE6SECRET\n  host: x",
        "password: !!str SECRET",
        "password: &shared SECRET",
        "| password | SECRET |",
        "| user | `api_token` | `SECRET` |",
        'Content-Disposition: form-data; name="password"\r\n\r\nSECRET\r\n--b',
        'Content-Disposition: form-data; name="api_token"\r\nContent-Type: text/plain\r\n\r\nSECRET\r\n--b',
        "*password*: SECRET",
        "__password__: SECRET",
    ],
)
def test_a_secret_in_a_program_a_file_or_a_form(text: str) -> None:
    """Behind a type, an index, a tag or the sign of a block, in the cell of a table and the part of a form."""
    encode = Encoder(redactor=Redactor()).encode
    planted = text.replace("SECRET", SECRET)
    for written in (planted, json.dumps({"out": planted}), json.dumps({"in": json.dumps({"out": planted})})):
        body = encode({"params": {"v": written}})
        assert (SECRET in body, '"redacted":' in body) == (False, True), written


@pytest.mark.parametrize(
    "value",
    [
        [["token", "string"], ["password", "the password of the user"]],
        [["token", "count"], ["the", "5"]],
        ["password", "name"],
        ["token", 12345678],
        ["find", "-path", "a/b1", "-print"],
        ["docker", "run", "-u", "1000:1000", "-p", "8080:80"],
        ["mkdir", "-p", "a/b1"],
        ["psql", "-U", "ada"],
        ["curl", "-u", "$USER:$PASS", "--user", "$USER:$PASS"],
        {"required": ["password", "token"], "in": "auth"},
        "password: |\n  Enter the password of 8 letters.\n",
        "| token | a piece of a word |\n| password | yes |",
        "token: str = ''",
        'if d["token"] == "abc1": go()',
        'assert token == "abc1"',
        "fetch(u, {credentials: 'include'})",
        {"credentials": "same-origin"},
        "get(url, auth=(user, pw))",
        "non-fungible token: ERC721",
        "API_KEY=your-api-key-here",
        "OPENAI_API_KEY=sk-...",
        "curl -u $USER:$PASS https://example.org",
        'os.getenv("DB_PASSWORD", "default")',
        'option("--api-token", "api_token", type=str)',
        'request.headers["Authorization"] = f"Bearer {token}"',
        {"nextPageToken": "CAUQAA12"},
        {"page_token": "abc12", "next_token": "1!abc", "NextToken": "eyJ2", "syncToken": "CPDA12"},
        {"continuationToken": "1!abc", "sync_token": "a1", "cursor": "a1", "x-continuation-token": "b2"},
        "GET /list?pageToken=abc12&next_page_token=1abc",
    ],
)
def test_what_only_resembles_one_stays(value: Any) -> None:
    """Names of columns and types, options of other commands, comparisons, and the tokens of pages."""
    encode = Encoder(redactor=Redactor()).encode
    for written in (value, json.dumps(value)):
        assert encode({"params": {"v": written}}) == dumps({"params": {"v": written}}).decode()


def test_the_value_of_a_page_token_may_have_the_shape_of_a_secret() -> None:
    """Its name does not make it one, and does not protect it."""
    key = "ghp_" + "aB3dE6" * 6
    body = Encoder(redactor=Redactor()).encode(
        {"params": {"page_token": key, "access_token": "x1", "pageAccessToken": "y"}}
    )
    assert json.loads(body)["params"] == {
        "page_token": "[redacted:github]",
        "access_token": "[redacted:token]",
        "pageAccessToken": "[redacted:token]",
    }
