import shutil
from datetime import timedelta

import polars as pl
import pytest
from reigns import NOW, PROMOTE, day, reign

from echo_dagster.evaluation import champion, overrides
from echo_dagster.evaluation.overrides import OverrideRefused
from echo_dagster.settings import FimTokens, ModelSettings, ModelSource, Settings


@pytest.fixture
def ruled(tmp_path):
    return reign(tmp_path)


@pytest.fixture
def three(ruled):
    """Three days: the first two promoted their candidates, the third kept the second's."""
    return [ruled.decide(n, f"model {n}", promotes=n < 2) for n in range(3)]


@pytest.fixture
def settings(tmp_path):
    fim = FimTokens(layout="spm", prefix="<p>", suffix="<s>", middle="<m>", end="<e>")
    model = ModelSettings(name="none", source=ModelSource(path="none"), fim=fim)
    return Settings(data_dir=tmp_path, start_day=day(0), base_model=model)


def rows(ruled):
    return ruled.lake.read("champion").sort("day").collect()


def test_a_rollback_serves_the_former_champion_and_says_who_and_why(ruled, three):
    one, two, three_ = three
    row = ruled.override("rollback", one.digest)
    assert row["day"] == day(2) and row["decision"] == "rolled_back"
    assert (row["model_digest"], row["path"], row["previous_digest"]) == (
        one.digest,
        str(one.path),
        two.digest,
    )
    assert (row["decided_by"], row["reason"]) == ("Ann", "rolled back by Ann: users complain")
    assert (row["since"], row["candidate_digest"], row["decided_at"]) == (day(2), three_.digest, NOW)
    assert ruled.serves() == one.digest
    (noted,) = ruled.lake.read("champion_overrides").collect().to_dicts()
    assert noted == {
        "day": day(2),
        "action": "rollback",
        "decided_by": "Ann",
        "reason": "users complain",
        "decided_at": NOW,
        "model_digest": one.digest,
        "path": str(one.path),
        "overruled": "kept: a tie",
    }


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        (lambda three: three[0].digest[:8], 0),
        (lambda three: str(day(0)), 0),
        (lambda three: str(day(0) - timedelta(days=1)), None),
        (lambda three: "base", None),
    ],
)
def test_a_former_champion_is_asked_for_by_digest_by_day_or_as_the_base(ruled, three, asked, expected):
    row = ruled.override("rollback", asked(three))
    wanted = ruled.base.digest if expected is None else three[expected].digest
    assert row["model_digest"] == wanted == ruled.serves()
    assert (row["since"] is None) is (expected is None)


def test_the_days_after_a_rollback_are_judged_against_what_it_brought_back(ruled, three):
    ruled.override("rollback", three[0].digest)
    assert champion.current(ruled.lake, day(3), ruled.base).digest == three[0].digest
    ruled.decide(3, "model 3", promotes=False)
    assert rows(ruled)["model_digest"][3] == rows(ruled)["previous_digest"][3] == three[0].digest
    four = ruled.decide(4, "model 4", promotes=True)
    assert ruled.serves() == four.digest


def test_older_days_decided_again_do_not_undo_a_rollback(ruled, three):
    ruled.override("rollback", "base")
    for n in range(2):
        ruled.decide(n, f"model {n}, late data", promotes=True)
        assert ruled.serves() == ruled.base.digest
    assert ruled.publish() is None


def test_the_day_of_an_override_decided_again_gives_the_same_row(ruled, three, settings):
    ruled.override("rollback", three[0].digest)
    before = rows(ruled)
    # what the gate would say now is not even asked: nothing was compared here
    assert champion.decide_day(ruled.lake, day(2), ruled.base, settings) == before.row(-1, named=True)
    assert rows(ruled).equals(before)


