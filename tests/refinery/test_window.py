from datetime import timedelta
from hashlib import sha256

import polars as pl
import pytest
from refinery_rows import DAY, scored, settings, tokenizer, tokens

from echo_dagster import forgotten
from echo_dagster.holdout import is_held_out
from echo_dagster.lake import Lake
from echo_dagster.refinery import window
from echo_dagster.refinery.schema import REJECTED_SCHEMA, TRAINING_SCHEMA

#: Samples of these tests differ in little.
ALIKE = {"near_duplicate_similarity": None}
EVERYTHING = {"low_quantile": 0.0, "high_quantile": 1.0}
NEXT = DAY + timedelta(days=1)


def days_of(lake, by_day):
    for day, changes in by_day.items():
        ids = [{"sample_id": f"{day.day}-{index}", **change} for index, change in enumerate(changes)]
        lake.replace("scored_samples", scored(*ids).select(pl.lit(day).alias("day"), pl.all()), [day])
    return lake


def asked(**sections):
    window = {"days": 3, "held_out_user_share": 0.0, **ALIKE, **sections.pop("window", {})}
    return settings(**{"perplexity": EVERYTHING, **sections, "window": window})


def reasons(built):
    return dict(built.rejected.select("sample_id", "reason").iter_rows())


def test_the_window_is_the_days_before_and_a_missing_day_is_none(tmp_path):
    by_day = {DAY - timedelta(days=back): [{"content_hash": f"h{back}"}] for back in (0, 1, 3, 4)}
    built = window.training_window(days_of(Lake(tmp_path), by_day), DAY, asked())
    assert built.days == tuple(DAY - timedelta(days=back) for back in (3, 2, 1))
    assert built.frame["sample_id"].to_list() == ["2-0", "4-0"]
    assert built.by_day == {built.days[0]: 1, built.days[1]: 0, built.days[2]: 1}
    assert (built.kept, built.dropped, built.considered) == (2, 0, 2)
    assert built.frame.schema == TRAINING_SCHEMA and built.rejected.schema == REJECTED_SCHEMA


def test_held_out_users_are_left_out(tmp_path):
    users = [f"user{index}" for index in range(200)]
    lake = days_of(Lake(tmp_path), {DAY: [{"user_id": user, "content_hash": user} for user in users]})
    built = window.training_window(lake, NEXT, asked(window={"held_out_user_share": 0.2}))
    held_out = set(pl.Series(users).filter(is_held_out(pl.Series(users), 0.2, 17)))
    assert 20 <= len(held_out) <= 60
    assert set(built.frame["user_id"]) == set(users) - held_out
    assert built.by_reason() == [{"day": NEXT, "reason": "held_out_user", "n": len(held_out)}]


def test_held_out_repositories_are_left_out_and_counted(tmp_path):
    names = [f"repository{index}" for index in range(50)]
    lake = days_of(Lake(tmp_path), {DAY: [{"repository": name, "content_hash": name} for name in names]})
    settings = asked(window={"held_out_repository_share": 0.3})
    built = window.write_training_set(lake, NEXT, None, settings)
    held_out = set(pl.Series(names).filter(is_held_out(pl.Series(names), 0.3, 17)))
    assert 0 < len(held_out) < 50
    assert set(built.frame["repository"]) == set(names) - held_out
    assert built.by_reason() == [{"day": NEXT, "reason": "held_out_repository", "n": len(held_out)}]
    assert not any(window.leaks(lake, NEXT, settings).values())
    window.write_training_set(lake, NEXT, None, asked())
    assert window.leaks(lake, NEXT, settings)["held_out_repository_samples"] == len(held_out)


def test_of_duplicates_on_several_days_the_first_stays(tmp_path):
    same = {"content_hash": "same"}
    lake = days_of(
        Lake(tmp_path), {DAY: [same, {"content_hash": "x"}], DAY - timedelta(days=1): [same], NEXT: [same]}
    )
    built = window.training_window(lake, NEXT + timedelta(days=1), asked())
    assert built.frame["sample_id"].to_list() == ["4-0", "5-1"]
    assert built.rejected.select("sample_id", "reason", "value", "sample_day").rows() == [
        ("5-0", "duplicate", 2.0, DAY),
        ("6-0", "duplicate", 3.0, NEXT),
    ]


def test_a_held_out_user_takes_nobody_elses_sample_away(tmp_path):
    users = pl.Series([f"user{index}" for index in range(50)])
    out = users.filter(is_held_out(users, 0.5, 17))[0]
    kept = users.filter(~is_held_out(users, 0.5, 17))[0]
    both = [{"user_id": user, "content_hash": "same"} for user in (out, kept)]
    built = window.training_window(
        days_of(Lake(tmp_path), {DAY: both}), NEXT, asked(window={"held_out_user_share": 0.5})
    )
    assert built.frame["user_id"].to_list() == [kept]
    assert list(reasons(built).values()) == ["held_out_user"]


