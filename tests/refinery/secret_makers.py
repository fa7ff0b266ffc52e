"""Made-up secrets in the forms of their issuers, by a seeded generator, and code to plant them in.

Nothing here was ever valid. The formats are those of the issuers, as public scanners know them.
"""

from __future__ import annotations

import base64
import json
import string
from collections.abc import Callable
from random import Random
from typing import NamedTuple

LOWER, UPPER, DIGITS = string.ascii_lowercase, string.ascii_uppercase, string.digits
ALNUM, HEX = string.ascii_letters + DIGITS, "0123456789abcdef"
BASE64, URLSAFE = ALNUM + "+/", ALNUM + "-_"


class Secret(NamedTuple):
    """`text` is what is written, `parts` what of it must not be seen, `words` the names that tell it, if any must."""

    text: str
    parts: tuple[str, ...]
    words: tuple[str, ...] = ()


Maker = Callable[[Random], Secret]


def drawn(chance: Random, alphabet: str, n: int) -> str:
    return "".join(chance.choices(alphabet, k=n))


def _form(*parts: str | tuple[str, int] | tuple[str, int, int]) -> Maker:
    """Return a maker of a secret that is literals and runs of an alphabet, all of it secret."""

    def make(chance: Random) -> Secret:
        told = []
        for part in parts:
            if isinstance(part, str):
                told.append(chance.choice(part.split("|")))
            else:
                told.append(drawn(chance, part[0], chance.randint(part[1], part[-1])))
        return Secret("".join(told), ("".join(told),))

    return make


def _worded(alphabet: str, low: int, high: int, end: str, *words: str) -> Maker:
    def make(chance: Random) -> Secret:
        told = drawn(chance, alphabet, chance.randint(low, high)) + end
        return Secret(told, (told,), words)

    return make


def _azure_storage(chance: Random) -> Secret:
    key = drawn(chance, BASE64, 86) + "=="
    account = drawn(chance, LOWER, 9)
    return Secret(
        f"DefaultEndpointsProtocol=https;AccountName={account};AccountKey={key};EndpointSuffix=core.windows.net",
        (key,),
    )


def _slack_webhook(chance: Random) -> Secret:
    path = f"T{drawn(chance, UPPER + DIGITS, 10)}/B{drawn(chance, UPPER + DIGITS, 10)}/{drawn(chance, ALNUM, 24)}"
    return Secret(f"https://hooks.slack.com/services/{path}", (path,))


def _discord_webhook(chance: Random) -> Secret:
    token = drawn(chance, URLSAFE, 68)
    return Secret(f"https://discord.com/api/webhooks/{drawn(chance, DIGITS, 18)}/{token}", (token,))


def _telegram(chance: Random) -> Secret:
    token = "AA" + drawn(chance, URLSAFE, 33)
    return Secret(f"{chance.randint(10**8, 10**10 - 1)}:{token}", (token,))


def _jwt(chance: Random) -> Secret:
    def coded(told: object) -> str:
        return base64.urlsafe_b64encode(json.dumps(told, separators=(",", ":")).encode()).decode().rstrip("=")

    header = coded({"alg": chance.choice(["HS256", "RS256", "ES256"]), "typ": "JWT"})
    payload = coded(
        {
            "sub": drawn(chance, DIGITS, 10),
            "name": drawn(chance, LOWER, 8),
            "iat": chance.randint(10**9, 2 * 10**9),
        }
    )
    signature = drawn(chance, URLSAFE, chance.choice([43, 86, 342]))
    return Secret(f"{header}.{payload}.{signature}", (payload, signature))


def password(chance: Random) -> str:
    """A password as a manager draws it, or as people build it."""
    if chance.random() < 0.5:
        signs = [chance.choice(LOWER), chance.choice(UPPER), chance.choice(DIGITS), chance.choice("!#%+_-.")]
        signs += chance.choices(ALNUM + "!#%+_-.", k=chance.randint(6, 16))
        chance.shuffle(signs)
        return chance.choice(ALNUM) + "".join(signs) + chance.choice(ALNUM)
    word = "".join(
        chance.choice("bdfgklmnprstvz") + chance.choice("aeiou") for _ in range(chance.randint(2, 4))
    )
    return (
        word.capitalize()
        + chance.choice("-!_.+")
        + str(chance.randint(10, 9999))
        + chance.choice(["", "!", "#"])
    )


