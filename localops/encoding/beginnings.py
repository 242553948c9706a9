"""A table of the prefixes of keys and tokens of known services, and of what follows each prefix."""

from __future__ import annotations

import re
from functools import cache

from localops.encoding.urls import Later

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable


def _any(_text: str) -> bool:
    return True


def _is_mixed(text: str) -> bool:
    """Return whether one of the first characters is a digit or a capital; words joined by hyphens have none."""
    return _NO_WORDS.match(text) is not None


def is_dense(text: str) -> bool:
    """Return whether it contains a long run of letters and digits that is not a word, and three digits or capitals."""
    return sum(sign.isdigit() or sign.isupper() for sign in text[:64]) >= 3 and _DENSE.search(text) is not None


def _has_digit(text: str) -> bool:
    return _DIGIT.match(text) is not None and _DENSE.search(text) is not None


_DIGIT = Later(r"\D{0,64}[0-9]")
_DENSE = Later(r"(?=[A-Za-z]{0,64}(?:[0-9]|[a-z][A-Z]|[A-Z]{2}[a-z]))[A-Za-z0-9]{8}|[A-Z]{12}|(?:[0-9]+-){2}")


def _is_encoded(rest: str) -> bool:
    return rest.startswith("eyJ")


_NO_WORDS = Later(r"[a-z_.+/=-]{0,64}[A-Z0-9]")
_ALNUM, _HEX = "A-Za-z0-9", "A-Fa-f0-9"
# Common words in programs that end like a prefix: after these, no key is expected.
_UNLESS_COMMON = {"_": r"(?:(?<!test_)|(?<=[kol]_test_))(?:(?<!auth_)|(?<=oauth_))(?<!csrf_)"}
# Label, prefixes, characters that follow, the least number of them, a test of the rest.
PREFIXED: list[tuple[str, str, str, int, Callable[[str], bool]]] = [
    ("anthropic", "sk-ant-", rf"{_ALNUM}_-", 12, is_dense),
    ("openai", "sk-", rf"{_ALNUM}_-", 16, is_dense),
    ("stripe", "sk_live_ sk_test_ sk_prod_ rk_live_ rk_test_ rk_prod_", _ALNUM, 10, _any),
    ("stripe", "whsec_", rf"{_ALNUM}+/=", 20, _is_mixed),
    ("github", "ghp_ gho_ ghu_ ghs_ ghr_", _ALNUM, 20, _any),
    ("github", "github_pat_", rf"{_ALNUM}_", 20, _any),
    (
        "gitlab",
        "glpat- gldt- glrt- glcbt- glptt- glft- glffct- glimt- glagent- gloas- glsoat- glwt-",
        rf"{_ALNUM}_.-",
        20,
        _is_mixed,
    ),
    ("slack", "xoxa- xoxb- xoxc- xoxd- xoxe- xoxo- xoxp- xoxr- xoxs- xapp-", rf"{_ALNUM}-", 20, _has_digit),
    ("xai", "xai-", rf"{_ALNUM}_-", 20, _is_mixed),
    ("groq", "gsk_", _ALNUM, 20, _is_mixed),
    ("perplexity", "pplx-", _ALNUM, 20, _is_mixed),
    ("nvidia", "nvapi-", rf"{_ALNUM}_-", 20, _is_mixed),
    ("tavily", "tvly-", rf"{_ALNUM}_-", 20, _is_mixed),
    ("elevenlabs", "sk_", _HEX, 48, _any),
    ("huggingface", "hf_ api_org_", _ALNUM, 20, _is_mixed),
    ("npm", "npm_", _ALNUM, 30, _is_mixed),
    ("pypi", "pypi-", rf"{_ALNUM}_-", 32, _is_mixed),
    ("shopify", "shpat_ shpca_ shppa_ shpss_", _HEX, 32, _any),
    ("digitalocean", "dop_v1_ doo_v1_ dor_v1_", _HEX, 32, _any),
    ("linear", "lin_api_ lin_oauth_", _ALNUM, 30, _is_mixed),
    ("notion", "ntn_ secret_", _ALNUM, 40, is_dense),
    ("langsmith", "lsv2_pt_ lsv2_sk_", rf"{_HEX}_", 32, _any),
    ("replicate", "r8_", _ALNUM, 30, _is_mixed),
    ("pinecone", "pcsk_", rf"{_ALNUM}_", 40, _is_mixed),
    ("supabase", "sbp_ sb_secret_", rf"{_ALNUM}_-", 20, is_dense),
    ("netlify", "nfp_", _ALNUM, 30, _is_mixed),
    ("grafana", "glc_ glsa_", rf"{_ALNUM}+/_=", 32, _is_mixed),
    ("fly", "fo1_ fm1r_ fm1a_ fm2_", rf"{_ALNUM}_+/=-", 40, _is_mixed),
    ("planetscale", "pscale_tkn_ pscale_pw_ pscale_oauth_", rf"{_ALNUM}_=.-", 32, _is_mixed),
    ("docker", "dckr_pat_ dckr_oat_", rf"{_ALNUM}_-", 20, _is_mixed),
    ("sentry", "sntrys_ sntryu_", rf"{_ALNUM}_+/=", 40, _is_mixed),
    ("readme", "rdme_", "a-z0-9", 60, _is_mixed),
    ("rubygems", "rubygems_", _HEX, 40, _any),
    ("prefect", "pnu_ pnb_", _ALNUM, 30, _is_mixed),
    ("shippo", "shippo_live_ shippo_test_", _HEX, 32, _any),
    ("duffel", "duffel_live_ duffel_test_", rf"{_ALNUM}_=-", 40, _is_mixed),
    ("1password", "A3-", "A-Z0-9-", 33, _any),
    ("1password", "ops_", rf"{_ALNUM}+/_=-", 100, _is_mixed),
    ("sourcegraph", "sgp_", rf"{_ALNUM}_", 40, _is_mixed),
    ("figma", "figd_ figo_", rf"{_ALNUM}_-", 36, _is_mixed),
    ("posthog", "phx_", rf"{_ALNUM}_-", 40, _is_mixed),
    ("resend", "re_", rf"{_ALNUM}_", 30, is_dense),
    ("google", "GOCSPX-", rf"{_ALNUM}_-", 20, _is_mixed),
    ("google", "ya29.", rf"{_ALNUM}_.-", 20, _is_mixed),
    ("firecrawl", "fc-", _HEX, 32, _is_mixed),
    ("mailgun", "key-", _HEX, 32, _is_mixed),
    ("postman", "PMAK-", rf"{_HEX}-", 40, _any),
    ("brevo", "xkeysib- xsmtpsib-", rf"{_ALNUM}-", 40, _any),
    ("pulumi", "pul-", _HEX, 40, _any),
    ("tailscale", "tskey-auth- tskey-api- tskey-client- tskey-webhook-", rf"{_ALNUM}-", 20, _is_mixed),
    ("cloudflare", "v1.0-", rf"{_HEX}-", 100, _any),
    ("square", "sq0atp- sq0csp-", rf"{_ALNUM}_-", 20, _is_mixed),
    ("newrelic", "NRAK- NRII-", rf"{_ALNUM}_-", 20, _is_mixed),
    ("heroku", "HRKU-", rf"{_ALNUM}_-", 40, _is_mixed),
    ("infracost", "ico-", _ALNUM, 32, is_dense),
    ("scalingo", "tk-us-", rf"{_ALNUM}_-", 40, is_dense),
    ("buildkite", "bkaa_ bkaj_ bkar_ bkct_ bkpt_ bkpat_ bkps_ bkua_", rf"{_ALNUM}_-", 40, _is_mixed),
    ("vercel", "vck_ vca_ vcr_ vci_ vcp_", rf"{_ALNUM}_-", 50, _is_mixed),
    ("polar", "polar_at_ polar_oat_ polar_pat_", rf"{_ALNUM}_-", 20, _is_mixed),
    ("circleci", "CCIPAT_", rf"{_ALNUM}_", 40, _any),
    ("clojars", "CLOJARS_", _ALNUM, 60, _any),
    ("cockroachdb", "CCDB1_", rf"{_ALNUM}_", 40, _any),
    ("cloudsmith", "csa_", _ALNUM, 36, is_dense),
    ("aikido", "AIK_CI_ AIK_SECRET_", _ALNUM, 20, _any),
    ("apify", "apify_api_", _ALNUM, 30, _is_mixed),
    ("asaas", "aact_prod_ aact_hmlg_", rf"{_ALNUM}_-", 20, _is_mixed),
    ("deno", "ddp_", _ALNUM, 36, _is_mixed),
    ("devcycle", "dvc_server_", rf"{_ALNUM}_", 24, _is_mixed),
    ("devin", "apk_user_ apk_", rf"{_ALNUM}+/=", 80, _is_mixed),
    ("devin", "cog_", "a-z0-9", 52, _is_mixed),
    ("elastic", "essu_", rf"{_ALNUM}_=-", 60, _is_mixed),
    ("ionic", "ion_", _ALNUM, 42, _is_mixed),
    ("lichess", "lip_", _ALNUM, 20, is_dense),
    ("mercury", "mercury_production_", rf"{_ALNUM}_", 40, _is_mixed),
    ("mergify", "mergify_application_key_", rf"{_ALNUM}_-", 40, _is_mixed),
    ("mongodb", "mdb_sa_sk_", rf"{_ALNUM}_-", 40, _is_mixed),
    ("neon", "napi_", _ALNUM, 64, _is_mixed),
    ("onesignal", "os_v2_app_ os_v2_org_", "a-z0-9", 100, _is_mixed),
    ("paddle", "pdl_live_apikey_ pdl_sdbx_apikey_", rf"{_ALNUM}_", 40, _is_mixed),
    ("persona", "persona_production_ persona_sandbox_", rf"{_ALNUM}-", 20, is_dense),
    ("pinterest", "pina_", rf"{_ALNUM}_-", 30, is_dense),
    ("proof", "prf_", rf"{_ALNUM}_-", 30, is_dense),
    ("ramp", "ramp_sec_", _ALNUM, 48, _is_mixed),
    ("runpod", "rpa_", _ALNUM, 30, is_dense),
    ("render", "rnd_", _ALNUM, 28, is_dense),
    ("rootly", "rootly_", _HEX, 64, _any),
    ("samsara", "samsara_api_", _ALNUM, 26, _is_mixed),
    ("thunderstore", "tss_", rf"{_ALNUM}_-", 30, is_dense),
    ("together", "tgp_v1_", rf"{_ALNUM}_-", 40, _is_mixed),
    ("unkey", "unkey_", _ALNUM, 20, is_dense),
    ("upcloud", "ucat_", _ALNUM, 24, is_dense),
    ("valtown", "vtwn_", rf"{_ALNUM}_-", 20, _is_mixed),
    ("e2b", "e2b_", _HEX, 40, _any),
    ("wakatime", "waka_", rf"{_ALNUM}-", 36, is_dense),
    ("wandb", "wandb_v1_", rf"{_ALNUM}_", 70, _is_mixed),
    ("zuplo", "zpka_", rf"{_ALNUM}_", 40, _is_mixed),
    ("adobe", "p8e-", "a-z0-9", 32, is_dense),
    ("bedrock", "bedrock-api-key-", rf"{_ALNUM}+/=", 40, _is_mixed),
    ("cerebras", "csk-", "a-z0-9", 48, _is_mixed),
    ("configcat", "configcat-sdk-", rf"{_ALNUM}_/-", 40, _is_mixed),
    ("docker", "SWMTKN-1- SWMKEY-1-", rf"{_ALNUM}+/-", 40, _any),
    ("flutterwave", "FLWSECK_TEST- FLWSECK-", rf"{_ALNUM}-", 12, _is_mixed),
    ("frameio", "fio-u-", rf"{_ALNUM}_-", 60, _is_mixed),
    ("notify", "gcntfy-", rf"{_ALNUM}_-", 74, _is_mixed),
    ("intra42", "s-s4t2ud- u-s4t2ud-", _HEX, 64, _any),
    ("octopus", "API-", "A-Z0-9", 26, _has_digit),
    ("workato", "wrka- wrkaus- wrkaeu- wrkajp- wrkasg- wrkaau-", rf"{_ALNUM}_.-", 80, _is_encoded),
    ("google", "AQ.", rf"{_ALNUM}_-", 45, _is_mixed),
    ("harness", "pat. sat.", rf"{_ALNUM}_.-", 60, is_dense),
    ("terraform", "atlasv1.", rf"{_ALNUM}_=-", 60, _is_mixed),
    ("onfido", "api_live. api_live_us. api_live_ca. api_sandbox.", rf"{_ALNUM}_-", 20, _is_mixed),
    ("age", "AGE-SECRET-KEY-", _ALNUM, 50, _any),
    ("vault", "hvs. hvb. hvr.", rf"{_ALNUM}_-", 20, _is_mixed),
    ("doppler", "dp.pt. dp.st. dp.ct. dp.sa. dp.scim. dp.audit.", rf"{_ALNUM}_.-", 30, _is_mixed),
    ("sendgrid", "SG.", rf"{_ALNUM}_.-", 40, _is_mixed),
    ("dynatrace", "dt0c01. dt0s01.", rf"{_ALNUM}.", 60, _is_mixed),
    ("mailersend", "mlsn.", _ALNUM, 30, _is_mixed),
    ("mapbox", "sk.", rf"{_ALNUM}_.-", 60, _is_encoded),
]


