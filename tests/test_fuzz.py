"""Damaged input never causes a server error; `make fuzz` sends a hundred times as much."""

import pytest
from fuzz import fuzz


@pytest.mark.filterwarnings("ignore")  # Pillow's, about the damage.
def test_1000_damaged_pictures_cause_no_server_error(model_path):
    result = fuzz(model_path, 1000)
    assert not result.failures, result.statuses
    assert {200, 415, 422} <= set(result.statuses) <= {200, 400, 413, 415, 422}
