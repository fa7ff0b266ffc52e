from datetime import timedelta

from logged import DAY, gap, lake_of, not_accepted

from echo_dagster.evaluation import decisions


def read(lake, *, first=DAY, last=DAY, max_decisions=100, seed=1):
    return decisions.read(lake, first, last, max_decisions=max_decisions, seed=seed)


def test_what_was_shown_and_not_taken_is_not_accepted(tmp_path):
    rows = [
        gap("a"),
        gap("b", outcome="accepted_then_edited"),
        gap("c", outcome="partially_accepted"),
        not_accepted("d"),
        not_accepted("e", outcome="ignored"),
        not_accepted("f", outcome="typed_through"),
        not_accepted("g", outcome="rejected_then_written"),
    ]
    found = read(lake_of(tmp_path, rows))
    assert found.rows["completion_id"].to_list() == list("abcdefg")
    assert found.rows["is_accepted"].to_list() == [True] * 3 + [False] * 4
    assert (found.n_decided, found.left_out) == (7, {})


def test_what_is_left_out_is_counted_by_its_reason(tmp_path):
    rows = [
        gap("kept"),
        not_accepted("s1", outcome="superseded"),
        not_accepted("s2", outcome="superseded"),
        gap("n1", consent=False),
        gap("n2", consent=None),
        not_accepted("p", proposal=" \n\t"),
        not_accepted("f", final="\n"),
    ]
    found = read(lake_of(tmp_path, rows))
    assert found.rows["completion_id"].to_list() == ["kept"]
    assert found.left_out == {"blank_final": 1, "blank_proposal": 1, "no_consent": 2, "superseded": 2}


def test_a_proposal_shown_again_is_one_decision_read_where_it_was_accepted(tmp_path):
    rows = [
        gap("taken", completion_id="c", final="taken"),
        not_accepted("later", at_s=50, completion_id="c", final="later", outcome="superseded"),
        not_accepted("early", completion_id="d", final="early", outcome="superseded"),
        not_accepted("last", at_s=50, completion_id="d", final="last", outcome="ignored"),
    ]
    found = read(lake_of(tmp_path, rows)).rows
    assert found.select("completion_id", "final", "is_accepted").rows() == [
        ("c", "taken", True),
        ("d", "last", False),
    ]


def test_only_the_window_is_read(tmp_path):
    rows = [gap(f"day {n}", day=DAY + timedelta(days=n)) for n in range(4)]
    found = read(lake_of(tmp_path, rows), first=DAY + timedelta(days=1), last=DAY + timedelta(days=2))
    assert found.rows["completion_id"].to_list() == ["day 1", "day 2"]


def test_a_window_without_gaps_is_no_decisions(tmp_path):
    found = read(lake_of(tmp_path, [gap("a")]), first=DAY - timedelta(days=9), last=DAY - timedelta(days=1))
    assert (found.rows.height, found.n_decided, found.left_out) == (0, 0, {})
    assert found.rows.schema == decisions.DECISION_SCHEMA


def test_the_cap_takes_a_seeded_sample_and_says_so(tmp_path):
    lake = lake_of(tmp_path, [gap(f"{n:02}") for n in range(30)])
    one, again, other = (read(lake, max_decisions=10, seed=seed) for seed in (1, 1, 2))
    assert one.rows.equals(again.rows)
    assert set(one.rows["completion_id"]) != set(other.rows["completion_id"])
    assert (one.rows.height, one.n_decided) == (10, 30)