def _password(chance: Random) -> Secret:
    told = password(chance)
    return Secret(
        told, (told,), ("password", "db_password", "admin_passwd", "smtp_pass", "root_pwd", "redis_password")
    )


def _url_login(chance: Random) -> Secret:
    told = password(chance).replace("#", "%23").replace("+", "%2B")
    scheme = chance.choice(
        ["postgresql", "mysql", "mongodb+srv", "redis", "amqp", "https", "ftp", "postgresql+psycopg2"]
    )
    user = chance.choice(["app", "reporting", "svc-billing", "jane", "" if scheme == "redis" else "admin"])
    return Secret(
        f"{scheme}://{user}:{told}@db{chance.randint(1, 9)}.corp.net:{chance.randint(1024, 9999)}/main",
        (told,),
    )


def _bearer(chance: Random) -> Secret:
    token = drawn(chance, URLSAFE, chance.randint(24, 64))
    return Secret(f"Authorization: Bearer {token}", (token,))


def _basic(chance: Random) -> Secret:
    token = base64.b64encode(f"svc-{drawn(chance, LOWER, 5)}:{password(chance)}".encode()).decode()
    return Secret(f"Authorization: Basic {token}", (token.rstrip("="),))


def _email(chance: Random) -> Secret:
    first, last = (drawn(chance, LOWER, chance.randint(3, 8)) for _ in range(2))
    name = chance.choice(
        [f"{first}.{last}", f"{first[0]}{last}", f"{first}_{last}{chance.randint(1, 99)}", f"{first}+{last}"]
    )
    domain = chance.choice(
        ["gmail.com", "corp.net", "tu-dresden.de", "mail.yandex.ru", "acme.co.uk", "startup.io", "qq.com"]
    )
    return Secret(f"{name}@{domain}", (f"{name}@{domain}",))


def _ipv4(chance: Random) -> Secret:
    told = ".".join(str(chance.randint(1, 254)) for _ in range(3))
    told = f"{chance.choice([8, 31, 52, 77, 93, 104, 141, 185, 213])}.{told}"
    return Secret(told, (told,))


def _ipv6(chance: Random) -> Secret:
    groups = [
        f"{chance.choice(['2a0', '260', '240'])}{drawn(chance, HEX, 1)}",
        *(f"{chance.randint(1, 0xFFFF):x}" for _ in range(7)),
    ]
    told = ":".join(groups)
    if chance.random() < 0.4:
        told = ":".join(groups[:4]) + "::" + groups[-1]
    return Secret(told, (told,))


def _hash(chance: Random) -> Secret:
    crypt = "./" + ALNUM
    told = chance.choice(
        [
            f"$2b$12${drawn(chance, crypt, 53)}",
            f"$6${drawn(chance, crypt, 16)}${drawn(chance, crypt, 86)}",
            f"$argon2id$v=19$m=65536,t=3,p=4${drawn(chance, BASE64, 22)}${drawn(chance, BASE64, 43)}",
            f"pbkdf2_sha256$600000${drawn(chance, ALNUM, 22)}${drawn(chance, BASE64, 43)}=",
        ]
    )
    return Secret(told, (told[-43:-1],))


def _private_key(chance: Random) -> Secret:
    """A key on many lines: PEM of several kinds, OpenSSH, PGP, PuTTY."""
    kind = chance.choice(["RSA ", "EC ", "", "ENCRYPTED ", "OPENSSH ", "DSA ", "PGP", "PuTTY"])
    lines = [drawn(chance, BASE64, 64) for _ in range(chance.randint(3, 26))]
    lines.append(drawn(chance, BASE64, chance.randint(2, 63)) + chance.choice(["", "=", "=="]))
    parts = tuple(line for line in lines if len(line) >= 12)
    if kind == "PuTTY":
        head = ["PuTTY-User-Key-File-3: ssh-rsa", "Encryption: none", "Comment: laptop", "Public-Lines: 2"]
        head += [drawn(chance, BASE64, 64), drawn(chance, BASE64, 64), f"Private-Lines: {len(lines)}"]
        return Secret("\n".join([*head, *lines, f"Private-MAC: {drawn(chance, HEX, 64)}"]), parts)
    if kind == "PGP":
        lines = ["Version: GnuPG v2", "", *lines, "=" + drawn(chance, BASE64, 4)]
        kind, block = "PGP ", " BLOCK"
    else:
        block = ""
        if kind == "RSA " and chance.random() < 0.5:
            lines = [
                "Proc-Type: 4,ENCRYPTED",
                f"DEK-Info: AES-128-CBC,{drawn(chance, HEX.upper(), 32)}",
                "",
                *lines,
            ]
    title = f"{kind}PRIVATE" + f" KEY{block}"
    return Secret("\n".join([f"-----BEGIN {title}-----", *lines, f"-----END {title}-----"]), parts)


