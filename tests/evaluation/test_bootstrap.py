import numpy as np
import pytest

from benchmarks import coverage
from echo_dagster.evaluation import bootstrap


def test_the_interval_covers_the_truth_about_as_often_as_it_says():
    rng = np.random.default_rng(5)
    covered = 0
    for seed in range(300):
        interval = bootstrap.mean(rng.exponential(size=30), resamples=600, seed=seed)
        covered += interval.low <= 1 <= interval.high
    assert 0.90 <= covered / 300 <= 0.98  # the plain percentile interval of skewed data gets about 0.91


@pytest.mark.parametrize(
    ("make", "metrics", "n_users"),
    [
        (coverage.compared, coverage.OFFLINE, 10),
        (coverage.compared, coverage.OFFLINE, 30),
        (coverage.logged, coverage.ONLINE, 15),
    ],
    ids=["models on ten users", "models on thirty users", "a log of fifteen users"],
)
def test_of_500_experiments_with_users_who_differ_92_to_98_percent_are_covered(make, metrics, n_users):
    told = coverage.next_user(make, metrics, n_users, experiments=500, resamples=600)
    assert told.n_experiments == 500 and set(told.covered) == set(metrics)
    for metric, covered in told.covered.items():
        assert 0.92 <= covered / 500 <= 0.98, metric


def test_resampling_regions_says_too_much_of_users_who_were_not_there():
    told = coverage.next_user(
        coverage.compared, coverage.OFFLINE, 7, experiments=200, resamples=300, by_region=True
    )
    assert told.covered["edit_similarity"] < 0.85 * 200


def test_all_columns_at_once_are_each_what_they_are_alone():
    rng = np.random.default_rng(5)
    columns = rng.normal(size=(60, 3))
    users = [f"u{n % 13}" for n in range(60)]
    together = bootstrap.means(columns, users, seed=3)
    for one, column in zip(together, columns.T, strict=True):
        alone = bootstrap.mean(column, users, seed=3)
        assert (one.value, one.low, one.high) == pytest.approx((alone.value, alone.low, alone.high))
        assert (one.n_values, one.n_units) == (alone.n_values, alone.n_units) == (60, 13)
    assert len({one.low for one in together}) == 3


def test_a_row_without_a_value_is_left_out_of_its_column_only():
    full = np.array([1.0, 0.0, 1.0, 1.0, 0.0, 1.0])
    holed = full.copy()
    holed[[1, 4]] = np.nan
    whole, part = bootstrap.means(np.stack([full, holed], axis=1), list("aabbcc"))
    assert (whole.value, whole.n_values, whole.n_units) == (pytest.approx(4 / 6), 6, 3)
    assert (part.value, part.n_values, part.n_units) == (1.0, 4, 3)
    assert (part.low, part.high) == (1.0, 1.0)


def test_a_unit_without_any_value_is_no_unit():
    values = np.array([[1.0], [3.0], [np.nan]])
    (told,) = bootstrap.means(values, ["a", "a", "b"])
    assert (told.value, told.low, told.n_values, told.n_units) == (2.0, None, 2, 1)


def test_a_ratio_of_a_users_sums_is_that_of_the_users_rows():
    rng = np.random.default_rng(5)
    users = np.sort(rng.integers(0, 12, size=300))
    proposed = rng.integers(1, 80, size=(300, 1)).astype(float)
    accepted = proposed * (rng.random((300, 1)) < 0.3)
    sums = [np.bincount(users, weights=column[:, 0])[:, None] for column in (accepted, proposed)]
    (of_rows,) = bootstrap.ratios(accepted, proposed, [f"u{user:02}" for user in users])
    (of_users,) = bootstrap.ratios(*sums)
    assert of_rows.value == pytest.approx(accepted.sum() / proposed.sum())
    assert (of_rows.low, of_rows.high) == pytest.approx((of_users.low, of_users.high))
    assert (of_rows.n_values, of_rows.n_units, of_users.n_values) == (300, 12, 12)


def test_users_of_unequal_size_leave_a_wider_interval_than_as_many_alike():
    rng = np.random.default_rng(5)
    effect = rng.normal(size=10)

    def width(sizes):
        users = np.repeat(np.arange(10), sizes)
        told = bootstrap.mean(effect[users], [f"u{user}" for user in users])
        return told.high - told.low

    assert width([50] * 5 + [10] * 5) > width([30] * 10)


def test_units_that_agree_within_themselves_widen_the_interval():
    rng = np.random.default_rng(5)
    users = np.repeat([f"user {n}" for n in range(12)], 40)
    values = np.repeat(rng.normal(size=12), 40) + rng.normal(scale=0.1, size=480)
    alone, by_user = bootstrap.mean(values), bootstrap.mean(values, users.tolist())
    assert by_user.value == alone.value
    assert (by_user.n_values, by_user.n_units, alone.n_units) == (480, 12, 480)
    assert by_user.high - by_user.low > 4 * (alone.high - alone.low)


