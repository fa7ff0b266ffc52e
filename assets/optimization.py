"""Stage 4 as assets: the base model, the day's candidate and, on some days, the static baseline that it is held
against, each trained by DeepSpeed in a process of its own.
"""

import json
from datetime import date
from typing import Any

import dagster as dg
from dagster._core.errors import DagsterPipesExecutionError

from assets.conventions import (
    DAYS,
    OWNERS,
    TRAINING_POOL,
    column_schema,
    days,
    frame_table,
    plot,
    progress,
)
from echo_dagster import models
from echo_dagster.evaluation import champion, plots
from echo_dagster.lake import Lake
from echo_dagster.optimization import job, preference, record, static
from echo_dagster.optimization.schema import STATIC_SCHEMA
from echo_dagster.refinery import static as static_sets
from echo_dagster.settings import Settings

_FINISHED = "The training process itself said that it took every step and that the loss is a number."


def reference_model(settings: Settings) -> models.ResolvedModel:
    """Return the base model, which scores, and from which candidates start."""
    return models.resolve(settings.base_model, settings.data_dir)


@dg.asset(group_name="optimization", owners=OWNERS, kinds={"huggingface"})
def base_model(settings: dg.ResourceParam[Settings]) -> dg.MaterializeResult:
    """The model to improve: a resolved local directory that transformers loads."""
    model = reference_model(settings)
    return dg.MaterializeResult(
        metadata={
            "name": model.name,
            "digest": model.digest,
            "path": dg.MetadataValue.path(str(model.path)),
            "fim_layout": models.fim_tokens(settings.base_model.fim, model.path).layout,
        }
    )


@dg.asset(
    group_name="optimization",
    partitions_def=DAYS,
    owners=OWNERS,
    kinds={"pytorch", "deepspeed", "huggingface"},
    deps=["training_set", "base_model"],
    pool=TRAINING_POOL,
    check_specs=[
        dg.AssetCheckSpec(job.FINISHED_CHECK, asset="checkpoint", description=_FINISHED),
    ],
)
def checkpoint(
    context: dg.AssetExecutionContext,
    settings: dg.ResourceParam[Settings],
    lake: dg.ResourceParam[Lake],
    training: dg.ResourceParam[dg.PipesSubprocessClient],
) -> dg.MaterializeResult:
    """The day's candidate: a model directory with its provenance; or the reason why nothing was trained."""
    (day,) = days(context)
    base = reference_model(settings)
    prepared = job.prepare_day(lake, day, base, champion.current(lake, day, base), settings)
    if isinstance(prepared, job.NothingToTrain):
        record.write_skipped(lake, day, prepared.reason)
        return dg.MaterializeResult(
            metadata={"status": "skipped", "reason": prepared.reason},
            check_results=[
                dg.AssetCheckResult(
                    check_name=job.FINISHED_CHECK,
                    passed=False,
                    severity=dg.AssetCheckSeverity.WARN,
                    description=f"skipped: {prepared.reason}",
                )
            ],
        )
    reported = _train(context, settings, training, prepared)
    preferred = preference.prepare_day(lake, day, prepared, settings)
    told: dict[str, Any] = dict(reported.metadata or {})
    if isinstance(preferred, job.Prepared):
        prepared = preferred
        reported = _train(context, settings, training, prepared, module="train_preference")
        told |= reported.metadata or {}
    trained = record.write_trained(lake, day, prepared)
    return dg.MaterializeResult(
        metadata={
            **told,
            **_of_model(trained),
            **_of_pairs(preferred),
        },
        check_results=reported.check_results,
    )


def _train(
    context: dg.AssetExecutionContext,
    settings: Settings,
    training: dg.PipesSubprocessClient,
    prepared: job.Prepared,
    module: str = "train",
) -> dg.MaterializeResult:
    """Run a training program as a Pipes child to its end; return what it reported.

    Raises:
        Failure: the process ended without a result; the reason is the one that its ranks left.
    """
    try:
        return training.run(
            context=context,
            command=job.command(prepared.file, prepared.job.training, module),
            env=job.environment(settings.training),
        ).get_materialize_result()
    except DagsterPipesExecutionError as error:
        # Dagster tells the exit status in words alone
        status = next((int(word) for word in str(error).split() if word.lstrip("-").isdigit()), 1)
        raise dg.Failure(f"training stopped: {job.why_failed(prepared.job, status)}") from error


