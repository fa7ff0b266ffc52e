from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from echo_dagster.optimization import plan

sizes = st.integers(1, 12)


@given(
    lengths=st.lists(st.integers(1, 500), min_size=1, max_size=120),
    batch_size=sizes,
    micro=sizes,
    ranks=st.integers(1, 4),
    epochs=st.integers(1, 3),
    seed=st.integers(0, 5),
)
def test_every_sample_is_trained_on_once_an_epoch(lengths, batch_size, micro, ranks, epochs, seed):
    batch_size = max(batch_size, ranks)
    batches = plan.batching(batch_size, micro, ranks)
    steps = list(plan.steps(lengths, batches, epochs=epochs, seed=seed))
    assert [step.number for step in steps] == list(range(plan.count_steps(len(lengths), epochs, batch_size)))
    for epoch in range(epochs):
        seen = Counter(sample for step in steps if step.epoch == epoch for sample in step.samples)
        assert seen == dict.fromkeys(range(len(lengths)), 1)
    for step in steps:
        assert len(step.micro_batches) == batches.accumulation
        assert all(len(turn) == ranks for turn in step.micro_batches)
        assert all(len(samples) <= min(micro, batch_size) for turn in step.micro_batches for samples in turn)


def test_the_order_depends_on_seed_and_epoch_alone():
    lengths = list(range(100))
    batches = plan.batching(8, 8, 1)

    def order(seed):
        return [step.samples for step in plan.steps(lengths, batches, epochs=2, seed=seed)]

    assert order(17) == order(17)
    assert order(17) != order(18)
    assert order(17)[:13] != order(17)[13:]


def test_however_a_step_is_cut_its_samples_are_the_same():
    lengths = [7 * index % 50 for index in range(60)]
    whole = [set(step.samples) for step in plan.steps(lengths, plan.batching(12, 12, 1), epochs=1, seed=3)]
    for micro, ranks in ((3, 1), (4, 2), (1, 3)):
        batches = plan.batching(12, micro, ranks)
        assert [set(step.samples) for step in plan.steps(lengths, batches, epochs=1, seed=3)] == whole


def test_a_batch_holds_like_lengths():
    lengths = [index * 37 % 1000 for index in range(512)]
    spread = [
        max(lengths[sample] for sample in step.samples) - min(lengths[sample] for sample in step.samples)
        for step in plan.steps(lengths, plan.batching(8, 8, 1), epochs=1, seed=1)
    ]
    assert max(spread) < 30  # 1000 / 64 steps, were they dealt evenly; unsorted it is about 800


def test_a_step_is_cut_into_full_micro_batches():
    assert plan.batching(8, 3, 1) == plan.Batching(batch_size=8, ranks=1, accumulation=3, micro_batch_size=3)
    assert plan.batching(64, 8, 4) == plan.Batching(
        batch_size=64, ranks=4, accumulation=2, micro_batch_size=8
    )
    assert plan.batching(4, 8, 2) == plan.Batching(batch_size=4, ranks=2, accumulation=1, micro_batch_size=2)


def test_more_ranks_than_samples_in_a_step_is_a_mistake():
    with pytest.raises(ValueError, match="raise batch_size or lower ranks"):
        plan.batching(2, 8, 4)


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


@given(total=st.integers(1, 200), warmup=st.floats(0, 1), decay=st.sampled_from(["linear", "cosine"]))
def test_no_step_is_taken_at_rate_zero_or_above_the_peak(total, warmup, decay):
    for step in range(total):
        assert 0 < plan.learning_rate(step, total, peak=1.0, warmup_share=warmup, decay=decay) <= 1
