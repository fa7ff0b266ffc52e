import re
from importlib import import_module
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks import secret_finding
from echo_dagster import secrets
from echo_dagster.secrets import addresses, keys, patterns, values, words

# Put together at run time, so that no scanner takes this file for a leak.
AWS = "AKIA" + "Q3EGRZ7TMWX2PLKD"
GITHUB = "ghp_" + "aZ3kT9" * 6
PEM = "-----BEGIN RSA " + "PRIVATE KEY-----\nMIIEpAIBAAKCAQEA7\n-----END RSA " + "PRIVATE KEY-----"
DRAWN = "q8Zr2LxN5vKc9TbWm4YhDf7PsGjA1eUo"

FOUND = {
    "aws_access_key": f"key = '{AWS}'",
    "aws_secret_key": f"Credentials('{AWS}', '{DRAWN}+/x2Lk8s')",
    "github_token": f"token = '{GITHUB}'",
    "private_key": f"KEY = '''{PEM}'''",
    "email": "# ask jane.roe@corp.com first",
    "ip_address": "host = '93.184.216.34'",
    "url_credentials": "url = 'https://jane:Vq9-tulip@db.corp.net/x'",
    "password": "password = 'Vq9-tulip!'",
    "high_entropy_string": f"secret_key = '{DRAWN}'",
    "hugging_face_token": "login('hf_" + "aB3dE5gH7j" * 3 + "kLmN')",
    "json_web_token": "t = 'eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2lnbmF0dXJlc2lnbg'",
    "stripe_key": "stripe.key = 'sk_live_" + "a1B2c3D4" * 3 + "'",
    "npm_token": "//registry.corp.net/:_authToken=npm_" + "aB3" * 12,
    "bearer_token": f"curl -H 'Authorization: Bearer {DRAWN}'",
    "basic_auth": "headers = {'Authorization': 'Basic amFuZTpWcTktdHVsaXA='}",
    "password_hash": "user = '$2b$12$" + "N9qo8uLOickgx2ZMRZoMye" + "IjZAgcfl7p92ldGxad68LJZdL17lhWy'",
}


@pytest.mark.parametrize(("kind", "line"), FOUND.items(), ids=FOUND)
def test_a_secret_is_found_by_its_type_and_masked_in_its_place(kind, line):
    found = secrets.find(line)[-1]
    assert found.type == kind
    masked = secrets.mask(line)
    assert masked.endswith(f"<secret:{kind}>{line[found.end :]}")
    assert secrets.find(masked) == []


WRITTEN = [
    "DB_PASSWORD=Vq9(tulip)x!",
    "spring.datasource.password=Vq9-tulip!",
    "  password: Vq9-tulip!",
    "  password: |\n    Vq9-tulip!",
    '    "password": "Vq9-tulip!",',
    "const options = { password: 'Vq9-tulip!' };",
    "<password>Vq9-tulip!</password>",
    '<add key="ApiKey" value="Vq9-tulip!" />',
    'os.environ.setdefault("DB_PASSWORD", "Vq9-tulip!")',
    'password: String::from("Vq9-tulip!"),',
    "var password string = `Vq9-tulip!`",
    "mysql -u root -pVq9-tulip! shop",
    "curl -s -u jane:Vq9-tulip! https://api.corp.net",
    "deploy --password Vq9-tulip! --stage test",
    'f"Server=db;User Id=sa;Password=Vq9-tulip!;Encrypt=True"',
    "# the password is Vq9-tulip!",
    "- name: DB_PASSWORD\n  value: Vq9-tulip!",
    'password = (\n    "Vq9-tulip!"\n)',
    '"{\\"password\\": \\"Vq9-tulip!\\"}"',
    'builder.setPassword("Vq9-tulip!");',
    "machine api.corp.net login jane password Vq9-tulip!",
    "if password == 'Vq9-tulip!':",
    "CREATE USER jane IDENTIFIED BY 'Vq9-tulip!';",
    "redis://:Vq9-tulip!@cache:6379/0",
    "passwort = 'Vq9-tulip!'",
    'dbPass = "Vq9-tulip!"',
    "userPwd: 'Vq9-tulip!'",
]


@pytest.mark.parametrize("code", WRITTEN)
def test_a_password_is_found_as_people_write_it(code):
    assert "tulip" not in secrets.mask(code)


def test_a_private_key_is_masked_from_its_first_line_to_its_last():
    assert secrets.mask(f"a = 1\n{PEM}\nb = 2") == "a = 1\n<secret:private_key>\nb = 2"
    assert secrets.mask(f"a = 1\n{PEM[:50]}") == "a = 1\n<secret:private_key>\n"
    assert secrets.mask(f"{PEM[35:]}\nb = 2") == "<secret:private_key>\nb = 2"
    on_one_line = PEM.replace("\n", "\\n")
    assert secrets.mask(f'{{"private_key": "{on_one_line}"}}') == '{"private_key": "<secret:private_key>"}'
    in_code = PEM.replace("\n", '\\n" +\n    "')
    assert secrets.mask(f'KEY = ("{in_code}")') == 'KEY = ("<secret:private_key>")'


