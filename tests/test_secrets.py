import random
import sysconfig
from pathlib import Path

import pytest

from echo_dagster import secrets

# Put together at run time, so that no scanner takes this file for a leak.
AWS = "AKIA" + "Q3EGRZ7TMWX2PLKD"
GITHUB = "ghp_" + "aZ3kT9" * 6
PEM = "-----BEGIN RSA " + "PRIVATE KEY-----\nMIIEpAIBAAKCAQEA7\n-----END RSA " + "PRIVATE KEY-----"

FOUND = {
    "aws_access_key": f"key = '{AWS}'",
    "github_token": f"token = '{GITHUB}'",
    "private_key": f"KEY = '''{PEM}'''",
    "email": "# ask jane.roe@corp.com first",
    "ip_address": "host = '93.184.216.34'",
    "basic_auth_credentials": "url = 'https://jane:Vq9-tulip@db.corp.net/x'",
    "password": "password = 'Vq9-tulip!'",
    "high_entropy_string": "secret_key = 'q8Zr2LxN5vKc9TbWm4YhDf7PsGjA1eUo'",
    "hugging_face_token": "login('hf_" + "aB3dE5gH7j" * 3 + "kLmN')",
    "json_web_token": "t = 'eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2lnbmF0dXJlc2lnbg'",
    "stripe_access_key": "stripe.key = 'sk_live_" + "a1B2c3D4" * 3 + "'",
    "npm_tokens": "//registry.corp.net/:_authToken=npm_" + "aB3" * 12,
}


@pytest.mark.parametrize(("kind", "line"), FOUND.items(), ids=FOUND)
def test_a_secret_is_found_by_its_type_and_masked_in_its_place(kind, line):
    (found,) = secrets.find(line)
    assert found.type == kind
    masked = secrets.mask(line)
    assert masked == f"{line[: found.start]}<secret:{kind}>{line[found.end :]}"
    assert secrets.find(masked) == []


def test_a_private_key_is_masked_from_its_first_line_to_its_last():
    assert secrets.mask(f"a = 1\n{PEM}\nb = 2") == "a = 1\n<secret:private_key>\nb = 2"
    assert secrets.mask(f"a = 1\n{PEM[:50]}") == "a = 1\n<secret:private_key>"


@pytest.mark.parametrize(
    "line",
    [
        "password = os.environ['DB_PASSWORD']",
        "password = 'your-password'",
        "password = '${DB_PASSWORD}'",
        "password: str = 'password123'",
        "token = tokenizer.next_token()",
        "commit = '3b18e512dba79e4c8300dd08aeb37f8e728b8dad'",
        "id = '0b5a4b5e-9d3c-4f6e-8a55-4a1f0c6c7e11'",
        "y = x@weights.T + q@k.transpose(0, 1)",
        "clone('git@github.com:owner/name.git')",
        "mail to someone@example.com",
        "listen('127.0.0.1'); allow('192.168.1.20', '10.0.0.1')",
        "version = '2.31.0.1'",
        "requires = ['package==1.22.33.44']",
        "alphabet = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/'",
        "url = 'https://user:password@localhost/'",
    ],
)
def test_ordinary_code_is_no_secret(line):
    assert secrets.find(line) == []


def test_a_secret_that_begins_before_the_text_counts_in_it():
    assert secrets.count("password = '", "Vq9-tulip!", "'\n") == 1
    assert secrets.count(f"key = '{AWS}'\n", "x = 1", "\n") == 0


def test_the_standard_library_raises_next_to_no_false_alarm():
    rng = random.Random(17)
    folder = Path(sysconfig.get_path("stdlib"))
    files = sorted(file for file in folder.glob("*.py") if file.stat().st_size > 4000)
    snippets = []
    while len(snippets) < 600:
        source = rng.choice(files).read_text(encoding="utf-8", errors="ignore")
        start = rng.randrange(len(source) - 500)
        snippets.append(source[start : start + rng.randrange(30, 500)])
    # Authors' e-mail addresses in comments are real: they are no false alarm.
    alarms = [found for snippet in snippets for found in secrets.find(snippet) if found.type != "email"]
    assert len(alarms) < 0.005 * len(snippets)
