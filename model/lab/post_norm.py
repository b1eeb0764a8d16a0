"""Batch norm with the conventions of the post and of the notebook that it descends from."""

MOMENTUM = 0.001  # share of the newest batch in the running statistics
#: It divides by the deviation over n - 1, averages deviations, and has no eps.
POST_NORM = {
    "kind": "batch",
    "momentum": MOMENTUM,
    "running": "deviation",
    "normalize": "unbiased",
    "eps": 0.0,
}