def test_the_window_is_denoised(tmp_path):
    ladder = [{"middle_nats_per_token": float(step)} for step in range(1, 12)]
    noise = {"middle_nats_per_token": 5.0, "ifd": 2.0}
    built = window.training_window(
        days_of(Lake(tmp_path), {DAY: [*ladder, noise]}),
        NEXT,
        asked(perplexity={"low_quantile": 0.1, "high_quantile": 0.9, "min_stratum": 2}),
    )
    assert reasons(built) == {"5-0": "ppl_low", "5-10": "ppl_high", "5-11": "ifd_above_one"}
    assert set(built.rejected["stage"]) == {"denoise"}


def test_what_denoising_did_to_the_mix_is_written_beside_the_training_set(tmp_path):
    ladder = [{"middle_nats_per_token": float(step)} for step in range(1, 12)]
    others = [
        {"language": "go", "ifd": 3.0},
        {"language": "go"},
        {"user_id": "u_out", "content_hash": "hash0"},
    ]
    lake = days_of(Lake(tmp_path), {DAY: [*ladder, *others]})
    bands = {"low_quantile": 0.1, "high_quantile": 0.9, "min_stratum": 11}
    for _ in range(2):
        built = window.write_training_set(lake, NEXT, None, asked(perplexity=bands))
    assert reasons(built)["5-13"] == "duplicate", "it never came to this step"
    assert built.denoising.drop("scorer", "max_ifd").rows() == [
        ("python/9-24", 11, 9, 1, 1, 0, 2.0, 10.0, "stratum"),
        ("go/9-24", 2, 1, 0, 0, 1, 1.0, 10.0, "all"),
    ]
    assert (
        lake.read("denoising").collect().sort("stratum", descending=True).drop("day").equals(built.denoising)
    )
    assert built.denoising["n_after"].sum() == built.kept


def test_a_large_window_is_a_seeded_sample(tmp_path):
    lake = days_of(Lake(tmp_path), {DAY: [{} for _ in range(60)]})
    small = {"held_out_user_share": 0.0, "max_samples": 20}
    first, again, other = (
        window.training_window(lake, NEXT, asked(window={**small, "seed": seed})) for seed in (1, 1, 2)
    )
    assert first.kept == other.kept == 20
    assert first.by_reason() == [{"day": NEXT, "reason": "over_max_samples", "n": 40}]
    assert first.digest == again.digest != other.digest


def test_the_digest_is_the_content_and_nothing_else(tmp_path):
    lake = days_of(Lake(tmp_path), {DAY: [{}, {"suffix": None}]})
    built = window.training_window(lake, NEXT, asked())
    told = window.content_digest(built.frame)
    assert built.digest == told == window.content_digest(built.frame.reverse())
    assert told == window.content_digest(built.frame.with_columns(ifd=0.1))
    for column in ("middle", "suffix", "prefix", "sample_id"):
        assert told != window.content_digest(built.frame.with_columns(pl.col(column) + "x"))
    assert told != window.content_digest(built.frame.with_columns(pl.col("suffix").fill_null("")))


def test_an_empty_window_is_an_empty_frame(tmp_path):
    for lake in (Lake(tmp_path / "nothing"), days_of(Lake(tmp_path / "later"), {NEXT: [{}]})):
        built = window.write_training_set(lake, DAY, None, asked())
        assert built.frame.schema == TRAINING_SCHEMA and built.kept == built.considered == 0
        assert built.digest == sha256().hexdigest()
        assert lake.read("training_set", [DAY]).collect().is_empty()
        assert not any(window.leaks(lake, DAY, asked()).values())


def test_a_training_set_is_written_beside_other_days_and_twice_alike(tmp_path):
    lake = days_of(Lake(tmp_path), {DAY: [{}, {"ifd": 3.0}], NEXT: [{"content_hash": "other"}]})
    third = NEXT + timedelta(days=1)
    for _ in range(2):
        built = [window.write_training_set(lake, day, None, asked()) for day in (NEXT, third)]
    written = lake.read("training_set").sort("day", "sample_day", "sample_id").collect()
    assert written.select("day", "sample_day", "sample_id").rows() == [
        (NEXT, DAY, "5-0"),
        (third, DAY, "5-0"),
        (third, NEXT, "6-0"),
    ]
    assert written.filter(pl.col("day") == third).drop("day").equals(built[1].frame)
    rejected = lake.read("rejected_samples").sort("day").collect()
    assert rejected.select("day", "sample_day", "stage", "reason", "value").rows() == [
        (day, DAY, "denoise", "ifd_above_one", 3.0) for day in (NEXT, third)
    ]


