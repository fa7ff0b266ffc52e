import polars as pl
import pytest
from known import MIDDLES, held_out
from tiny import FIM

from echo_dagster.evaluation import compare as comparing
from echo_dagster.evaluation.compare import NothingToEvaluate, compare
from echo_dagster.evaluation.schema import EVALUATED_SCHEMA, PREDICTION_SCHEMA
from echo_dagster.evaluation.user import FEATURES, CalibratedUser
from echo_dagster.settings import Evaluation

SETTINGS = Evaluation(max_new_tokens=24, batch_size=4, bootstrap_samples=100, min_slice_samples=4)
#: Takes a proposal that is what the user kept, and hardly any other.
USER = CalibratedUser(
    (), (0.0,) * len(FEATURES), (1.0,) * len(FEATURES), (0.0, 0.0, 6.0, 0.0, 0.0, 0.0, 0.0), -3.0
)


@pytest.fixture(scope="module")
def compared(tiny_base, tiny_candidate):
    seen = []
    frames = compare(
        held_out(8),
        {"base": tiny_base, "champion": tiny_base, "candidate": tiny_candidate},
        FIM,
        SETTINGS,
        user=USER,
        progress=lambda done, total: seen.append((done, total)),
    )
    return *frames, seen


def gain(evaluated, metric, versus="base"):
    rows = evaluated.filter(
        (pl.col("role") == "candidate")
        & (pl.col("versus") == versus)
        & (pl.col("metric") == metric)
        & (pl.col("slice") == "all")
    )
    return rows.row(0, named=True)


def test_a_model_that_knows_the_gaps_by_heart_wins_on_every_metric(compared):
    predictions, evaluated, _ = compared
    assert (predictions.schema, evaluated.schema) == (PREDICTION_SCHEMA, EVALUATED_SCHEMA)
    known = predictions.filter((pl.col("role") == "candidate") & (pl.col("sample_id") < "002"))
    assert known["prediction"].to_list() == MIDDLES[:2]
    for metric in ("exact_match", "edit_similarity", "predicted_acceptance_rate"):
        assert gain(evaluated, metric)["low"] > 0, metric
    assert gain(evaluated, "middle_nats_per_token")["high"] < 0


def test_a_model_in_two_roles_runs_once_and_ties_with_itself(compared, tiny_base, tiny_candidate):
    predictions, evaluated, seen = compared
    columns = ["sample_id", "prediction", "middle_nats_per_token", "predicted_acceptance"]
    by_role = {role: predictions.filter(pl.col("role") == role) for role in ("base", "champion", "candidate")}
    assert by_role["base"].select(columns).equals(by_role["champion"].select(columns))
    assert gain(evaluated, "edit_similarity", "champion") | {"versus": "base"} == gain(
        evaluated, "edit_similarity"
    )
    assert set(by_role["champion"]["model_digest"]) == {tiny_base.digest} != {tiny_candidate.digest}
    # two models write and score C_N in 8 gaps; the base scores what both wrote
    assert {total for _, total in seen} == {2 * 3 * 8}
    assert [done for done, _ in seen] == sorted(done for done, _ in seen)
    assert seen[-1] == (48, 48)


def test_one_line_gaps_are_judged_on_one_line(compared):
    predictions = compared[0].filter(pl.col("sample_id").str.slice(2).cast(pl.Int64) % 4 < 2)
    assert predictions.height == 3 * 4
    assert not predictions["prediction"].str.strip_chars_start().str.contains("\n").any()


def test_the_same_call_gives_the_same_tables(compared, tiny_base, tiny_candidate):
    again = compare(
        held_out(8).reverse(),
        {"candidate": tiny_candidate, "base": tiny_base, "champion": tiny_base},
        FIM,
        SETTINGS,
        user=USER,
    )
    # time alone is never the same again
    assert again[0].drop("latency_s").equals(compared[0].drop("latency_s"))
    timeless = pl.col("metric") != "latency_s_per_completion"
    assert again[1].filter(timeless).equals(compared[1].filter(timeless))


def test_without_a_user_predicted_acceptance_is_null(tiny_base):
    predictions, evaluated = compare(held_out(2), {"base": tiny_base}, FIM, SETTINGS)
    assert predictions["predicted_acceptance"].to_list() == [None, None]
    assert "predicted_acceptance_rate" not in evaluated["metric"]


def test_nothing_held_out_is_said_and_not_measured(tiny_base):
    with pytest.raises(NothingToEvaluate):
        compare(held_out(0), {"base": tiny_base}, FIM, SETTINGS)


def test_any_name_is_a_role_and_none_is_refused(tiny_base, tiny_candidate):
    _, evaluated = compare(held_out(2), {"challenger": tiny_candidate, "base": tiny_base}, FIM, SETTINGS)
    assert evaluated.select("role", "versus").unique(maintain_order=True).rows() == [
        ("base", None),
        ("challenger", None),
        ("challenger", "base"),
    ]
    with pytest.raises(ValueError, match="name at least one model"):
        compare(held_out(2), {}, FIM, SETTINGS)


def test_the_base_says_how_likely_it_finds_what_each_model_wrote(compared, tiny_base):
    predictions, _, _ = compared
    by_role = {role: rows for (role,), rows in predictions.group_by("role", maintain_order=True)}
    column = "prediction_nats_per_token"
    empty = predictions["prediction"] == ""
    assert (predictions[column].is_null() == empty).all() and not empty.all()
    # what it wrote greedily itself surprises it less than what another model learnt by heart
    assert by_role["base"][column].mean() < by_role["candidate"][column].mean()
    alone, _ = compare(held_out(2), {"candidate": tiny_base}, FIM, SETTINGS)
    assert alone[column].null_count() == 2


def test_what_a_completion_costs_is_measured(compared):
    predictions, evaluated, _ = compared
    assert predictions["n_tokens"].is_between(0, 24 + 16).all()  # free tokens, and those of the carried text
    assert (predictions["latency_s"] > 0).all()
    assert gain(evaluated, "tokens_per_completion")["n_samples"] == 8


def test_a_proposal_of_nothing_is_never_accepted():
    answers = pl.DataFrame({"prediction": ["", " \n", "x"], "n_tokens": [0, 1, 1]}).with_columns(
        middle_nats_per_token=pl.lit(1.0), prediction_nats_per_token=pl.lit(1.0), latency_s=pl.lit(1.0)
    )
    judged = comparing._judge(
        held_out(3), answers, CalibratedUser((), (0.0,) * 7, (1.0,) * 7, (0.0,) * 7, 0.0)
    )
    assert judged["predicted_acceptance"].to_list() == [0.0, 0.0, 0.5]


def test_the_sample_is_seeded_and_does_not_depend_on_the_order_of_rows():
    rows = held_out(50)
    one = comparing.sample(rows, 10, 1)
    assert one.equals(comparing.sample(rows.reverse(), 10, 1))
    assert one["sample_id"].is_sorted()
    assert one.height == 10
    assert not one.equals(comparing.sample(rows, 10, 2))
    # growing the sample keeps what was in it, so that days with other caps stay comparable
    assert set(one["sample_id"]) < set(comparing.sample(rows, 20, 1)["sample_id"])
    assert comparing.sample(rows, 99, 1).equals(rows)
