"""What a network takes and gives, where no dataset says it: an import of one trained elsewhere."""

from dataclasses import dataclass

from model.data.dataset import Facts


@dataclass(frozen=True)
class Signature:
    """What a network takes and gives, where no dataset of ours says it.

    Raises:
        ValueError: an axis below 1, pixels that are no images, or not exactly one of
            `classes` and `outputs`.
    """

    #: Axes of one row: (features,) or (channels, height, width).
    input_shape: tuple[int, ...]
    #: Class names, index = output; None for regression.
    classes: tuple[str, ...] | None = None
    #: Numbers per row of a regression; None for classes.
    outputs: int | None = None
    #: Rows are uint8 pixels, divided by 255 before anything else.
    images: bool = False

    def __post_init__(self) -> None:
        if not self.input_shape or min(self.input_shape) < 1:
            raise ValueError(f"every axis of a row must be at least 1, got {self.input_shape}")
        if self.images and len(self.input_shape) != 3:
            message = "pixels come as (channels, height, width)"
            raise ValueError(f"{message}, got {self.input_shape}")
        if bool(self.classes) == bool(self.outputs) or (self.outputs or 1) < 1:
            raise ValueError("give class names, or at least one output for regression")

    def facts(self) -> Facts:
        """The facts of a dataset that is not here: no rows, and no fingerprint of any."""
        return Facts(
            rows=0,
            input_shape=self.input_shape,
            classes=self.classes or None,
            outputs=self.outputs or len(self.classes or ()),
            task="classification" if self.classes else "regression",
            train_rows=None,
            test_rows=None,
            images=self.images,
            fingerprint="unknown",
        )
