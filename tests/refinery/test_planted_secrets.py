"""Secrets planted in the context, in C_1 and in C_N of samples, as people write them: none gets through."""

from datetime import timedelta
from random import Random

import polars as pl
import pytest
from refinery_rows import DAY, gaps, settings, tokenizer
from secret_makers import MAKERS, Secret

from echo_dagster import secrets
from echo_dagster.lake import Lake
from echo_dagster.refinery import balance, samples, window
from echo_dagster.refinery.schema import SCORED_SCHEMA

PER_KIND = 15
#: No longer part of a secret may be left.
PART = 12
NEUTRAL = ("value", "target", "entry", "current", "handle", "config_a", "item2", "remote")

#: The code around the place, by language: before, what stands at the place and goes on below, after.
FILES = {
    "python": (
        "import os\nimport requests\n\nfrom app.settings import load\n\n\nclass Reader:\n"
        "    def __init__(self, path):\n        self.path = path\n\n"
        "    def rows(self):\n        with open(self.path) as file:\n            yield from file\n\n\n",
        "limit = 20\n",
        "\n\ndef main():\n    reader = Reader('rows.csv')\n    print(sum(1 for row in reader.rows()))\n",
    ),
    "typescript": (
        "import { Client } from './client';\n\nexport interface Row {\n  id: number;\n  title: string;\n}\n\n",
        "const limit = 20;\n",
        "\nexport function first(rows: Row[]): Row | undefined {\n  return rows.find((row) => row.id > 0);\n}\n",
    ),
    "go": (
        'package main\n\nimport (\n\t"fmt"\n\t"os"\n)\n\ntype Row struct {\n\tID int\n}\n\n',
        "var limit = 20\n",
        '\nfunc main() {\n\tfmt.Println("rows", os.Args)\n}\n',
    ),
    "ruby": (
        "require 'net/http'\n\nclass Reader\n  def initialize(path)\n    @path = path\n  end\nend\n\n",
        "limit = 20\n",
        "\nputs Reader.new('rows.csv').inspect\n",
    ),
    "shellscript": (
        '#!/usr/bin/env bash\nset -euo pipefail\n\nlog() {\n  echo "$(date) $1"\n}\n\n',
        "LIMIT=20\n",
        '\nfor file in rows/*.csv; do\n  log "$file"\ndone\n',
    ),
    "yaml": (
        "name: deploy\non:\n  push:\n    branches: [main]\nenv:\n  REGION: eu-west-1\n  STAGE: test\nextra:\n",
        "  limit: 20\n",
        "jobs:\n  build:\n    runs-on: ubuntu-latest\n    steps:\n      - run: make test\n",
    ),
    "dotenv": (
        "# settings of the service\nSTAGE=test\nREGION=eu-west-1\nWORKERS=4\n",
        "LIMIT=20\n",
        "TIMEOUT=30\nLEVEL=info\n",
    ),
    "json": ('{\n  "name": "reader",\n  "stage": "test",\n', '  "limit": 20,\n', '  "workers": 4\n}\n'),
    "sql": (
        "create table rows (id integer primary key, title text not null);\n\n",
        "select 20 as limit_of_rows;\n",
        "\nselect title from rows where id > 0 order by title;\n",
    ),
}

