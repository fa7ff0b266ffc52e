"""Governance: forgetting a person and retention as jobs, which make nothing and so are no assets; and what keeps assets
from making days again whose input is gone.
"""

from collections.abc import Iterator
from datetime import UTC, datetime

import dagster as dg
from pydantic import Field

from assets.conventions import RETRY, days, frame_table, table
from echo_dagster.governance import forget as forgetting
from echo_dagster.governance import retention as retaining
from echo_dagster.lake import Lake
from echo_dagster.settings import Settings

_UNDER_WAY = [dg.DagsterRunStatus.STARTING, dg.DagsterRunStatus.STARTED, dg.DagsterRunStatus.CANCELING]


class Person(dg.Config):
    """Whom to forget. Run configurations are kept: never put a name here."""

    pseudonym: str = Field(pattern=r"^u_[0-9a-f]{16}$", description="as `user_id` has it in the tables")


def check_inputs(
    context: dg.AssetExecutionContext, settings: Settings, lake: Lake, source: str, days_before: int = 0
) -> None:
    """Fail where the days of this run were made of days of the table `source` that retention has removed."""
    made = context.asset_key.to_user_string()
    try:
        retaining.check_inputs(
            lake, settings, made, source, days(context), datetime.now(UTC), days_before=days_before
        )
    except retaining.InputGone as error:
        raise dg.Failure(str(error), allow_retries=False) from error


@dg.op(retry_policy=RETRY, out=dg.Out(dg.Nothing))
def forget_person(
    context: dg.OpExecutionContext,
    config: Person,
    settings: dg.ResourceParam[Settings],
    lake: dg.ResourceParam[Lake],
) -> Iterator[dg.Output]:
    """Remove a person from every table, page and unfinished training, and list the models that learnt from them."""
    done = forgetting.forget(lake, settings.data_dir, config.pseudonym, datetime.now(UTC))
    under_way = context.instance.get_runs(dg.RunsFilter(statuses=_UNDER_WAY))
    yield dg.Output(
        None,
        metadata={
            "rows": dict(done.rows),
            "models": frame_table(done.models.drop("pseudonym")),
            "pages": [str(page) for page in done.pages],
            "trainings": [str(training) for training in done.trainings],
            "bytes_freed": done.bytes_freed,
            # What these read before is written after: their rows go with the next retention run.
            "runs_under_way": [run.run_id for run in under_way if run.run_id != context.run_id],
        },
    )


@dg.op(retry_policy=RETRY, out=dg.Out(dg.Nothing))
def remove_what_is_old(
    context: dg.OpExecutionContext, settings: dg.ResourceParam[Settings], lake: dg.ResourceParam[Lake]
) -> Iterator[dg.Output]:
    """Remove days older than their tables keep, and what killed processes and forgotten people left."""
    done = retaining.retain(lake, settings, datetime.now(UTC))
    yield dg.Output(
        None,
        metadata={
            "tables": table([vars(kept) for kept in done.tables]),
            "rows_of_forgotten": done.rows_of_forgotten,
            "paths": [str(path) for path in done.paths],
        },
    )


@dg.job(
    description="Remove a person, given by pseudonym, from everything; `echo-dagster forget` takes a name."
)
def forget() -> None:
    """See `forget_person`."""
    forget_person()


@dg.job(description="Remove what is older than `retention` in the settings keeps, and what was left behind.")
def retention() -> None:
    """See `remove_what_is_old`."""
    remove_what_is_old()
