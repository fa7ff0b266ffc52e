from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from echo_dagster.optimization import plan

sizes = st.integers(1, 12)


@given(
    lengths=st.lists(st.integers(1, 500), min_size=1, max_size=120),
    batch_size=sizes,
    most=st.integers(1, 2000),
    ranks=st.integers(1, 4),
    epochs=st.integers(1, 3),
    seed=st.integers(0, 5),
)
def test_every_sample_is_trained_on_once_an_epoch(lengths, batch_size, most, ranks, epochs, seed):
    batch_size = max(batch_size, ranks)
    batches = plan.Batching(batch_size, ranks, most)
    steps = list(plan.steps(lengths, batches, epochs=epochs, seed=seed))
    assert [step.number for step in steps] == list(range(plan.count_steps(len(lengths), epochs, batch_size)))
    for epoch in range(epochs):
        seen = Counter(sample for step in steps if step.epoch == epoch for sample in step.samples)
        assert seen == dict.fromkeys(range(len(lengths)), 1)
    for step in steps:
        assert len(step.samples) <= batch_size
        assert lengths[step.stand_in] == min(lengths[sample] for sample in step.samples)
        for turn in step.micro_batches:
            assert len(turn) == ranks and any(turn)
            assert all(len(samples) < 2 or tokens(lengths, samples) <= most for samples in turn)


def tokens(lengths, samples):
    return sum(lengths[sample] for sample in samples)


def test_the_order_depends_on_seed_and_epoch_alone():
    lengths = list(range(100))
    batches = plan.Batching(8, 1, 4096)

    def order(seed):
        return [step.samples for step in plan.steps(lengths, batches, epochs=2, seed=seed)]

    assert order(17) == order(17)
    assert order(17) != order(18)
    assert order(17)[:13] != order(17)[13:]


def test_however_a_step_is_cut_its_samples_are_the_same():
    lengths = [7 * index % 50 for index in range(60)]
    whole = [set(step.samples) for step in plan.steps(lengths, plan.Batching(12, 1, 4096), epochs=1, seed=3)]
    for most, ranks in ((70, 1), (100, 2), (4096, 3)):
        batches = plan.Batching(12, ranks, most)
        assert [set(step.samples) for step in plan.steps(lengths, batches, epochs=1, seed=3)] == whole


def test_a_step_is_random_in_length():
    lengths = list(range(1000))
    means = [
        tokens(lengths, step.samples) / 50
        for step in plan.steps(lengths, plan.Batching(50, 1, 4096), epochs=1, seed=1)
    ]
    assert all(350 < mean < 650 for mean in means)  # 500 +- 3.7 standard errors; sorted it would be 25 to 975


def test_ranks_that_work_at_the_same_time_read_about_as_much():
    lengths = [200 + index * 37 % 1000 for index in range(512)]
    steps = list(plan.steps(lengths, plan.Batching(64, 4, 4096), epochs=1, seed=1))
    turns = [[tokens(lengths, samples) for samples in turn] for step in steps for turn in step.micro_batches]
    assert {len(step.micro_batches) for step in steps} <= {3, 4}  # of 64 x 700 / (4 x 4096) = 2.7 at least
    assert all(max(turn) - min(turn) < 0.1 * max(turn) for turn in turns)
    assert sum(step.n_empty for step in steps) == 0


def test_a_rank_without_a_sample_is_told_as_empty():
    (step,) = plan.steps([30, 20, 10], plan.Batching(4, 4, 100), epochs=1, seed=0)
    assert step.micro_batches == (((0,), (1,), (2,), ()),)
    assert step.n_empty == 1 and step.stand_in == 2


def test_a_sample_that_is_longer_than_a_pass_stands_alone():
    lengths = [60, 50, 40, 30, 20, 1000]
    (step,) = plan.steps(lengths, plan.Batching(6, 1, 100), epochs=1, seed=0)
    assert step.micro_batches[0] == ((5,),)
    assert [tokens(lengths, samples) for (samples,) in step.micro_batches[1:]] == [70, 70, 60]


def test_more_ranks_than_samples_in_a_step_is_a_mistake():
    with pytest.raises(ValueError, match="raise batch_size or lower ranks"):
        plan.Batching(2, 4, 4096)


def test_the_learning_rate_rises_then_falls():
    rates = [
        plan.learning_rate(step, 100, peak=1e-3, warmup_share=0.1, decay="linear") for step in range(100)
    ]
    assert rates[0] == pytest.approx(1e-4) and rates[9] == rates[10] == pytest.approx(1e-3)
    assert rates[55] == pytest.approx(5e-4) and rates[99] == pytest.approx(1e-3 / 90)
    cosine = [
        plan.learning_rate(step, 100, peak=1e-3, warmup_share=0.1, decay="cosine") for step in range(100)
    ]
    assert cosine[55] == pytest.approx(5e-4) and 0 < cosine[99] < 1e-6
    assert cosine[10:] == sorted(cosine[10:], reverse=True)


def test_all_samples_are_read_once_to_be_measured():
    reading = plan.reading([60, 50, 40, 30, 20, 1000], plan.Batching(8, 2, 100))
    assert sorted(reading.samples) == [0, 1, 2, 3, 4, 5] and reading.stand_in == 4
    assert reading == plan.reading([60, 50, 40, 30, 20, 1000], plan.Batching(3, 2, 100))


def test_a_training_is_measured_evenly_and_at_the_end_of_each_epoch():
    assert plan.validated_after(100, epochs=2, batch_size=10, times=4) == {3, 5, 8, 10, 13, 15, 18, 20}
    assert plan.validated_after(21, epochs=2, batch_size=10, times=4) == {1, 2, 3, 4, 5, 6}


@given(n=st.integers(1, 300), epochs=st.integers(1, 3), size=st.integers(1, 20), times=st.integers(1, 9))
def test_the_end_of_a_training_is_always_measured(n, epochs, size, times):
    after = plan.validated_after(n, epochs=epochs, batch_size=size, times=times)
    assert plan.count_steps(n, epochs, size) == max(after) and min(after) >= 1
    assert len(after) == epochs * min(times, plan.count_steps(n, 1, size))


def test_patience_counts_what_came_after_the_best():
    assert not plan.is_patience_spent([], 1)
    assert not plan.is_patience_spent([3.0, 2.0, 2.5], 2) and plan.is_patience_spent([3.0, 2.0, 2.5, 2.1], 2)
    assert plan.is_patience_spent([2.0, 2.0], 1)  # as good is no gain
    assert not plan.is_patience_spent([2.0, 3.0, 1.9], 2)


@given(total=st.integers(1, 200), warmup=st.floats(0, 1), decay=st.sampled_from(["linear", "cosine"]))
def test_no_step_is_taken_at_rate_zero_or_above_the_peak(total, warmup, decay):
    for step in range(total):
        assert 0 < plan.learning_rate(step, total, peak=1.0, warmup_share=warmup, decay=decay) <= 1