#: How a value is written, by language; `{name}` and `{NAME}` say what it is.
FORMS = {
    "python": [
        '{name} = "{v}"\n',
        "{name}: str = '{v}'\n",
        'options = {{"{name}": "{v}", "retries": 3}}\n',
        'os.environ["{NAME}"] = "{v}"\n',
        '{name} = os.getenv("{NAME}", "{v}")\n',
        'reader = Reader({name}="{v}")\n',
        '{name} = (\n    "{v}"\n)\n',
        'text = f"""\nstage: test\n{name}: {v}\n"""\n',
        "# {name} was {v} until June\nlimit = 20\n",
    ],
    "typescript": [
        "const {name} = '{v}';\n",
        'export const options = {{ {name}: "{v}", retries: 3 }};\n',
        "process.env.{NAME} = `{v}`;\n",
        "const client = new Client({{ {name}: '{v}' }});\n",
        "const {name}: string =\n  '{v}';\n",
        "// {name}: {v}\nconst limit = 20;\n",
    ],
    "go": [
        'const {name} = "{v}"\n',
        "var {name} string = `{v}`\n",
        'var options = map[string]string{{"{name}": "{v}"}}\n',
    ],
    "ruby": ["{NAME} = '{v}'.freeze\n", "options = {{ {name}: '{v}' }}\n", "ENV['{NAME}'] ||= \"{v}\"\n"],
    "shellscript": [
        "export {NAME}='{v}'\n",
        '{NAME}="{v}"\n',
        "curl -s -H 'X-{name}: {v}' https://api.corp.net/rows\n",
        "./deploy --{name} '{v}' --stage test\n",
        "./deploy --{name}='{v}'\n",
    ],
    "yaml": [
        "  {name}: '{v}'\n",
        '  {NAME}: "{v}"\n',
        "  - name: {NAME}\n    value: '{v}'\n",
        "  {name}: {v}\n",
    ],
    "dotenv": ["{NAME}={v}\n", '{NAME}="{v}"\n'],
    "json": ['  "{name}": "{v}",\n'],
    "sql": ["set {name} = '{v}';\n", "-- {name} {v}\nselect 1;\n"],
}
#: How a value of several lines is written.
LONG_FORMS = {
    "python": ['{name} = """{v}"""\n', '{name} = """\\\n{v}\n"""\n'],
    "typescript": ["const {name} = `{v}\n`;\n"],
    "go": ["var {name} = `{v}\n`\n"],
    "ruby": ["{name} = <<~TEXT\n  {v}\nTEXT\n"],
    "shellscript": ["{NAME}='{v}'\n", "cat > key <<'END'\n{v}\nEND\n"],
    "yaml": ["  {name}: |\n    {v}\n"],
    "dotenv": ['{NAME}="{v}"\n'],
    "json": ['  "{name}": "{v}",\n'],
    "sql": ["set {name} = '{v}';\n"],
}


def planted():
    """Return kind, secret, language and the code it is written in, for every secret."""
    chance, told = Random(29), []
    for kind, make in MAKERS.items():
        for n in range(PER_KIND):
            secret = make(chance)
            is_long = "\n" in secret.text
            language = list(FILES)[(n + len(told)) % len(FILES)]
            form = chance.choice((LONG_FORMS if is_long else FORMS)[language])
            name = chance.choice(secret.words or NEUTRAL)
            value = secret.text
            if is_long and language == "json":
                value = value.replace("\n", "\\n")
            elif is_long and (language == "yaml" or "<<~" in form):
                value = value.replace("\n", "\n    ")
            told.append((kind, secret, language, form.format(name=name, NAME=name.upper(), v=value)))
    return told


def placed(language, code, place, proposal=None):
    """Return a gap with `code` in its place, and innocent code in all others."""
    before, innocent, after = FILES[language]
    gap = {"language": language, "prefix": before, "suffix": after, "final": innocent, "proposal": innocent}
    gap |= {"document": f"file.{language}", "outcome": "accepted"}
    if place == "prefix":
        gap["prefix"] = before + code
    elif place == "suffix":
        gap["suffix"] = "\n" + code + after
    else:
        gap[place] = code
    return gap


def refined(changes, **quality):
    rows = [
        {**change, "region_id": f"r{n}", "user_id": f"user{n % 40}", "session_id": f"s{n}"}
        for n, change in enumerate(changes)
    ]
    roomy = {"prefix_tokens": 4096, "suffix_tokens": 4096, "middle_tokens": 4096}
    return samples.refine(gaps(*rows), tokenizer(), settings(quality=quality, truncation=roomy))


def grams(text):
    n = min(PART, len(text))
    return {text[i : i + n] for i in range(len(text) - n + 1)}


def leaks(frame, hidden: list[Secret]):
    """Return the columns that hold a secret, or twelve characters of one."""
    searched = set().union(*(grams(part) for secret in hidden for part in secret.parts))
    sizes = {len(gram) for gram in searched}
    found = set()
    for column in frame.columns:
        if frame[column].dtype == pl.String:
            for text in frame[column].drop_nulls().unique():
                if any(text[i : i + n] in searched for n in sizes for i in range(len(text) - n + 1)):
                    found.add(column)
    return found


PLANTED = planted()
SECRETS = [secret for _, secret, _, _ in PLANTED]
#: Filters that have nothing to do with secrets, but would drop some of these files, are left to their own tests.
FEW = ("no_consent", "blank", "too_long", "secret")
EVERYTHING = {
    "perplexity": {"low_quantile": 0.0, "high_quantile": 1.0},
    "window": {"days": 3, "held_out_user_share": 0.0, "near_duplicate_similarity": None},
}


