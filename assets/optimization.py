"""Stage 4 as assets: the base model, and the day's candidate, trained by DeepSpeed in a process of its own."""

import json

import dagster as dg

from assets.conventions import DAYS, OWNERS, TRAINING_POOL, days, plot
from echo_dagster import models
from echo_dagster.evaluation import champion, plots
from echo_dagster.lake import Lake
from echo_dagster.optimization import job, record
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
    reported = training.run(
        context=context,
        command=job.command(prepared.file, settings.training),
        env=job.environment(settings.training),
    ).get_materialize_result()
    trained = record.write_trained(lake, day, prepared)
    return dg.MaterializeResult(
        metadata={
            **(reported.metadata or {}),
            "status": "trained",
            "path": dg.MetadataValue.path(str(trained.path)),
            "digest": trained.digest,
            "provenance": dg.MetadataValue.json(json.loads(trained.provenance)),
            **plot("loss_plot", plots.training_curve, trained.history),
        },
        check_results=reported.check_results,
    )
