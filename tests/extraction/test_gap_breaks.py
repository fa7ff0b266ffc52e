import dataclasses

import pytest
from small_log import Log, seconds

from echo_dagster.extraction.policies import PRESETS, Policy

ECHO, ZED, NES = PRESETS["echo"], PRESETS["zed"], PRESETS["copilot_nes"]


def test_an_edit_inside_changes_the_gap_and_one_before_it_shifts_it():
    log = Log("ab\ncd\n").shown(0, 4, "XY").edited(1, 4, 0, "x").edited(2, 0, 1, "long", "format")
    log.edited(3, 8, 0, "y")  # `a` became `long`: three units more; and after the x
    gap = log.gap()
    assert (gap["final"], gap["n_edits"], gap["break_reason"]) == ("xy", 2, "stream_end")
    assert (gap["prefix"], gap["suffix"], gap["replaced"]) == ("ab\nc", "d\n", "")
    assert gap["censored"]


def test_the_gap_is_what_the_proposal_replaces_and_its_bounds_are_inside():
    log = (
        Log("f(a)b").shown(0, 2, "x)", length=2).edited(1, 2, 0, "<").edited(2, 5, 0, ">").edited(3, 3, 2, "")
    )
    gap = log.gap()
    assert (gap["replaced"], gap["suffix"], gap["final"]) == ("a)", "b", "<>")


def test_astral_characters_count_two_units():
    gap = (
        Log("😀=\n")
        .shown(0, 3, "🚀", prefix="😀=", suffix="\n")
        .add(1, "edited", offset=3, length=0, text="🧭🚀")
    )
    gap.add(2, "edited", offset=5, length=2, text="é")
    row = gap.gap()
    assert (row["offset"], row["final"], row["typed_chars"]) == (3, "🧭é", 5)


def test_an_edit_elsewhere_ends_the_gap_with_the_text_before_it():
    gap = Log("a\nb\n").shown(0, 1, "X").edited(5, 1, 0, "x").edited(9, 4, 0, "more").gap()
    assert (gap["break_reason"], gap["final"], seconds(gap)) == ("edited_elsewhere", "x", 9)


@pytest.mark.parametrize(
    ("reason", "distance", "ends"),
    [
        ("format", 2, False),
        ("auto_import", 2, False),
        ("snippet", 2, True),
        ("snippet", 1000, False),
        ("undo", 2000, True),
    ],
)
def test_automatic_edits_elsewhere_do_not_end_a_gap_and_snippets_only_far_away(reason, distance, ends):
    log = Log("." * 3000).shown(0, 2500, "X").edited(1, 2500 - distance - 1, 1, "", reason)
    gap = log.edited(2, 2499, 0, "x").gap()
    assert (gap["break_reason"], gap["final"]) == (("edited_elsewhere", "") if ends else ("stream_end", "x"))


def test_an_acceptance_can_bring_its_import_along():
    log = (
        Log("\nfoo")
        .shown(0, 4, "bar()")
        .edited(1, 4, 0, "bar()", "accept")
        .edited(1, 0, 0, "import bar", "accept")
    )
    gap = log.accepted(1).edited(2, 19, 0, ".x").gap()
    assert (gap["break_reason"], gap["final"], gap["outcome"]) == ("stream_end", "bar().x", "accepted")
    assert gap["retained_0s"] == 5


def test_an_edit_across_an_anchor_ends_the_gap():
    gap = Log("abc\ndef").shown(0, 3, "X").edited(1, 3, 0, "xy").edited(2, 1, 3, "?").gap()
    assert (gap["break_reason"], gap["final"]) == ("anchor_edited", "xy")