@pytest.mark.parametrize(
    "line",
    [
        "password = os.environ['DB_PASSWORD']",
        "password = 'your-password'",
        "password = '${DB_PASSWORD}'",
        "password: str = 'password123'",
        "password = Config.get('x')",
        "password_field = 'Field2-main!'",
        "token = tokenizer.next_token()",
        "token: TokenV2;",
        "tokenizer = AutoTokenizer.from_pretrained('corp/base-patch16-224')",
        "# pass use_listings_cache=False2 or token `replace_prob=0.01`",
        "token_color = '#08547A'",
        "('tokens', 'symbol2label')",
        "def token_urlsafe(nbytes=None): ...",
        "commit = '3b18e512dba79e4c8300dd08aeb37f8e728b8dad'",
        f"integrity = 'sha512-{DRAWN}{DRAWN}'",
        "id = '0b5a4b5e-9d3c-4f6e-8a55-4a1f0c6c7e11'",
        "y = x@weights.T + q@k.transpose(0, 1)",
        "clone('git@github.com:owner/name.git')",
        "mail to someone@example.com",
        "listen('127.0.0.1'); allow('192.168.1.20', '10.0.0.1', '2001:db8::1', 'fe80::1')",
        "std::cout << a::b; at = '12:34:56:78'",
        "version = '2.31.0.1'",
        "NAME = ObjectIdentifier('2.5.4.3')",
        "requires = ['package==1.22.33.44']",
        "alphabet = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/'",
        "url = 'https://user:password@localhost/'",
        "url = 'postgres://postgres:postgres@localhost/'",
        "if line == '-----BEGIN "
        + "PRIVATE KEY-----':\n    return pem.read(line)\nelse:\n    raise ValueError\n",
        "Authorization: Bearer <token>",
    ],
)
def test_ordinary_code_is_no_secret(line):
    assert secrets.find(line) == []


def test_a_secret_that_begins_before_the_text_or_ends_behind_it_counts_in_it():
    assert secrets.count("password = '", "Vq9-tulip!", "'\n") == 1
    assert secrets.count("password = 'Vq", "9-tu", "lip!'\n") == 1
    assert secrets.count("key = '''" + PEM[:45], PEM[45:50], PEM[50:] + "'''") == 1
    assert secrets.count(f"key = '{AWS}'\n", "x = 1", "\n") == 0


def test_a_part_of_a_text_is_masked_by_what_stands_around_it():
    line = f"a = 1\nkey = '{AWS}'\nb = 2\n"
    at = line.index(AWS)
    assert secrets.mask(line, 0, at + 8) == "a = 1\nkey = '<secret:aws_access_key>"
    assert secrets.mask(line, at + 8) == "<secret:aws_access_key>'\nb = 2\n"
    assert secrets.mask_beside("db_", "password", " = 'Vq9-tulip!'\n") == ("db_", " = '<secret:password>'\n")
    assert secrets.mask_beside("x = 1\n", "y = 2", "\nz = 3\n") == ("x = 1\n", "\nz = 3\n")


PIECES = st.sampled_from(
    [
        *FOUND.values(),
        *WRITTEN,
        PEM[:50],
        PEM[40:],
        "x = 1",
        "",
        "password",
        "= '",
        "token",
        "eyJ",
        "://",
        "@",
        ":",
        "İ",
        "\\n",
    ]
)
CODE = st.lists(PIECES | st.text("abcXYZ019 '\"=:/@.-_+\n", max_size=12), max_size=12).flatmap(
    lambda pieces: st.sampled_from(["", " ", "\n"]).map(lambda between: between.join(pieces))
)


@settings(max_examples=300)
@given(CODE)
def test_marks_only_save_time(code):
    some, every = (patterns.by_pattern(code, words) for words in (values.long_words(code), None))
    assert sorted(some) == sorted(every)


@settings(max_examples=300)
@given(CODE)
def test_findings_are_in_order_and_apart(code):
    found = secrets.find(code)
    assert all(one.end <= two.start for one, two in pairwise(found))
    assert all(0 <= one.start < one.end <= len(code) for one in found)
    assert secrets.mask(code).count("<secret:") == len(found)


@settings(max_examples=200)
@given(CODE, st.integers(0, 400), st.integers(0, 400))
def test_a_part_has_the_findings_of_the_whole(code, one, two):
    start, end = sorted((min(one, len(code)), min(two, len(code))))
    whole = [found for found in secrets.find(code) if found.start < end and found.end > start]
    assert secrets.find(code, start, end) == whole


def every_pattern():
    for module in (keys, values, words, addresses):
        yield from (value for value in vars(module).values() if isinstance(value, re.Pattern))
    for rule in patterns.rules():
        yield rule.pattern
        if rule.before:
            yield rule.before


