"""Whether two classifiers that answered the same rows differ by more than chance."""


def mcnemar(only_first: int, only_second: int) -> float:
    """The two-sided p-value of McNemar's exact test.

    Rows that both get right or both get wrong say nothing. Of the others each is the first's
    or the second's with probability 1/2 if the two are equally good:

        p = min(1, 2 * P(X <= min(only_first, only_second))),  X ~ Binomial(their sum, 1/2)

    Args:
        only_first, only_second: rows that only this classifier gets right.

    McNemar 1947: https://doi.org/10.1007/BF02295996
    """
    rows = only_first + only_second
    term = tail = 1  # binomial coefficients as integers: no rounding before the division
    for k in range(min(only_first, only_second)):
        term = term * (rows - k) // (k + 1)
        tail += term
    return min(1.0, 2 * tail / (1 << rows))
