import numpy as np
import pytest

from reid.sites.rendered.smooth import smoothstep


@pytest.mark.parametrize("kind", [np.float32, np.float64])
def test_the_step_is_none_below_half_between_and_all_above(kind):
    values = np.array([[-1.0, 0.0, 0.5, 1.0, 3.0]], kind)
    assert smoothstep(0, 1, values)[0].tolist() == [0, 0, 0.5, 1, 1]
    assert smoothstep(1, 0, values)[0].tolist() == [1, 1, 0.5, 0, 0]
    assert smoothstep(0, 1, values).dtype == np.float32