#: Every kind that is planted, by the name that its placeholder has or, behind a colon, a variant of it.
MAKERS: dict[str, Maker] = {
    "aws_access_key": _form("AKIA|ASIA", (UPPER + "234567", 16)),
    "aws_secret_key": _worded(
        BASE64, 40, 40, "", "aws_secret_access_key", "AWS_SECRET_KEY", "s3_secret", "secretAccessKey"
    ),
    "azure_storage_key": _azure_storage,
    "azure_client_secret": _form((ALNUM, 3), (DIGITS, 1), "Q~", (ALNUM + "-_~.", 33), (ALNUM, 1)),
    "github_token": _form("ghp_|gho_|ghu_|ghs_|ghr_", (ALNUM, 36)),
    "github_fine_grained_token": _form("github_pat_", (ALNUM, 22), "_", (ALNUM, 59)),
    "gitlab_token": _form("glpat-|gldt-|glrt-|glptt-", (URLSAFE, 20)),
    "npm_token": _form("npm_", (ALNUM, 36)),
    "pypi_token": _form("pypi-AgEIcHlwaS5vcmc", (URLSAFE, 140, 180)),
    "rubygems_token": _form("rubygems_", (HEX, 48)),
    "anthropic_key": _form("sk-ant-api03-", (URLSAFE, 93), "AA"),
    "openai_key": _form("sk-proj-|sk-svcacct-", (URLSAFE, 74), "T3BlbkFJ", (URLSAFE, 74)),
    "openai_key:older": _form("sk-", (ALNUM, 20), "T3BlbkFJ", (ALNUM, 20)),
    "hugging_face_token": _form("hf_", (string.ascii_letters, 34)),
    "google_api_key": _form("AIza", (URLSAFE, 35)),
    "google_oauth_token": _form("GOCSPX-", (URLSAFE, 28)),
    "slack_token": _form("xoxb-|xoxp-", (DIGITS, 12), "-", (DIGITS, 12), "-", (ALNUM, 24)),
    "slack_webhook": _slack_webhook,
    "discord_token": _form("M|N", (ALNUM, 23), ".", (URLSAFE, 6), ".", (URLSAFE, 38)),
    "discord_webhook": _discord_webhook,
    "telegram_token": _telegram,
    "twilio_key": _form("AC|SK", (HEX, 32)),
    "sendgrid_key": _form("SG.", (URLSAFE, 22), ".", (URLSAFE, 43)),
    "mailgun_key": _form("key-", (HEX, 32)),
    "mailchimp_key": _form((HEX, 32), "-us", (DIGITS[1:], 1, 2)),
    "stripe_key": _form("sk_live_|rk_live_|sk_test_", (ALNUM, 24, 99)),
    "square_token": _form("sq0csp-", (URLSAFE, 43)),
    "shopify_token": _form("shpat_|shpss_", (HEX, 32)),
    "digitalocean_token": _form("dop_v1_", (HEX, 64)),
    "databricks_token": _form("dapi", (HEX, 32)),
    "vault_token": _form("hvs.", (URLSAFE, 91)),
    "grafana_token": _form("glsa_", (ALNUM, 32), "_", (HEX, 8)),
    "json_web_token": _jwt,
    "private_key": _private_key,
    "url_credentials": _url_login,
    "bearer_token": _bearer,
    "basic_auth": _basic,
    "password": _password,
    "password_hash": _hash,
    "high_entropy_string": _worded(
        URLSAFE, 32, 64, "", "secret_key", "signing_secret", "api_token", "session_key"
    ),
    "high_entropy_string:alone": _form((BASE64, 40, 60)),
    "high_entropy_string:hex": _worded(HEX, 32, 64, "", "api_key", "secret", "auth_token", "encryption_key"),
    "high_entropy_string:uuid": lambda chance: Secret(
        told := "-".join(drawn(chance, HEX, n) for n in (8, 4, 4, 4, 12)),
        (told,),
        ("api_key", "client_secret"),
    ),
    "email": _email,
    "ip_address": _ipv4,
    "ip_address:v6": _ipv6,
}
