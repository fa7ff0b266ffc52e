"""The code location as Dagster shows it, before anything runs."""

import dagster as dg
import pytest

from echo_dagster.definitions import defs

GROUPS = {
    "acquisition": {"raw_events"},
    "extraction": {"gap_sessions"},
    "refinery": {"filtered_samples", "balanced_samples", "scored_samples", "training_set"},
    "optimization": {"base_model", "checkpoint", "static_baseline"},
    "evaluation": {"online_metrics", "evaluated_model", "champion", "report", "scaling"},
}
ON_DEMAND = {"scaling"}
DATA = {
    "raw_events",
    "gap_sessions",
    "online_metrics",
    "filtered_samples",
    "balanced_samples",
    "scored_samples",
}


@pytest.fixture(scope="module")
def graph():
    return defs.resolve_asset_graph()


def names(graph) -> set[str]:
    return {key.to_user_string() for key in graph.get_all_asset_keys()}


def test_the_assets_are_those_of_the_design_in_their_groups(graph):
    found = {}
    for key in graph.get_all_asset_keys():
        found.setdefault(graph.get(key).group_name, set()).add(key.to_user_string())
    assert found == GROUPS


def test_every_asset_says_what_it_is_whose_it_is_and_of_what_kind(graph):
    for key in graph.get_all_asset_keys():
        node = graph.get(key)
        assert node.description and node.owners and node.kinds, key


def test_every_table_shows_its_columns(graph):
    for name in DATA:
        columns = graph.get(dg.AssetKey(name)).metadata["dagster/column_schema"].columns
        assert columns[0].name == "day" and len(columns) > 5, name


def test_data_assets_take_ranges_and_model_assets_take_days(graph):
    for name in names(graph) - {"base_model"}:
        node = graph.get(dg.AssetKey(name))
        assert (
            isinstance(node.partitions_def, dg.DailyPartitionsDefinition)
            and node.partitions_def.end_offset == 0
        )
        policy = node.backfill_policy
        per_run = 1 if policy is None else policy.max_partitions_per_run
        assert (per_run > 1) == (name in DATA | {"training_set", "report"}), name


def test_every_data_stage_has_a_blocking_conservation_check(graph):
    blocking = {
        key.asset_key.to_user_string()
        for key in graph.asset_check_keys
        if key.name == "conservation" and graph.get_check_spec(key).blocking
    }
    assert blocking == (DATA - {"online_metrics"}) | {"training_set"}


def test_held_out_data_in_a_training_set_blocks(graph):
    spec = graph.get_check_spec(dg.AssetCheckKey(dg.AssetKey("training_set"), "no_held_out_data"))
    assert spec.blocking


def test_every_daily_asset_is_expected_by_a_deadline(graph):
    for name in names(graph) - {"base_model"} - ON_DEMAND:
        assert graph.get(dg.AssetKey(name)).freshness_policy_or_from_metadata is not None, name


def test_what_runs_on_demand_is_not_in_the_daily_run_and_is_never_late(graph):
    in_daily = {
        key.to_user_string() for key in defs.resolve_job_def("daily").asset_layer.executable_asset_keys
    }
    assert in_daily == names(graph) - ON_DEMAND
    for name in ON_DEMAND:
        assert graph.get(dg.AssetKey(name)).freshness_policy_or_from_metadata is None
    in_scale = defs.resolve_job_def("scale").asset_layer.executable_asset_keys
    assert {key.to_user_string() for key in in_scale} == {"scaling"}


def test_a_run_of_the_study_may_ask_for_its_own_shares_and_seeds_and_need_not():
    job = defs.resolve_job_def("scale")
    validated = dg.validate_run_config(
        job, {"ops": {"scaling": {"config": {"shares": [0.5, 1.0], "seeds": 2}}}}
    )
    assert validated["ops"]["scaling"]["config"] == {"shares": [0.5, 1.0], "seeds": 2}
    assert dg.validate_run_config(job, {})
    with pytest.raises(dg.DagsterInvalidConfigError):
        dg.validate_run_config(job, {"ops": {"scaling": {"config": {"share": 0.5}}}})


def test_a_gap_open_at_midnight_needs_the_day_before(graph):
    raw, gaps = graph.get(dg.AssetKey("raw_events")), graph.get(dg.AssetKey("gap_sessions"))
    mapping = graph.get_partition_mapping(gaps.key, raw.key)
    assert (mapping.start_offset, mapping.end_offset) == (-1, 0)


def test_a_training_set_never_reads_its_own_day(graph):
    mapping = graph.get_partition_mapping(dg.AssetKey("training_set"), dg.AssetKey("scored_samples"))
    assert mapping.end_offset == -1


def test_the_nightly_schedule_takes_yesterday():
    from datetime import UTC, datetime

    schedule = defs.resolve_schedule_def("nightly")
    assert schedule.execution_timezone == "UTC"
    with dg.DagsterInstance.ephemeral() as instance:
        tick = schedule.evaluate_tick(
            dg.build_schedule_context(
                instance=instance,
                scheduled_execution_time=datetime(2022, 9, 2, 2, tzinfo=UTC),
                repository_def=defs.get_repository_def(),
            )
        )
    assert [request.partition_key for request in tick.run_requests] == ["2022-09-01"]
