"""The forms of keys and tokens, as their issuers publish them: data, and checks of what a form alone does not say.

What does not live here: how a text is searched for them (`patterns.py`).

After detect-secrets' plugins and gitleaks' rules. The plugins are not run themselves: every pattern would be tried on
every line, some take quadratic time, and their verification calls the services that a key belongs to. A test holds them
against these forms.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from typing import NamedTuple

from echo_dagster.secrets.values import is_credible, is_random

Check = Callable[[str], bool]


class Format(NamedTuple):
    """What `kind` of secret looks like.

    `marks`: texts, parted by `|`, one of which every such secret holds, or stands behind. `after`: a pattern of what
    follows the mark. Its group `secret` is the secret; without one that is everything from `before` on. `before`: a
    pattern of what stands in front of the mark. `begins_word`: no letter, digit, `_` or `-` stands before it all.
    `check`: what must be true of the secret. `spread`: it can hold blanks, quotes or brackets, or be shorter than
    20 characters in all.

    No pattern can be slow: every repeat is bounded or possessive.
    """

    kind: str
    marks: str
    after: str
    before: str | None = None
    begins_word: bool = False
    check: Check | None = None
    spread: bool = False


def _has_digit(token: str) -> bool:
    return any(sign.isdigit() for sign in token)


def _is_jwt(token: str) -> bool:
    """Say whether the header of a JSON Web Token is JSON: what follows may be cut, or encrypted."""
    try:
        return isinstance(json.loads(_decoded(token.split(".", 1)[0])), dict)
    except ValueError:
        return False


def _is_login(token: str) -> bool:
    """Say whether a text is a name and a password in base64, as HTTP's basic authentication sends them."""
    try:
        name, colon, password = _decoded(token).decode().partition(":")
    except ValueError:
        return False
    return bool(colon) and name.isprintable() and password.isprintable() and is_credible(password)


def _is_url_password(login: str) -> bool:
    """Say whether a password is one: the user's name again (`postgres:postgres`) is a stand-in."""
    user, _, password = login.partition(":")
    return user != password and is_credible(password)


def _decoded(token: str) -> bytes:
    return base64.urlsafe_b64decode(token + "=" * (-len(token) % 4))