@cache
def by_tail() -> dict[str, list[tuple[str, str, Later, Callable[[str], bool]]]]:
    """Return the rules of all prefixes, by the last three characters of the prefix."""
    table: dict[str, list[tuple[str, str, Later, Callable[[str], bool]]]] = {}
    for label, beginnings, signs, least, test in PREFIXED:
        rest = Later(rf"[{signs}]{{{least},}}+")
        for beginning in beginnings.split():
            table.setdefault(beginning[-3:], []).append((beginning, label, rest, test))
    return table


def behind(sign: str) -> str:
    """Return a pattern that checks the two characters before the last one of a prefix; few words have such a pair."""
    words = [word for _, many, *_ in PREFIXED for word in many.split() if word.endswith(sign)]
    first, second = ("".join(sorted({word[at] for word in words})) for at in (-3, -2))
    return f"(?<=[{re.escape(first)}][{re.escape(second)}]{re.escape(sign)}){_UNLESS_COMMON.get(sign, '')}"


@cache
def prefixes() -> dict[bytes, list[bytes]]:
    """Return the prefixes, in lower case and with `_` for `-` and `.`, by their last three characters."""
    table: dict[bytes, list[bytes]] = {}
    for word in " ".join(many for _, many, *_ in PREFIXED).lower().replace("-", "_").replace(".", "_").split():
        table.setdefault(word[-3:].encode(), []).append(word.encode())
    return table


def behind_prefixes() -> str:
    """Return a pattern for the position after the last three characters of any of these prefixes."""
    pairs: dict[str, set[str]] = {}
    for tail in prefixes():
        pairs.setdefault(chr(tail[1]), set()).add(chr(tail[0]))
    tails = [f"[{''.join(sorted(first))}]{second}_" for second, first in sorted(pairs.items())]
    return f"(?<={'|'.join(tails)})"