def test_an_earlier_promotion_can_be_rolled_forward_to_again(ruled, three):
    ruled.override("rollback", three[0].digest)
    ruled.publish()
    row = ruled.override("rollback", three[1].digest, at=NOW + timedelta(hours=1))
    assert row["model_digest"] == ruled.serves() == three[1].digest
    assert row["since"] == day(1)  # it has served on that day already
    assert ruled.lake.read("champion_overrides").collect().height == 2


def test_a_champion_that_a_later_run_of_its_day_replaced_can_still_be_rolled_back_to(ruled, three):
    two = three[1]
    ruled.decide(1, "model 1, late data", promotes=True)
    assert two.digest not in rows(ruled)["model_digest"][:2]
    ruled.decide(2, "model 2", promotes=False)
    ruled.publish()
    assert ruled.override("rollback", two.digest)["model_digest"] == two.digest


def test_a_candidate_that_the_gate_kept_out_can_be_promoted(ruled, three):
    row = ruled.override("promote")
    assert (row["decision"], row["reason"]) == ("promoted", "promoted by Ann: users complain")
    assert (row["model_digest"], row["since"]) == (three[2].digest, day(2))
    assert ruled.serves() == three[2].digest


def test_the_candidate_of_an_older_day_is_promoted_from_now_on(ruled, three):
    ruled.decide(3, "model 3", promotes=False)
    row = ruled.override("promote", str(day(2)))
    assert (row["day"], row["since"], row["model_digest"]) == (day(3), day(3), three[2].digest)
    assert rows(ruled)["model_digest"][2] == three[1].digest


def test_a_promotion_can_be_refused_by_hand(ruled):
    one = ruled.decide(0, "model 0", promotes=True)
    ruled.decide(1, "model 1", promotes=True)
    row = ruled.override("keep")
    assert (row["decision"], row["reason"]) == ("kept", "kept by Ann: users complain")
    assert (row["model_digest"], row["since"]) == (one.digest, day(0))
    assert ruled.serves() == one.digest


class TestHold:
    @pytest.fixture
    def gate_promotes(self, monkeypatch, ruled):
        """What `decide_day` needs to ask the gate, and a gate that says yes."""
        monkeypatch.setattr(champion.gate, "decide", lambda *_, **__: PROMOTE)
        monkeypatch.setattr(champion, "_check_fresh", lambda *_: None)
        one = pl.DataFrame({"day": [day(n) for n in range(9)], "role": ["candidate"] * 9})
        ruled.lake.replace("evaluated_model", one, [day(n) for n in range(9)])

    def test_nothing_is_promoted_until_it_is_lifted(self, ruled, three, settings, gate_promotes):
        ruled.override("hold", reason="release week")
        assert ruled.serves() == three[1].digest
        ruled.train(3, "model 3")
        row = champion.decide_day(ruled.lake, day(3), ruled.base, settings)
        assert (row["decision"], row["model_digest"]) == ("kept", three[1].digest)
        assert row["reason"] == "held by Ann: release week; the gate would have promoted: better"
        assert row["decided_by"] == "Ann"
        ruled.override("lift", at=NOW + timedelta(days=1))
        four = ruled.train(4, "model 4")
        assert champion.decide_day(ruled.lake, day(4), ruled.base, settings)["model_digest"] == four.digest
        # and each of these days gives the same again
        held = champion.decide_day(ruled.lake, day(3), ruled.base, settings)
        assert held == row

    def test_the_last_day_decided_again_promotes_nothing_either(self, ruled, three, settings, gate_promotes):
        ruled.override("hold", reason="release week")
        row = champion.decide_day(ruled.lake, day(2), ruled.base, settings)
        assert (row["model_digest"], row["reason"]) == (three[1].digest, "held by Ann: release week")

    def test_what_the_gate_keeps_is_the_gates_decision(
        self, ruled, three, settings, gate_promotes, monkeypatch
    ):
        monkeypatch.setattr(champion.gate, "decide", lambda *_, **__: champion.gate.keep("a tie"))
        ruled.override("hold")
        ruled.train(3, "model 3")
        row = champion.decide_day(ruled.lake, day(3), ruled.base, settings)
        assert (row["reason"], row["decided_by"]) == ("a tie", "gate")

    def test_a_hold_stops_promotions_by_hand_and_no_rollback(self, ruled, three):
        ruled.override("hold", reason="release week")
        with pytest.raises(OverrideRefused, match="Ann holds promotions: release week"):
            ruled.override("promote")
        with pytest.raises(OverrideRefused, match="Lift the hold first"):
            ruled.override("hold")
        assert ruled.override("rollback", "base")["model_digest"] == ruled.base.digest
        assert overrides.hold_on(ruled.lake, day(3)) is not None

    def test_what_is_not_held_cannot_be_lifted(self, ruled, three):
        with pytest.raises(OverrideRefused, match="nothing is held"):
            ruled.override("lift")