def test_rewriting_the_line_around_the_gap_is_an_edit_inside():
    gap = (
        Log("\tcon\nend").shown(0, 4, "st x = 1").edited(1, 0, 4, "\tconst x = 1", "accept").accepted(1).gap()
    )
    assert (gap["final"], gap["outcome"], gap["retained_0s"], gap["n_edits"]) == (
        "st x = 1",
        "accepted",
        8,
        1,
    )
    both = Log("\tcon();\nend").shown(0, 4, "sole").edited(1, 0, 7, "\tconsole();").gap()
    assert (both["final"], both["break_reason"]) == ("sole", "stream_end")
    other = Log("\tcon\nend").shown(0, 4, "st x = 1").edited(1, 0, 4, "\tlet x = 1").gap()
    assert other["break_reason"] == "edited_elsewhere"


def test_an_anchor_that_is_no_longer_that_of_the_proposal_is_not_recognised():
    log = Log("ab\ncd").shown(0, 5, "X").edited(1, 4, 1, "D", "format")
    assert (
        log.edited(2, 3, 2, "cDx").gap(ZED)["break_reason"] == "stream_end"
    )  # an edit before it, as far as is known
    across = Log("ab\ncd").shown(0, 4, "X", length=1).edited(1, 3, 1, "C", "format").edited(2, 3, 2, "Cx")
    assert across.gap()["break_reason"] == "anchor_edited"


def test_idle_ends_the_gap_at_its_deadline_and_not_at_the_next_event():
    log = Log("a").shown(0, 1, "X").edited(100, 1, 0, "x").add(2000, "cursor", offset=0)
    gap = log.gap()
    assert (gap["break_reason"], seconds(gap), gap["final"]) == ("idle", 400, "x")
    exactly = Log("a").shown(0, 1, "X").edited(300, 1, 0, "too late").gap()
    assert (exactly["break_reason"], exactly["final"]) == ("idle", "")


def test_lifetime_ends_the_gap_however_busy_it_is():
    log = Log("").shown(0, 0, "X")
    for at in range(9, 2000, 9):
        log.edited(at, 0, 0, "x")
    assert (log.gap()["break_reason"], seconds(log.gap())) == ("lifetime", 900)
    assert seconds(log.gap(ZED)) == 300
    assert (log.gap(NES)["break_reason"], seconds(log.gap(NES))) == ("idle", 117 + 5)


def test_copilot_waits_two_minutes_and_then_takes_the_first_quiet_five_seconds():
    log = Log("").shown(0, 0, "X")
    for at in range(4, 132, 4):
        log.edited(at, 0, 0, "x")
    log.add(500, "closed")
    assert (log.gap(NES)["break_reason"], seconds(log.gap(NES))) == ("idle", 128 + 5)
    for at in range(132, 600, 4):
        log.edited(at, 0, 0, "x")
    busy = Log("").shown(0, 0, "X")
    for at in range(4, 600, 4):
        busy.edited(at, 0, 0, "x")
    assert (busy.gap(NES)["break_reason"], seconds(busy.gap(NES))) == ("lifetime", 150)


def test_a_cursor_on_another_line_ends_the_gap_once_it_has_settled():
    def log(cursor, at=121.0):
        made = Log("one\ntwo\nsix").shown(0, 5, "X")
        for second in range(3, 121, 3):
            made.edited(second, 5, 0, "x")
        return made.add(at, "cursor", offset=cursor).add(130, "closed")

    assert log(0).gap(NES)["break_reason"] == "cursor_left"
    assert seconds(log(0).gap(NES)) == 121
    assert log(4).gap(NES)["break_reason"] == "idle"  # the same line
    assert log(0, at=120.2).gap(NES)["break_reason"] == "idle"  # the edit itself moved the cursor
    assert log(0).gap(ZED)["break_reason"] != "cursor_left"


def test_a_cursor_jump_before_the_gap_has_settled_is_ignored():
    log = (
        Log("one\ntwo").shown(0, 5, "X").add(60, "cursor", offset=0).edited(61, 5, 0, "x").add(200, "closed")
    )
    assert log.gap(NES)["break_reason"] == "idle"


