"""The best checkpoint is chosen by validation."""

import pytest

from gtr_core.evaluation.choice import best_iteration


def test_the_highest_validation_success_is_best_and_of_equals_the_earliest() -> None:
    assert best_iteration({2: 0.1, 6: 0.4, 4: 0.4, 8: 0.3}) == 4
    with pytest.raises(ValueError, match="no checkpoint"):
        best_iteration({})