class TestRefused:
    @pytest.fixture(autouse=True)
    def _nothing_is_recorded(self, ruled):
        yield
        assert not ruled.lake.exists("champion_overrides")

    def test_before_any_day_was_decided(self, ruled):
        with pytest.raises(OverrideRefused, match="no day was decided yet"):
            ruled.override("rollback", "base")

    @pytest.mark.parametrize(
        ("asked", "why"),
        [
            (None, "say what to roll back to"),
            ("abc", "no day, and too short for a digest"),
            ("0123456789", "no former champion begins with '0123456789'; there are"),
        ],
    )
    def test_a_model_that_nobody_knows(self, ruled, three, asked, why):
        with pytest.raises(OverrideRefused, match=why):
            ruled.override("rollback", asked)

    def test_a_candidate_that_never_served_is_no_former_champion(self, ruled, three):
        with pytest.raises(OverrideRefused, match="no former champion begins"):
            ruled.override("rollback", three[2].digest)

    def test_what_serves_already(self, ruled, three):
        with pytest.raises(OverrideRefused, match="serves already"):
            ruled.override("rollback", three[1].digest)
        with pytest.raises(OverrideRefused, match="serves already"):
            ruled.override("keep")

    def test_a_model_that_is_gone_from_disk_with_what_to_do(self, ruled, three):
        shutil.rmtree(three[0].path)
        with pytest.raises(OverrideRefused) as refused:
            ruled.override("rollback", three[0].digest)
        told = str(refused.value)
        assert f"{three[0].digest} is gone from disk: {three[0].path}" in told
        assert "Restore that directory from a copy, or materialize `checkpoint`" in told
        assert told.endswith("choose one that is there: base")

    def test_a_model_whose_weights_have_changed(self, ruled, three):
        (three[0].path / "tokenizer.json").write_text("another")
        with pytest.raises(OverrideRefused, match=f"asked for was {three[0].digest}"):
            ruled.override("rollback", three[0].digest)

    def test_a_day_without_a_candidate(self, ruled, three):
        with pytest.raises(OverrideRefused, match="no checkpoint is recorded for 2026-01-14"):
            ruled.override("promote", str(day(9)))
        with pytest.raises(OverrideRefused, match="is no day"):
            ruled.override("promote", "yesterday")

    @pytest.mark.parametrize("blank", [{"by": " "}, {"reason": ""}])
    def test_nobody_and_no_reason(self, ruled, three, blank):
        with pytest.raises(OverrideRefused, match="say who decides, and why"):
            ruled.override("rollback", "base", **blank)


def test_former_champions_are_listed_last_first_with_those_that_are_gone(ruled, three):
    shutil.rmtree(three[0].path)
    listed = overrides.former(ruled.lake)
    assert [(one.digest, one.last_day, one.is_there) for one in listed] == [
        (three[1].digest, day(2), True),
        (three[0].digest, day(0), False),
    ]


def test_a_server_that_crashed_model_can_be_left_although_its_directory_is_gone(ruled, three):
    shutil.rmtree(three[1].path)
    assert ruled.override("rollback", three[0].digest)["model_digest"] == three[0].digest
