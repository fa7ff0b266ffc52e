"""Stage 4 as assets: the base model, and the day's candidate, trained by DeepSpeed in a process of its own."""

import json
from typing import Any

import dagster as dg
from dagster._core.errors import DagsterPipesExecutionError

from assets.conventions import DAYS, OWNERS, TRAINING_POOL, days, plot
from echo_dagster import models
from echo_dagster.evaluation import champion, plots
from echo_dagster.lake import Lake
from echo_dagster.optimization import job, preference, record
from echo_dagster.settings import Settings


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
        dg.AssetCheckSpec(
            job.FINISHED_CHECK,
            asset="checkpoint",
            description="The training process itself said that it took every step and that the loss is a number.",
        )
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
            "status": "trained",
            "path": dg.MetadataValue.path(str(trained.path)),
            "digest": trained.digest,
            "provenance": dg.MetadataValue.json(json.loads(trained.provenance)),
            **plot("loss_plot", plots.training_curve, trained.history),
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
