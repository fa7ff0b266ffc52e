import json

import pytest

from echo_dagster.evaluation.provenance import ProvenanceMismatch, verify_provenance

RECORD = {
    "base": {"digest": "b1"},
    "training_set": {"digest": "t1", "version": 4},
    "config": "c1",
    "other": 1,
}
EXPECTED = {"base.digest": "b1", "training_set.digest": "t1", "training_set.version": 4, "config": "c1"}


def checkpoint(path, record):
    (path / "provenance.json").write_text(json.dumps(record))
    return path


def test_a_record_that_says_what_is_expected_is_returned_whole(tmp_path):
    assert verify_provenance(checkpoint(tmp_path, RECORD), EXPECTED) == RECORD


def test_every_difference_is_named_at_once_with_the_remedy(tmp_path):
    expected = EXPECTED | {"training_set.digest": "t2", "config": "c2", "code": "v2"}
    with pytest.raises(ProvenanceMismatch) as refused:
        verify_provenance(checkpoint(tmp_path, RECORD), expected)
    lines = str(refused.value).splitlines()
    assert lines[1:] == [
        '  - training_set.digest: the checkpoint was made with "t1", expected "t2"',
        '  - config: the checkpoint was made with "c1", expected "c2"',
        '  - code: the checkpoint was made with nothing (the record does not say), expected "v2"',
        "materialize `checkpoint` for this day again, then evaluate it",
    ]


@pytest.mark.parametrize("text", [None, "{", "[]"])
def test_a_checkpoint_without_a_record_is_refused(tmp_path, text):
    if text is not None:
        (tmp_path / "provenance.json").write_text(text)
    with pytest.raises(ProvenanceMismatch):
        verify_provenance(tmp_path, EXPECTED)


def test_a_null_that_is_expected_is_not_the_same_as_nothing_recorded(tmp_path):
    assert verify_provenance(checkpoint(tmp_path, {"revision": None}), {"revision": None})
    with pytest.raises(ProvenanceMismatch, match="the record does not say"):
        verify_provenance(checkpoint(tmp_path, {}), {"revision": None})
