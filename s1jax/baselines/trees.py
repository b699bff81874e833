"""Boosted trees in one call, for a quick look: no validation, no early stop."""

import numpy as np
from jaxtyping import Float
from sklearn.ensemble import HistGradientBoostingRegressor
from threadpoolctl import threadpool_limits


def trees(
    features: Float[np.ndarray, "row feature"],
    target: Float[np.ndarray, "row"],
    asked: Float[np.ndarray, "other feature"],
    *,
    iterations: int = 80,
    seed: int = 0,
) -> Float[np.ndarray, "other"]:
    """Estimate of the target at `asked`, learnt from rows; what is missing may be NaN.

    Args:
      features: of the rows learnt from.
      target: of the same.
      asked: features of the rows to estimate.
      iterations: trees, count.
      seed: of the library's subsampling for bins.

    Raises:
      ValueError: no row to learn from.
    """
    if len(features) == 0:
        raise ValueError("features: got no row, expected at least one to learn from")
    # the library cannot make bins of a feature that was never seen
    features = np.where(np.isnan(features).all(axis=0), 0.0, features)
    model = HistGradientBoostingRegressor(
        max_iter=iterations, max_leaf_nodes=15, min_samples_leaf=20, early_stopping=False,
        random_state=seed,
    )  # fmt: skip
    # so small a job is faster on one thread, on busy cores by much
    with threadpool_limits(limits=1, user_api="openmp"):
        return model.fit(features, target).predict(asked)