def test_a_window_that_holds_its_own_day_is_refused(tmp_path):
    with pytest.raises(ValueError, match="only days before it"):
        window.training_window(Lake(tmp_path), DAY, asked(), [DAY])


def test_leaks_are_counted(tmp_path):
    lake = days_of(Lake(tmp_path), {DAY: [{}, {}, {}]})
    built = window.write_training_set(lake, NEXT, None, asked())
    assert not any(window.leaks(lake, NEXT, asked()).values())
    everybody = asked(window={"held_out_user_share": 1.0})
    assert window.leaks(lake, NEXT, everybody)["held_out_user_samples"] == 3
    late = built.frame.with_columns(
        sample_day=pl.when(pl.int_range(pl.len()) == 0).then(NEXT).otherwise("sample_day"),
        closed_at=pl.col("closed_at")
        + pl.when(pl.int_range(pl.len()) == 1).then(timedelta(days=1)).otherwise(timedelta()),
    )
    lake.replace("training_set", late.select(pl.lit(NEXT).alias("day"), pl.all()), [NEXT])
    assert window.leaks(lake, NEXT, asked())["held_out_day_samples"] == 2


def test_nobody_is_trained_on_who_was_forgotten_since_their_samples_were_scored(tmp_path):
    lake = days_of(Lake(tmp_path), {DAY: [{"user_id": "u_gone"}, {}, {}]})
    before = window.write_training_set(lake, NEXT, None, asked())
    mark = {"day": NEXT, **dict.fromkeys(forgotten.SCHEMA), "pseudonym": "u_gone"}
    lake.append(forgotten.TABLE, pl.DataFrame([mark], schema={"day": pl.Date(), **forgotten.SCHEMA}))
    assert window.leaks(lake, NEXT, asked())["forgotten_user_samples"] == 1
    built = window.write_training_set(lake, NEXT, None, asked())
    assert (before.kept, built.kept, built.dropped) == (3, 2, 1)
    assert built.by_reason() == [{"day": NEXT, "reason": "forgotten", "n": 1}]
    assert not any(window.leaks(lake, NEXT, asked()).values())


def test_of_near_duplicates_the_earlier_stays(tmp_path):
    lines = [f"    total_{index} = price[{index}] * tax + shipping({index})\n" for index in range(20)]
    context = "".join(lines)
    other = context.replace("total_18 ", "amount ")
    samples = {
        DAY: [{"content_hash": "a", "prefix": context, "middle": "return sum(totals)"}],
        NEXT: [
            {"content_hash": "b", "prefix": other, "middle": "return sum(totals)"},
            {"content_hash": "c", "prefix": context, "middle": "raise ValueError(tax)"},
        ],
    }
    lake = days_of(Lake(tmp_path), samples)
    built = window.training_window(
        lake, NEXT + timedelta(days=1), asked(window={"near_duplicate_similarity": 0.7})
    )
    assert built.frame["sample_id"].to_list() == ["5-0", "6-1"]
    told = built.rejected.select("sample_id", "reason", "sample_day").rows()
    assert told == [("6-0", "near_duplicate", NEXT)]
    assert 0.7 <= built.rejected["value"].item() < 1


def replaying(lake, share, **window_settings):
    return window.training_window(
        lake, NEXT, asked(window={"days": 2, "replay_share": share, **window_settings})
    )


def earlier(built):
    return built.frame.filter(origin="earlier")


def test_a_share_of_what_the_window_before_would_have_given_is_replayed(tmp_path):
    before, window_days = [DAY - timedelta(days=back) for back in (2, 3)], [DAY, DAY - timedelta(days=1)]
    changes = [{"content_hash": f"{at}", "user_id": f"user{at % 40}"} for at in range(60)]
    by_day = {
        day: [{**change, "content_hash": f"{day}-{change['content_hash']}"} for change in changes]
        for day in (*before, *window_days, DAY - timedelta(days=4))
    }
    lake = days_of(Lake(tmp_path), by_day)
    none, some, all_of_it = (replaying(lake, share, held_out_user_share=0.2) for share in (0.0, 0.25, 1.0))
    assert none.by_origin() == [{"day": NEXT, "origin": "window", "n": none.kept}]
    held_out = set(none.rejected["sample_id"])
    n_window = 120 - len(held_out)
    assert (none.kept, some.kept, all_of_it.kept) == (n_window,) * 3
    assert [row["n"] for row in some.by_origin()] == [n_window, round(n_window / 4)]
    assert {row["origin"]: row["n"] for row in all_of_it.by_origin()} == {
        "window": n_window,
        "earlier": n_window,
    }
    for built in (some, all_of_it):
        assert built.considered == 120 == built.kept + built.dropped
        assert built.frame.schema == TRAINING_SCHEMA and built.by_day == none.by_day
        replayed = earlier(built)
        assert set(replayed["sample_day"]) == set(before)
        assert not is_held_out(replayed["user_id"], 0.2, 17).any()
        assert built.frame.filter(origin="window").equals(none.frame)
    assert set(some.frame["sample_id"]) < set(all_of_it.frame["sample_id"])
    assert some.digest == replaying(lake, 0.25, held_out_user_share=0.2).digest != none.digest