#: Of formats that fit one place the first names the kind.
FORMATS = (
    # clouds
    Format("aws_access_key", "AKIA|ASIA", r"[A-Z0-9]{16}(?![A-Z0-9])"),
    Format(
        "aws_access_key",
        "A3T|ABIA|ACCA",
        r"[A-Z0-9]{16,17}(?![A-Za-z0-9])",
        begins_word=True,
        check=_has_digit,
    ),
    Format("aws_bedrock_key", "ABSK|bedrock-api-key-", r"[A-Za-z0-9+/]{90,2000}={0,2}"),
    Format("azure_storage_key", "AccountKey=|AccessKey=", r"(?P<secret>[A-Za-z0-9+/]{40,100}={0,2})"),
    Format("azure_client_secret", "Q~", r"[\w.~-]{31,34}", before=r"[\w.~]{3}\d", begins_word=True),
    Format(
        "azure_devops_token",
        "AZDO",
        r"[A-Za-z0-9]{4}(?![A-Za-z0-9])",
        before=r"[A-Za-z0-9]{76}",
        begins_word=True,
    ),
    Format("azure_signature", "?sig=|&sig=|;sig=", r"(?P<secret>[A-Za-z0-9%+/_-]{40,100}={0,2})"),
    Format("google_api_key", "AIza", r"[\w-]{35}"),
    Format("google_oauth_token", "GOCSPX-", r"[\w-]{28}"),
    Format("google_oauth_token", "ya29.|1//0", r"[\w.-]{30,2000}", begins_word=True),
    Format("digitalocean_token", "dop_v1_|doo_v1_|dor_v1_", r"[0-9a-f]{64}"),
    # where code and packages live
    Format("github_token", "ghp_|gho_|ghu_|ghs_|ghr_", r"[A-Za-z0-9_]{36,255}"),
    Format("github_fine_grained_token", "github_pat_", r"\w{60,255}"),
    Format(
        "gitlab_token",
        "glpat-|gldt-|glft-|glsoat-|glrt-|glcbt-|glimt-|glptt-|glagent-|gloas-|glffct-|GR1348941",
        r"[\w-]{20,1024}(?:\.[0-9a-z]{2}\.?[0-9a-z]{7})?",
    ),
    Format("atlassian_token", "ATATT3|ATCTT3", r"[\w=-]{50,300}"),
    Format("atlassian_token", "ATBB", r"[A-Za-z0-9_=.-]{24,200}", begins_word=True),
    Format("npm_token", "npm_", r"[A-Za-z0-9]{36}"),
    Format("npm_token", ":_authToken=", r"[ \t]{0,4}(?P<secret>[\w./+=-]{20,300})"),
    Format("pypi_token", "pypi-AgE", r"[\w-]{50,1000}"),
    Format("rubygems_token", "rubygems_", r"[0-9a-f]{48}"),
    Format("registry_token", "CLOJARS_|dckr_pat_|dckr_oat_", r"[\w-]{27,60}", check=_has_digit),
    Format("registry_token", "oy2", r"[a-z0-9]{43}(?![A-Za-z0-9])", begins_word=True, check=_has_digit),
    Format("registry_token", "cio", r"[A-Za-z0-9]{32}(?![A-Za-z0-9])", begins_word=True, check=_has_digit),
    Format(
        "artifactory_token", "AKC", r"[A-Za-z0-9]{17,80}(?![A-Za-z0-9_])", begins_word=True, check=_has_digit
    ),
    Format("artifactory_token", "cmVmd", r"[A-Za-z0-9]{59}", begins_word=True),
    # models
    Format("anthropic_key", "sk-ant-", r"[\w-]{32,200}"),
    Format("openai_key", "sk-proj-|sk-svcacct-|sk-admin-|sk-None-|sk-or-v1-", r"[\w-]{32,250}"),
    Format("openai_key", "sk-", r"[A-Za-z0-9]{32,64}(?![\w-])", begins_word=True),
    Format("openai_key", "T3BlbkFJ", r"[\w-]{20,120}", before=r"sk-[\w-]{20,200}"),
    Format("hugging_face_token", "hf_|api_org_", r"[A-Za-z0-9]{34,40}(?!\w)", begins_word=True),
    Format(
        "model_key",
        "gsk_|pplx-|r8_|xai-|nvapi-|pcsk_|tvly-",
        r"[\w-]{32,100}",
        begins_word=True,
        check=_has_digit,
    ),
    Format("model_key", "lsv2_pt_|lsv2_sk_", r"[0-9a-f]{32}_[0-9a-f]{10}"),
    # messages and mail
    Format(
        "slack_token",
        "xoxa|xoxb|xoxe|xoxo|xoxp|xoxr|xoxs",
        r"(?:[-.][A-Za-z0-9]{1,180}){1,6}",
        check=lambda token: len(token) >= 20,
    ),
    Format("slack_token", "xapp-", r"\d-[A-Z0-9]{1,40}-\d{1,20}-[A-Za-z0-9]{20,100}"),
    Format(
        "slack_webhook", "hooks.slack.com/", r"(?:services|workflows|triggers)/(?P<secret>[\w+/]{30,120})"
    ),
    Format("discord_token", ".", r"[\w-]{6}\.[\w-]{27,40}", before=r"[MNO][\w-]{23,25}", begins_word=True),
    Format("discord_webhook", "/api/webhooks/", r"\d{15,20}/(?P<secret>[\w-]{40,100})"),
    Format(
        "teams_webhook",
        "webhookb2/",
        r"(?P<secret>[0-9a-f@-]{36,80}/IncomingWebhook/[0-9a-f]{32}[\w/-]{0,80})",
    ),
    Format(
        "telegram_token",
        ":",
        r"(?P<secret>[\w-]{35})(?![\w-])",
        before=r"\d{8,10}",
        begins_word=True,
        check=is_random,
    ),
    Format("twilio_key", "AC|SK", r"[0-9a-f]{32}(?![0-9a-zA-Z])", begins_word=True),
    Format("sendgrid_key", "SG.", r"[\w-]{16,32}\.[\w-]{32,64}"),
    Format("mailgun_key", "key-", r"[0-9a-f]{32}(?![0-9a-zA-Z])"),
    Format("mailgun_key", "-", r"[0-9a-f]{8}-[0-9a-f]{8}(?![\w-])", before=r"[0-9a-f]{32}", begins_word=True),
    Format("mailchimp_key", "-us", r"\d{1,2}(?!\w)", before=r"[0-9a-z]{32}", begins_word=True),
    Format("brevo_key", "xkeysib-|xsmtpsib-", r"[0-9a-f]{64}-[A-Za-z0-9]{16}"),
    # money
    Format(
        "stripe_key",
        "k_live_|k_test_|k_prod_",
        r"[A-Za-z0-9]{16,250}",
        before="[rs]",
        begins_word=True,
        check=_has_digit,
    ),
    Format("stripe_key", "whsec_", r"[A-Za-z0-9+/=]{24,100}"),
    Format("square_token", "sq0atp-|sq0csp-|sq0idp-", r"[\w-]{22,60}"),
    Format("square_token", "EAAA", r"[\w-]{56,64}(?![\w-])", begins_word=True),
    Format("shopify_token", "shpat_|shpca_|shppa_|shpss_", r"[0-9a-fA-F]{32}"),
    Format("payment_key", "access_token$", r"[a-z]{1,20}\$[0-9a-z]{16}\$[0-9a-f]{32}"),
    Format("payment_key", "rzp_live_|rzp_test_|shippo_live_|shippo_test_", r"[A-Za-z0-9]{14,40}"),
    Format("payment_key", "FLWSECK-|FLWSECK_TEST-", r"[0-9a-zA-Z]{12,40}(?:-X)?"),
    Format("payment_key", "EZAK|EZTK", r"[A-Za-z0-9]{54}"),
    Format(
        "payment_key",
        "access-sandbox-|access-development-|access-production-",
        r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}",
    ),
    # operations
    Format("databricks_token", "dapi", r"[0-9a-f]{32}(?:-\d)?"),
    Format("vault_token", "hvs.|hvb.|hvr.", r"[\w-]{24,300}", begins_word=True, check=_has_digit),
    Format("terraform_token", ".atlasv1.", r"[\w=-]{60,70}", before=r"[A-Za-z0-9]{14}"),
    Format("grafana_token", "glc_", r"[A-Za-z0-9+/]{32,400}={0,3}"),
    Format("grafana_token", "glsa_", r"[A-Za-z0-9]{32}_[0-9a-fA-F]{8}"),
    Format("new_relic_key", "NRAK-|NRII-|NRJS-|NRRA-", r"[A-Za-z0-9-]{19,40}", check=_has_digit),
    Format("sentry_token", "sntrys_|sntryu_", r"[\w+/=]{40,500}"),
    Format(
        "service_token",
        "HRKU-AA|CFPAT-|figd_|fo1_|tfp_",
        r"[\w.=-]{40,60}",
        begins_word=True,
        check=_has_digit,
    ),
    Format("service_token", "dt0c01.", r"[A-Za-z0-9]{24}\.[A-Za-z0-9]{64}"),
    Format("service_token", "PMAK-", r"[0-9a-f]{24}-[0-9a-f]{34}"),
    Format("service_token", "nfp_|pnu_|lin_api_|lin_oauth_|rdme_", r"[A-Za-z0-9]{36,70}", begins_word=True),
    Format("service_token", "pul-|sbp_|squ_|sqp_|sqa_", r"[0-9a-f]{40}", begins_word=True),
    Format("service_token", "sgp_", r"(?:[0-9a-fA-F]{16}_|local_)?[0-9a-fA-F]{40}"),
    Format("service_token", "pscale_tkn_|pscale_pw_|pscale_oauth_", r"[\w=.-]{32,64}"),
    Format(
        "service_token", "dp.pt.|dp.st.|dp.ct.|dp.sa.|dp.scim.|dp.audit.", r"[\w.-]{40,80}", begins_word=True
    ),
    Format("service_token", "ntn_", r"\d{11}[A-Za-z0-9]{35}", begins_word=True),
    Format("service_token", "secret_", r"[A-Za-z0-9]{43}(?!\w)", begins_word=True, check=_has_digit),
    Format("service_token", "fm1a_|fm1r_|fm2_", r"[A-Za-z0-9+/]{100,1000}={0,3}"),
    Format("service_token", "LTAI|AKID", r"[A-Za-z0-9]{16,32}(?!\w)", begins_word=True, check=_has_digit),
    Format("service_token", "v1.0-", r"[0-9a-f]{24}-[0-9a-f]{146}"),
    Format(
        "service_token",
        "A3-",
        r"[A-Z0-9]{6}-(?:[A-Z0-9]{11}|[A-Z0-9]{6}-[A-Z0-9]{5})(?:-[A-Z0-9]{5}){3}",
        begins_word=True,
    ),
    Format("service_token", "ops_eyJ", r"[A-Za-z0-9+/]{250,2000}={0,3}"),
    Format("service_token", "AGE-SECRET-KEY-1", r"[0-9A-Z]{58}"),
    Format("service_token", "sha256~", r"[\w-]{43}(?!\w)"),
    Format("service_token", "EAAC|EAAM", r"[A-Za-z0-9]{100,400}", begins_word=True),
    Format("service_token", "pat", r"[A-Za-z0-9]{14}\.[0-9a-f]{64}", begins_word=True),
    Format("service_token", "_mmk", r"(?!\w)", before=r"[A-Za-z0-9]{6}_[A-Za-z0-9]{29}", begins_word=True),
    # of no one issuer
    Format(
        "json_web_token",
        "eyJ",
        r"[\w-]{8,2000}+\.[\w-]{8,8000}+(?:\.[\w-]{0,2000}+){0,3}",
        begins_word=True,
        check=_is_jwt,
    ),
    Format(
        "url_credentials",
        "://",
        r"(?P<secret>[^\s/:@'\"`<>\\]{0,100}+:[^\s/@'\"`<>]{3,200}+)@",
        check=_is_url_password,
        spread=True,
    ),
    Format(
        "url_credentials",
        "://",
        r"(?P<secret>[\w-]{24,200}+)(?::[^\s/:@'\"`]{0,20}+)?@[\w.]",
        check=is_random,
        spread=True,
    ),
    Format(
        "basic_auth",
        "Basic |basic |BASIC |Basic%20|basic%20",
        r"(?P<secret>[A-Za-z0-9+/]{8,400}={0,2})",
        check=_is_login,
        spread=True,
    ),
    Format(
        "basic_auth",
        "auth|AUTH|Auth",
        r"[\"']?[ \t]{0,4}[:=][ \t]{0,4}[\"']?(?P<secret>[A-Za-z0-9+/]{8,400}={0,2})",
        check=_is_login,
        spread=True,
    ),
    Format(
        "bearer_token",
        "Bearer|bearer|BEARER",
        r"(?:[ \t:=\"']|%20){1,6}(?P<secret>[A-Za-z0-9._~+/-]{16,3000}={0,2})",
        check=is_random,
        spread=True,
    ),
    Format(
        "password",
        " -u| --user",
        r"[ =]?[\"']?[^\s:\"'$]{1,100}:(?P<secret>[^\s\"'$]{4,100})",
        before=r"\b(?:curl|wget|https?)\b[^\n]{0,300}",
        check=is_credible,
        spread=True,
    ),
    Format(
        "password",
        " -p",
        r"(?P<secret>[^\s'\"$][^\s'\"]{3,100})",
        before=r"\b(?:mysql|mariadb)[^\n]{0,300}",
        check=is_credible,
        spread=True,
    ),
    Format(
        "password",
        "sshpass -p",
        r"[ \t]{0,4}[\"']?(?P<secret>[^\s\"'$][^\s\"']{3,100})",
        check=is_credible,
        spread=True,
    ),
    Format(
        "password",
        "IDENTIFIED BY '|identified by '",
        r"(?P<secret>[^'\n]{4,100})'",
        check=is_credible,
        spread=True,
    ),
    Format("password_hash", "$2$|$2a$|$2b$|$2x$|$2y$", r"\d\d\$[./A-Za-z0-9]{53}"),
    Format(
        "password_hash",
        "$1$|$5$|$6$|$apr1$",
        r"(?:rounds=\d{1,9}\$)?[./A-Za-z0-9]{1,64}\$[./A-Za-z0-9]{22,86}",
    ),
    Format("password_hash", "$argon2|$scrypt$|$y$|$7$", r"[\w$=,+/.-]{30,300}"),
    Format("password_hash", "pbkdf2_sha", r"\d{1,3}\$\d{1,9}\$[\w./+-]{1,64}\$[A-Za-z0-9+/]{20,100}={0,2}"),
    Format("password_hash", "{SSHA", r"(?:\d{3})?\}[A-Za-z0-9+/]{20,120}={0,2}", spread=True),
)