def test_no_pattern_can_be_slow():
    """Every repeat is bounded or possessive, so that no match takes more steps than a bound of its own."""
    from re import _parser

    def steps(parsed):
        told = 1
        for name, value in parsed:
            kind = str(name)
            if kind in ("MAX_REPEAT", "MIN_REPEAT", "POSSESSIVE_REPEAT"):
                low, high, inner = value
                if kind != "POSSESSIVE_REPEAT":
                    assert high is not _parser.MAXREPEAT, "an unbounded repeat that is not possessive"
                    told *= (int(high) - int(low) + 1) * steps(inner)
            elif kind == "SUBPATTERN":
                told *= steps(value[-1])
            elif kind == "BRANCH":
                told *= sum(steps(branch) for branch in value[1])
        return told

    for pattern in every_pattern():
        assert steps(_parser.parse(pattern.pattern, pattern.flags)) < 10**6


HEX = "9f86d081884c7d65"


def test_every_kind_has_its_place_in_the_documentation():
    told = Path(__file__).parents[1].joinpath("docs", "refinery.md").read_text(encoding="utf-8")
    section = told[told.index("## Secrets") : told.index("## Balance")]
    kinds = {rule.kind for rule in patterns.rules()} | {"private_key", "email", "ip_address"}
    kinds |= {words.PASSWORD, words.RANDOM, words.AWS_SECRET}
    assert len(kinds) > 50
    assert [kind for kind in sorted(kinds) if f"`{kind}`" not in section] == []


PLUGINS = {
    "artifactory.ArtifactoryDetector": [f'key = "AKCp{DRAWN * 2}a1b2c"'],
    "aws.AWSKeyDetector": [FOUND["aws_access_key"], f"aws_secret_key = '{DRAWN}+/x2Lk8s'"],
    "azure_storage_key.AzureStorageKeyDetector": [f"AccountKey={DRAWN * 2}Lk8sQ9vB4nHj2xPw7cRt5a=="],
    "basic_auth.BasicAuthDetector": [FOUND["url_credentials"]],
    "cloudant.CloudantDetector": [f"cloudant_password = '{HEX * 4}'"],
    "discord.DiscordBotTokenDetector": ["t = 'MTA3NjU4OTQ5ODc2NTQzMjEw.G7h2Kd." + DRAWN[:27] + "'"],
    "github_token.GitHubTokenDetector": [FOUND["github_token"]],
    "gitlab_token.GitLabTokenDetector": [
        f"glpat-{DRAWN[:20]}",
        f"glrt-{DRAWN[:20]}",
        f"GR1348941{DRAWN[:20]}",
    ],
    "ibm_cloud_iam.IbmCloudIamDetector": [f"ibm_cloud_iam_key = '{DRAWN}Lk8sQ9vB4nHj'"],
    "ibm_cos_hmac.IbmCosHmacDetector": [f"cos_hmac_secret_access_key = '{HEX * 3}'"],
    "jwt.JwtTokenDetector": [FOUND["json_web_token"]],
    "mailchimp.MailchimpDetector": [f"mail = '{HEX * 2}-us12'"],
    "npm.NpmDetector": [FOUND["npm_token"]],
    "openai.OpenAIDetector": [f"sk-{DRAWN[:20]}T3BlbkFJ{DRAWN[:20]}"],
    "private_key.PrivateKeyDetector": [FOUND["private_key"].replace("\n", "\\n")],
    "pypi_token.PypiTokenDetector": [f"pypi-AgEIcHlwaS5vcmc{DRAWN * 3}"],
    "sendgrid.SendGridDetector": [f"SG.{DRAWN[:22]}.{DRAWN}{DRAWN[:11]}"],
    "slack.SlackDetector": [
        f"xoxb-123456789012-123456789012-{DRAWN[:24]}",
        f"https://hooks.slack.com/services/T0AB12CD3/B0AB12CD3/{DRAWN[:24]}",
    ],
    "softlayer.SoftlayerDetector": [f"softlayer_api_key = '{HEX * 4}'"],
    "square_oauth.SquareOAuthDetector": [f"sq0csp-{DRAWN}{DRAWN[:11]}"],
    "stripe.StripeDetector": [FOUND["stripe_key"]],
    "telegram_token.TelegramBotTokenDetector": [f"bot = '110201543:AAHdqTcv{DRAWN[:27]}'"],
    "twilio.TwilioKeyDetector": [f"sid = 'AC{HEX * 2}'"],
}


@pytest.mark.parametrize(("plugin", "lines"), PLUGINS.items(), ids=PLUGINS)
def test_what_a_plugin_of_detect_secrets_finds_is_found(plugin, lines):
    module, name = plugin.split(".")
    detector = getattr(import_module(f"detect_secrets.plugins.{module}"), name)()
    for line in lines:
        found, masked = set(detector.analyze_string(line)), secrets.mask(line)
        assert found and not any(text in masked for text in found)


def test_the_standard_library_raises_next_to_no_false_alarm():
    """Most of what is found there are the addresses of its authors, which are true."""
    files = secret_finding.standard_library()[::16]
    found = secret_finding.alarms(secret_finding.cuts(files, 1000))
    assert found.samples == 1000
    assert found.dropped < 0.005 * found.samples
    assert found.dropped_but_for_addresses <= 2