def test_the_mean_over_units_of_unequal_size_stays_the_mean_over_values():
    interval = bootstrap.mean([1, 1, 1, 0], ["a", "a", "a", "b"])
    assert interval.value == 0.75
    assert (interval.low, interval.high) == (0, 1)


def test_a_paired_interval_is_narrower_than_that_of_either_column():
    rng = np.random.default_rng(5)
    difficulty = rng.normal(size=200)
    better, worse = difficulty + 0.1 + rng.normal(scale=0.1, size=200), difficulty
    gain = bootstrap.paired_difference(better, worse)
    shuffled = bootstrap.paired_difference(rng.permutation(better), worse)
    assert gain.low > 0
    assert shuffled.low < 0 < shuffled.high
    assert gain.value == pytest.approx(shuffled.value)
    assert gain.high - gain.low < (shuffled.high - shuffled.low) / 5


def test_equal_columns_differ_by_exactly_nothing():
    values = np.random.default_rng(5).normal(size=50)
    gain = bootstrap.paired_difference(values, values)
    assert (gain.value, gain.low, gain.high) == (0, 0, 0)


def test_the_same_seed_gives_the_same_interval_and_units_may_come_in_any_order():
    values = np.random.default_rng(5).normal(size=30)
    units = [f"u{n % 11}" for n in range(30)]
    told = bootstrap.mean(values, units, seed=3)
    assert told == bootstrap.mean(values, units, seed=3)
    assert told != bootstrap.mean(values, units, seed=4)
    turned = bootstrap.mean(values[::-1], units[::-1], seed=3)
    assert (turned.low, turned.high) == pytest.approx((told.low, told.high))


def test_drawing_in_chunks_changes_nothing(monkeypatch):
    values = np.random.default_rng(5).normal(size=64)
    whole = bootstrap.mean(values)
    monkeypatch.setattr(bootstrap, "_CHUNK_DRAWS", 64 * 8)
    assert bootstrap.mean(values) == whole


def test_one_unit_has_a_mean_and_no_interval():
    interval = bootstrap.mean([1.0, 3.0], ["only", "only"])
    assert (interval.value, interval.low, interval.high, interval.n_units) == (2.0, None, None, 1)


@pytest.mark.parametrize("values", [[], [1.0, float("nan")]])
def test_no_mean_is_made_up(values):
    with pytest.raises(ValueError, match=r"no values|not finite"):
        bootstrap.mean(values)


def test_a_ratio_of_sums_has_the_interval_of_the_mean_that_it_is():
    rng = np.random.default_rng(3)
    counts = rng.integers(1, 40, 60)
    values = [rng.normal(unit % 5, 1, count) for unit, count in enumerate(counts)]
    units = np.repeat([f"u{unit}" for unit in range(60)], counts)
    as_mean = bootstrap.mean(np.concatenate(values), units.tolist(), resamples=20_000)
    sums = np.array([[found.sum()] for found in values])
    (ratio,) = bootstrap.ratios(sums, counts[:, None].astype(float), resamples=20_000)
    width = as_mean.high - as_mean.low
    assert abs(ratio.low - as_mean.low) < 0.03 * width and abs(ratio.high - as_mean.high) < 0.03 * width


def test_ratios_need_two_units_with_something_to_divide_by():
    numerators = np.array([[1.0, 1.0], [2.0, 0.0], [0.0, 0.0]])
    denominators = np.array([[2.0, 5.0], [4.0, 0.0], [0.0, 0.0]])
    both, alone = bootstrap.ratios(numerators, denominators, resamples=500)
    assert (both.low, both.high, both.n_units) == (0.5, 0.5, 2)  # both that have one agree
    assert (alone.value, alone.low, alone.high, alone.n_units) == (0.2, None, None, 1)
    with pytest.raises(ValueError, match="no values"):
        bootstrap.ratios(np.ones((3, 1)), np.zeros((3, 1)))


def test_many_units_in_parts_are_resampled_as_few_at_once(monkeypatch):
    rng = np.random.default_rng(0)
    above, below = rng.random((300, 2)), np.ones((300, 2))
    once = bootstrap.ratios(above, below, resamples=2_000)
    monkeypatch.setattr(bootstrap, "_KEPT_DRAWS", 0)
    monkeypatch.setattr(bootstrap, "_CHUNK_DRAWS", 300 * 7)
    for part, whole in zip(bootstrap.ratios(above, below, resamples=2_000), once, strict=True):
        assert (part.low, part.high) == pytest.approx((whole.low, whole.high), rel=1e-12)


@pytest.mark.parametrize(
    ("above", "below", "why"),
    [
        ([[1.0]], [[0.0]], "no values"),
        ([[1.0]], [[-1.0]], "below zero"),
        ([[1.0]], [[np.inf]], "not finite"),
        ([[1.0]], [[1.0], [1.0]], "do not go with"),
    ],
)
def test_no_ratio_is_made_up(above, below, why):
    with pytest.raises(ValueError, match=why):
        bootstrap.ratios(np.array(above), np.array(below))