def test_there_are_enough_and_their_placeholders_name_them():
    assert len({kind.split(":")[0] for kind in MAKERS}) >= 20 and len(PLANTED) >= 300
    for kind, _, _, code in PLANTED:
        of_kind = kind.split(":")[0]
        random_too = {"high_entropy_string"} if of_kind == "password" else set()
        assert {found.type for found in secrets.find(code)} & {of_kind, *random_too}, kind


@pytest.mark.parametrize("place", ["prefix", "suffix", "replaced"])
def test_none_of_the_context_reaches_a_sample(place):
    kept, rejected = refined([placed(language, code, place) for _, _, language, code in PLANTED], filters=FEW)
    assert set(rejected["reason"]) <= {"duplicate"}
    assert not leaks(kept, SECRETS)
    if place != "replaced":  # which no sample holds
        assert len(kept) > 0.95 * len(PLANTED)
        assert kept.select(pl.concat_str("prefix", "suffix").str.contains("<secret:").all()).item()


@pytest.mark.parametrize("place", ["final", "proposal"])
def test_none_of_c_1_and_c_n_reaches_a_sample(place):
    kept, rejected = refined([placed(language, code, place) for _, _, language, code in PLANTED], filters=FEW)
    assert kept.is_empty() and set(rejected["reason"]) == {"secret"} and len(rejected) == len(PLANTED)


def test_none_reaches_a_training_set(tmp_path):
    chance = Random(31)
    places = ("prefix", "suffix", "replaced", "final", "proposal")
    both = [placed(language, code, chance.choice(places)) for _, _, language, code in PLANTED]
    innocent = [placed(language, innocent, "final") for language, (_, innocent, _) in FILES.items()]
    kept, _ = refined([*both, *innocent])
    lake = Lake(tmp_path)
    day = pl.lit(DAY).alias("day")
    lake.replace("filtered_samples", kept.select(day, pl.all()), [DAY])
    asked = settings(
        balance={"temperature": 1.0, "max_user_share": 1.0, "max_document_share": 1.0}, **EVERYTHING
    )
    balance.balance_days(lake, [DAY], asked)
    balanced = lake.read("balanced_samples", [DAY]).collect()
    likely = {
        "middle_nats_per_token": 1.0,
        "proposal_nats_per_token": 1.0,
        "middle_alone_nats_per_token": 2.0,
    }
    scored = balanced.with_columns(
        ifd=pl.lit(0.5), scorer=pl.lit("none"), **{k: pl.lit(v) for k, v in likely.items()}
    )
    lake.replace("scored_samples", scored.select(day, *SCORED_SCHEMA.names()), [DAY])
    built = window.write_training_set(lake, DAY + timedelta(days=1), None, asked)
    assert built.kept > 100
    for table in (
        "filtered_samples",
        "balanced_samples",
        "scored_samples",
        "training_set",
        "rejected_samples",
    ):
        assert not leaks(lake.read(table).collect(), SECRETS), table


def test_none_that_stands_across_a_cut_reaches_a_sample():
    chance, changes = Random(37), []
    for _, secret, language, code in PLANTED:
        before, innocent, after = FILES[language]
        at = code.find(secret.text[:PART])
        if at < 0:
            continue
        first, second = sorted(chance.sample(range(at + 1, at + len(secret.text.split("\n")[0])), 2))
        gap = placed(language, innocent, "final")
        cuts = [
            {"prefix": before + code[:first], "final": code[first:], "suffix": after},
            {"prefix": before, "final": code[:second], "suffix": code[second:] + after},
            {"prefix": before + code[:first], "final": code[first:second], "suffix": code[second:] + after},
            {
                "prefix": before + code[:first],
                "proposal": code[first:second],
                "suffix": code[second:] + after,
            },
            {
                "prefix": before + code[:first],
                "replaced": code[first:second],
                "suffix": code[second:] + after,
            },
        ]
        changes.append({**gap, **chance.choice(cuts)})
    kept, rejected = refined(changes, filters=FEW)
    assert not leaks(kept, SECRETS)
    assert len(kept) > 50 and (rejected["reason"] == "secret").sum() > 300


def test_leaks_are_seen():
    secret = Secret("Vq9-tulip-garden", ("Vq9-tulip-garden",))
    frame = pl.DataFrame({"a": ["x = 1"], "b": ["key = q9-tulip-gard"], "c": [1]})
    assert leaks(frame, [secret]) == {"b"}