def test_closing_the_document_ends_its_gaps():
    gap = Log("a").shown(0, 1, "X").edited(1, 1, 0, "x").add(2, "closed").edited(3, 2, 0, "y").gap()
    assert (gap["break_reason"], gap["final"], seconds(gap)) == ("document_closed", "x", 2)


def test_a_gap_that_outgrows_its_policy_ends_with_the_text_before():
    narrow = dataclasses.replace(ECHO, name="narrow", max_final_units=5)
    gap = Log("").shown(0, 0, "X").edited(1, 0, 0, "12345").edited(2, 5, 0, "6").gap(narrow)
    assert (gap["break_reason"], gap["final"]) == ("outgrown", "12345")


def test_a_snapshot_that_shows_missed_edits_moves_the_gap_and_one_without_it_ends_it():
    prefix, suffix = (
        "def alpha(one, two, three):\n    return ",
        "\n\n\ndef beta(four, five, six):\n    pass\n",
    )
    log = Log(prefix + suffix).shown(0, len(prefix), "one").edited(1, len(prefix), 0, "on")
    log.add(2, "snapshot", prefix="import x\n" + prefix + "one" + suffix, suffix="")
    log.add(3, "edited", offset=len(prefix) + 12, length=0, text=" + two")
    gap = log.gap()
    assert (gap["final"], gap["break_reason"]) == ("one + two", "stream_end")
    lost = Log(prefix + suffix).shown(0, len(prefix), "one").edited(1, len(prefix), 0, "on")
    lost.add(2, "snapshot", prefix="nothing of it", suffix="")
    assert (lost.gap()["final"], lost.gap()["break_reason"], lost.gap()["censored"]) == (
        "on",
        "anchor_lost",
        True,
    )


def test_a_request_that_contradicts_the_edits_ends_the_gap():
    log = Log("abc\n").shown(0, 3, "X").edited(1, 3, 0, "x").edited(1, 3, 1, "x")
    log.add(2, "shown", completion_id="c2", offset=5, text="Z", prefix="abcy\n", suffix="")
    gap = log.gap()
    assert (gap["break_reason"], gap["censored"]) == ("anchor_lost", True)


def test_gaps_opened_inside_an_open_gap_share_the_region_of_the_oldest():
    log = (
        Log("a\nb")
        .shown(0, 1, "X")
        .edited(1, 1, 0, "xy")
        .shown(2, 2, "Y", name="c2")
        .shown(3, 3, "Z", name="c3")
    )
    log.edited(4, 5, 0, "!").shown(5, 5, "W", name="c4")
    gaps = log.gaps()
    assert gaps["c1"]["region_id"] == gaps["c1"]["gap_id"]
    assert gaps["c2"]["region_id"] == gaps["c3"]["region_id"] == gaps["c1"]["gap_id"]
    assert gaps["c4"]["region_id"] == gaps["c4"]["gap_id"]
    assert len({gap["gap_id"] for gap in gaps.values()}) == 4


def test_a_proposal_shown_twice_is_two_gaps_and_a_decision_is_about_the_newer():
    log = (
        Log("")
        .shown(0, 0, "ab")
        .edited(1, 0, 0, "a")
        .shown(1, 1, "b")
        .edited(2, 1, 0, "b", "accept")
        .accepted(2)
    )
    from echo_dagster.extraction.gaps import extract_frame

    gaps = extract_frame(log.frame(), ECHO)
    assert gaps["accepted_chars"].to_list() == [0, 1]
    assert gaps["outcome"].to_list() == ["superseded", "accepted"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"lifetime_s": 43_201}, "one midnight"),
        ({"lifetime_s": 0}, "lifetime_s"),
        ({"idle_s": 0}, "idle_s is 0"),
        ({"settle_s": -1}, "settle_s"),
        ({"max_final_units": 0}, "max_final_units"),
    ],
)
def test_a_policy_that_cannot_work_is_refused(change, message):
    with pytest.raises(ValueError, match=message):
        Policy(**{"name": "bad", "idle_s": 5, "lifetime_s": 60, **change})