def _of_model(trained: record.Trained) -> dict[str, Any]:
    """Return where a trained model is, what it was made of, and how its loss fell."""
    return {
        "status": "trained",
        "path": dg.MetadataValue.path(str(trained.path)),
        "digest": trained.digest,
        "provenance": dg.MetadataValue.json(json.loads(trained.provenance)),
        **plot("loss_plot", plots.training_curve, trained.history),
    }


def _of_pairs(preferred: job.Prepared | preference.NoPairs | None) -> dict[str, Any]:
    """Return what became of the pairs of C_N and C_1, where the settings ask for them."""
    if preferred is None:
        return {}
    if isinstance(preferred, preference.NoPairs):
        left_out = preferred.left_out
        return {
            "preference": f"skipped: {preferred.reason}",
            "pairs_left_out": dg.MetadataValue.json(left_out),
        }
    told = preferred.job.preference
    assert told is not None
    history = json.loads((preferred.job.result / "preference.json").read_text(encoding="utf-8"))
    return {
        "preference": "trained",
        "pairs": told["pairs"],
        "pairs_left_out": dg.MetadataValue.json(told["left_out"]),
        **plot("preference_plot", plots.preference_curve, history),
    }


@dg.asset(
    group_name="optimization",
    partitions_def=DAYS,
    owners=OWNERS,
    kinds={"pytorch", "deepspeed", "huggingface"},
    # `checkpoint` comes first: where there is no candidate, there is nothing to hold it against.
    deps=["checkpoint", "training_set", "scored_samples", "base_model"],
    pool=TRAINING_POOL,
    metadata={"dagster/column_schema": column_schema(STATIC_SCHEMA)},
    check_specs=[
        dg.AssetCheckSpec(job.FINISHED_CHECK, asset="static_baseline", description=_FINISHED),
        dg.AssetCheckSpec(
            static.EQUAL_CHECK,
            asset="static_baseline",
            description="It was trained on as many samples as the candidate.",
        ),
    ],
)
def static_baseline(
    context: dg.AssetExecutionContext,
    settings: dg.ResourceParam[Settings],
    lake: dg.ResourceParam[Lake],
    training: dg.ResourceParam[dg.PipesSubprocessClient],
) -> dg.MaterializeResult:
    """The base model trained on as many gaps of plain code as the candidate had samples; or why it was not."""
    (day,) = days(context)
    skipped = static.not_due(day, settings) or static.no_candidate(lake, day)
    if skipped is not None:
        return _no_static_baseline(lake, day, skipped.reason, is_expected=True)
    base = reference_model(settings)
    tokenizer = models.load_tokenizer(base.path)
    cut = static_sets.write_static_set(
        lake, day, tokenizer, settings, progress(context, "cutting plain code")
    )
    prepared = static.prepare_day(lake, day, base, settings, cut.shortfall)
    if isinstance(prepared, job.NothingToTrain):
        return _no_static_baseline(lake, day, prepared.reason, is_expected=False)
    reported = _train(context, settings, training, prepared)
    trained = record.write_trained(lake, day, prepared, "static_baseline")
    return dg.MaterializeResult(
        metadata={
            **(reported.metadata or {}),
            **_of_model(trained),
            "gaps_left_out": dg.MetadataValue.json(cut.left_out),
            "mix": frame_table(cut.mix),
        },
        check_results=[*(reported.check_results or []), _equal(lake, day, cut.shortfall)],
    )


def _no_static_baseline(lake: Lake, day: date, reason: str, *, is_expected: bool) -> dg.MaterializeResult:
    """Record why there is no static baseline of a day; a reason that nobody asked for warns."""
    record.write_skipped(lake, day, reason, "static_baseline")
    if is_expected:
        static_sets.write_none(lake, day)
    return dg.MaterializeResult(
        metadata={"status": "skipped", "reason": reason},
        check_results=[
            dg.AssetCheckResult(
                check_name=name,
                passed=is_expected,
                severity=dg.AssetCheckSeverity.WARN,
                description=f"skipped: {reason}",
            )
            for name in (job.FINISHED_CHECK, static.EQUAL_CHECK)
        ],
    )


def _equal(lake: Lake, day: date, shortfall: str | None) -> dg.AssetCheckResult:
    """Say whether the day's two trainings read as many samples, as their records tell."""
    candidate, baseline = static.trained_on(lake, day)
    return dg.AssetCheckResult(
        check_name=static.EQUAL_CHECK,
        passed=candidate == baseline,
        severity=dg.AssetCheckSeverity.WARN,
        description=shortfall,
        metadata={"candidate": candidate, "static_baseline": baseline},
    )
