"""Pairs of C_N and the C_1 that was shown, as token ids, and the job that trains on them after a fine-tune.

Every row of a training set becomes a pair or is left out with a reason. What does not live here: the training itself
(`train_preference.py`), the job file's other fields (`job.py`). Imports neither torch nor trl.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from datetime import date
from hashlib import sha256
from typing import Any

import polars as pl
from rapidfuzz.distance import Levenshtein
from tokenizers import Tokenizer

from echo_dagster.configuration import deepspeed_file
from echo_dagster.fim import Encoded, FimError, FimFormat, encode, fim_format
from echo_dagster.lake import Lake
from echo_dagster.models import ResolvedModel, load_tokenizer
from echo_dagster.optimization import deepspeed_config, job
from echo_dagster.optimization.job import Job, Prepared
from echo_dagster.optimization.schema import trained_settings
from echo_dagster.optimization.validation import split
from echo_dagster.settings import Preference, Settings

#: Why a row is no pair, in the order in which it is asked.
REASONS = ("plain_code", "no_proposal", "equal", "too_alike", "too_long", "lengths_differ", "does_not_fit")

PAIR_SCHEMA = pl.Schema(
    {
        "sample_id": pl.String(),
        "prompt_ids": pl.List(pl.Int64()),
        "chosen_ids": pl.List(pl.Int64()),  # carried text, C_N, end token
        "rejected_ids": pl.List(pl.Int64()),  # carried text, C_1, end token
    }
)

_BLANK_END = re.compile(r"\r?\n\s*\Z")


@dataclass(frozen=True)
class Pairs:
    """PAIR_SCHEMA in the order of `sample_id`; and how many rows are none, by reason."""

    frame: pl.DataFrame
    left_out: dict[str, int]


@dataclass(frozen=True)
class NoPairs:
    """Why a day trains on no pairs, though it is asked to."""

    reason: str
    left_out: dict[str, int]


def pairs(
    rows: pl.DataFrame,
    fmt: FimFormat,
    tokenizer: Tokenizer,
    settings: Preference,
    *,
    middle_tokens: int,
    max_tokens: int,
) -> Pairs:
    """Return the pairs of a training set.

    Args:
        rows: at least sample_id, prefix, suffix and middle; without `proposal`, none is a pair.
        fmt: the markers of `tokenizer`.
        tokenizer: of the model to train.
        settings: what a pair must be.
        middle_tokens: what C_N was cut to; a longer C_1 is no pair.
        max_tokens: the model's window.
    """
    found: list[dict[str, Any]] = []
    left_out: Counter[str] = Counter()
    for row in rows.sort("sample_id").iter_rows(named=True):
        made = _pair(row, fmt, tokenizer, settings, middle_tokens, max_tokens)
        if isinstance(made, str):
            left_out[made] += 1
        else:
            found.append({"sample_id": row["sample_id"], **made})
    counted = {reason: left_out[reason] for reason in REASONS if left_out[reason]}
    return Pairs(pl.DataFrame(found, schema=PAIR_SCHEMA), counted)


def _pair(  # noqa: PLR0911 - a return for each reason
    row: Mapping[str, Any],
    fmt: FimFormat,
    tokenizer: Tokenizer,
    settings: Preference,
    middle_tokens: int,
    max_tokens: int,
) -> dict[str, list[int]] | str:
    """Return the token ids of a pair, or the reason why a row is none."""
    if row.get("origin") == "plain":
        return "plain_code"
    middle, proposal = row["middle"], row.get("proposal") or ""
    if not proposal.strip():
        return "no_proposal"
    if not _BLANK_END.search(middle):  # truncation takes blank lines off the end of C_N
        proposal = _BLANK_END.sub("", proposal)
    if proposal == middle:
        return "equal"
    if Levenshtein.normalized_distance(proposal, middle) < settings.min_difference:
        return "too_alike"
    if len(tokenizer.encode(proposal, add_special_tokens=False).ids) > middle_tokens:
        return "too_long"
    try:
        chosen, rejected = (
            encode(fmt, tokenizer, row["prefix"], row["suffix"], text, max_tokens=max_tokens)
            for text in (middle, proposal)
        )
    except FimError:
        return "does_not_fit"
    lengths = sorted(len(answer.target_ids) for answer in (chosen, rejected))
    if lengths[1] > settings.max_length_ratio * lengths[0]:
        return "lengths_differ"
    # a window cuts prompts by what the answer leaves; both answers must stand behind the same one
    prompt = min(chosen, rejected, key=_prompt_length).prompt_ids
    return {"prompt_ids": prompt, "chosen_ids": chosen.target_ids, "rejected_ids": rejected.target_ids}


def _prompt_length(encoded: Encoded) -> int:
    return len(encoded.prompt_ids)


def prepare_day(lake: Lake, day: date, trained: Prepared, settings: Settings) -> Prepared | NoPairs | None:
    """Prepare the second training of `day`, from the model that the first one left. See `prepare`."""
    return prepare(lake.read("training_set", [day]).collect(), trained.job, settings)


def prepare(rows: pl.DataFrame, trained: Job, settings: Settings) -> Prepared | NoPairs | None:
    """Freeze the pairs of a training set and write their job beside that of the fine-tune `trained`.

    Returns:
        The job; why there are too few pairs, which the record of the fine-tune then says too; None where the settings
        do not ask for it.

    Raises:
        TrainingMissing: `trained` has no result.
    """
    record = job.result(trained.out)
    asked = settings.preference
    if not asked.enabled:
        _note(trained, record, None)
        return None
    tokenizer = load_tokenizer(trained.model.path)
    held_out = 0
    if trained.training.validation_share:  # what said when to stop is not trained on afterwards either
        kept = split(rows, trained.training).trained
        rows, held_out = kept, rows.height - kept.height
    made = pairs(
        rows,
        fim_format(trained.fim, tokenizer),
        tokenizer,
        asked,
        middle_tokens=settings.truncation.middle_tokens,
        max_tokens=trained.max_tokens,
    )
    left_out = made.left_out | ({"validation": held_out} if held_out else {})
    if made.frame.height < asked.min_pairs:
        reason = (
            f"{made.frame.height} pairs of C_N and C_1, fewer than preference.min_pairs ({asked.min_pairs}); "
            "the fine-tune stands"
        )
        _note(trained, record, {"status": "skipped", "reason": reason, "left_out": left_out})
        return NoPairs(reason, left_out)
    _note(trained, record, None)
    training = trained.training.model_copy(
        update={"learning_rate": asked.learning_rate, "epochs": asked.epochs}
    )
    config = deepspeed_config.read(deepspeed_file(training.deepspeed), training)
    facts = {
        "trained": trained.digest,
        "model": record["model_digest"],
        "pairs_digest": _digest(made.frame),
        "preference": asked.model_dump(mode="json"),
        "training": trained_settings(training),
        "deepspeed": config,
        "code_digest": job.code_digest(),
    }
    digest = sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:16]
    home = trained.out.parent / digest
    # the name by which forgetting a person finds whose samples unfinished work holds
    frozen = home / "work" / "samples.parquet"
    frozen.parent.mkdir(parents=True, exist_ok=True)
    made.frame.write_parquet(frozen)
    planned = replace(
        trained,
        digest=digest,
        out=home,
        samples=frozen,
        model=ResolvedModel(trained.model.name, trained.result, record["model_digest"]),
        training=training,
        deepspeed=config,
        preference={
            "settings": facts["preference"],
            "pairs": made.frame.height,
            "pairs_digest": facts["pairs_digest"],
            "left_out": left_out,
            "mean_chosen_tokens": made.frame["chosen_ids"].list.len().mean(),
            "mean_rejected_tokens": made.frame["rejected_ids"].list.len().mean(),
        },
    )
    file = home / "job.json"
    job.write_json(file, _told(planned))
    return Prepared(file, planned)


def record_of(planned: Job, outcome: Mapping[str, Any]) -> dict[str, Any]:
    """Return the record of a finished job: that of the fine-tune, with the job's own digest and `preference`.

    So samples, lineage and the model that the day started from are told as for a day without pairs.
    """
    assert planned.preference is not None
    before = json.loads((planned.model.path / "provenance.json").read_text(encoding="utf-8"))
    return {
        **before,
        "job_digest": planned.digest,
        **{name: outcome[name] for name in ("model_digest", "adapter_digest") if outcome.get(name)},
        "preference": {
            "status": "trained",
            "started_from": {"job_digest": before["job_digest"], "digest": before["model_digest"]},
            **planned.preference,
            "training": trained_settings(planned.training),
            "metrics": outcome["metrics"],
            "versions": outcome["versions"],
        },
    }


def _note(trained: Job, record: Mapping[str, Any], told: Mapping[str, Any] | None) -> None:
    """Write into the record of a fine-tune what became of its pairs, or that nothing did."""
    noted = {name: value for name, value in record.items() if name != "preference"}
    if told is not None:
        noted["preference"] = dict(told)
    if noted != record:
        job.write_json(trained.result / "provenance.json", noted)


def _told(planned: Job) -> dict[str, Any]:
    """Return a job as `Job.read` reads it."""
    told = asdict(replace(planned, fim=None, training=None))  # type: ignore[arg-type]
    told["fim"] = planned.fim.model_dump(mode="json")
    told["training"] = planned.training.model_dump(mode="json")
    told["model"]["path"] = str(planned.model.path.absolute())
    return {**told, "out": str(planned.out), "samples": str(planned.samples)}


def _digest(frame: pl.DataFrame) -> str:
    total = sha256()
    for row in frame.iter_rows():
        total.update(json.dumps(row).encode())
    return total.hexdigest()[:16]