def test_what_the_window_has_already_or_nearly_is_not_replayed(tmp_path):
    code = "def area(radius):\n    return math.pi * radius ** 2 + math.tau * radius + offset_of(radius)\n"
    lake = days_of(
        Lake(tmp_path),
        {
            DAY: [
                {"content_hash": "same"},
                {"content_hash": "now", "prefix": code * 4, "middle": "total = 1"},
            ],
            DAY - timedelta(days=2): [
                {"content_hash": "same", "prefix": "other\n", "middle": "unlike = 1"},
                {"content_hash": "then", "prefix": code * 4 + "#", "middle": "total = 1"},
                {"content_hash": "own", "prefix": "for x in range(10):\n    ", "middle": "print(x, y, z)"},
            ],
        },
    )
    built = replaying(lake, 1.0, near_duplicate_similarity=0.7)
    assert built.kept == 2
    assert earlier(built)["content_hash"].to_list() == ["own"]


def test_nobody_who_was_forgotten_is_replayed(tmp_path):
    lake = days_of(
        Lake(tmp_path),
        {
            DAY: [{"content_hash": "a", "user_id": "u_one"}, {"content_hash": "b", "user_id": "u_one"}],
            DAY - timedelta(days=2): [{"content_hash": "c", "user_id": "u_gone"}, {"content_hash": "d"}],
        },
    )
    assert earlier(replaying(lake, 1.0)).height == 2
    mark = {"day": NEXT, **dict.fromkeys(forgotten.SCHEMA), "pseudonym": "u_gone"}
    lake.append(forgotten.TABLE, pl.DataFrame([mark], schema={"day": pl.Date(), **forgotten.SCHEMA}))
    assert earlier(replaying(lake, 1.0))["content_hash"].to_list() == ["d"]


CODE = """import math


def area(radius):
    return math.pi * radius**2


def {name}(radius, height):
    side = area(radius)
    if side > height:
        return {number} * side
    return height


"""


def test_gaps_are_cut_out_of_the_code_around_samples(tmp_path):
    files = [CODE.format(name=f"volume_{at}", number=at) + f"result_{at} = " for at in range(60)]
    tails = [f"\n\n\nclass Shape{at}:\n    sides = {at}\n    corners = 3 * sides\n" for at in range(60)]
    changes = [
        {"content_hash": f"{at}", "prefix": files[at], "middle": f"volume_{at}({at}, 1)", "suffix": tails[at]}
        for at in range(60)
    ]
    lake = days_of(Lake(tmp_path), {DAY: changes})
    told = asked(window={"plain_share": 0.5})
    built, again = (window.training_window(lake, NEXT, told, tokenizer=tokenizer) for _ in range(2))
    cut = built.frame.filter(origin="plain")
    assert (built.kept, built.considered, cut.height) == (60, 60, 30)
    assert built.frame.equals(again.frame) and built.frame.schema == TRAINING_SCHEMA
    whole = {row["prefix"] + row["middle"] + row["suffix"] for row in changes}
    starts = set()
    for row in cut.iter_rows(named=True):
        assert row["prefix"] + row["middle"] + row["suffix"] in whole
        assert row["middle"].strip() and row["middle_tokens"] == tokens(row["middle"])
        assert not row["middle"].startswith("volume_")
        assert row["outcome"] is row["proposal"] is row["middle_nats_per_token"] is None
        starts.add(row["middle"].split()[0])
    assert len(starts) > 3
    assert not set(cut["sample_id"]) & set(built.frame.filter(origin="window")["sample_id"])
    with pytest.raises(ValueError, match="needs a tokenizer"):
        window.training_window(lake, NEXT, told)


def test_no_secret_and_nothing_twice_is_cut_out(tmp_path):
    masked = "key = '<secret:aws_access_key>'\n" * 12
    code = CODE.format(name="volume", number=2)
    same = [
        {"content_hash": f"{at}", "prefix": code, "middle": f"own_{at} = {at}", "suffix": ""}
        for at in range(20)
    ]
    lake = days_of(
        Lake(tmp_path),
        {DAY: [*same, {"content_hash": "s", "prefix": masked, "middle": "b = 2", "suffix": ""}]},
    )
    told = asked(window={"plain_share": 1.0, "near_duplicate_similarity": 0.7})
    middles = window.training_window(lake, NEXT, told, tokenizer=tokenizer).frame.filter(origin="plain")[
        "middle"
    ]
    assert 2 < middles.n_unique() <= len(middles) < 10  # a file of few lines, seen twenty times
    assert not middles.str.contains("secret").any()
