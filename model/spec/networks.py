"""Networks: kinds that lay out their layers themselves, or layers that the user declares."""

from typing import Annotated, Literal

from pydantic import Field, Strict

from model.spec.parts import Fraction, Part, Units, at_most

Activation = Literal["tanh", "relu", "sigmoid", "gelu", "silu", "elu", "leaky_relu", "identity"]
Axis = Annotated[int, Field(ge=1, le=2**22)]  # as long as a dataset's row may be


class Mlp(Part):
    """Linear layers with an activation between them, and a linear layer to the outputs."""

    kind: Literal["mlp"]
    hidden: Annotated[tuple[Units, ...], Strict(False), at_most(64)] = Field(
        (100,), max_length=64, description="Units of each hidden layer, input side first."
    )
    activation: Activation = Field("tanh", description="Applied after every hidden layer.")
    bias: bool = Field(
        True, description="Whether hidden linear layers have a bias; the output layer always has."
    )


class DeepLinear(Part):
    """Linear layers without bias and without activation, one behind the other.

    The run's norm stands behind every layer but the last.
    """

    kind: Literal["deep_linear"]
    layers: Annotated[int, Field(ge=1, le=512)] = Field(
        25, description="Linear layers, the one to the outputs counted."
    )
    width: Units | None = Field(
        None, description="Units of every layer but the last; null: as many as outputs."
    )


class ResidualMlp(Part):
    """A linear layer, residual blocks of two linear layers, and a linear layer to the outputs."""

    kind: Literal["residual_mlp"]
    blocks: Annotated[int, Field(ge=1, le=256)] = Field(20, description="Residual blocks.")
    width: Units = Field(64, description="Units of every layer but the last.")
    activation: Activation = Field(
        "relu", description="Behind the first layer, and between the two of a block."
    )
    bias: bool = Field(
        False, description="Whether these layers have a bias; the output layer always has."
    )


class Linear(Part):
    """`torch.nn.Linear` over the last axis."""

    kind: Literal["linear"]
    out_features: Units | None = Field(
        None, description="Units; null means one per class or target: the output layer."
    )
    bias: bool = Field(True, description="Add a learned constant per unit.")


class Conv2d(Part):
    """`torch.nn.Conv2d` with square kernels."""

    kind: Literal["conv2d"]
    out_channels: Annotated[int, Field(ge=1, le=8_192)] = Field(description="Channels.")
    kernel_size: Annotated[int, Field(ge=1, le=64)] = Field(3, description="Pixels.")
    stride: Annotated[int, Field(ge=1, le=64)] = Field(1, description="Pixels.")
    padding: Annotated[int, Field(ge=0, le=64)] = Field(0, description="Pixels of zeros a side.")
    bias: bool = Field(True, description="Add a learned constant per channel.")


class NormHere(Part):
    """Where the run's `norm` stands. With `norm: none` nothing stands here."""

    kind: Literal["norm"]


class ActivationHere(Part):
    """An activation."""

    kind: Literal["activation"]
    activation: Activation = Field("relu", description="Applied element by element.")


class Pool(Part):
    """`torch.nn.MaxPool2d`, `AvgPool2d`, or the average of every position (`global_avg`)."""

    kind: Literal["pool"]
    pool: Literal["max", "avg", "global_avg"] = Field("max", description="How a window is reduced.")
    kernel_size: Annotated[int, Field(ge=1, le=64)] = Field(2, description="Pixels.")
    stride: Annotated[int, Field(ge=1, le=64)] | None = Field(
        None, description="Pixels; null means kernel_size."
    )


class Flatten(Part):
    """Every axis but the batch's becomes one."""

    kind: Literal["flatten"]


class Unflatten(Part):
    """`torch.nn.Unflatten`: the one axis of a row becomes several."""

    kind: Literal["unflatten"]
    shape: Annotated[tuple[Axis, ...], Strict(False), at_most(3)] = Field(
        min_length=1,
        max_length=3,
        description="Axes of a row afterwards, as (channels, height, width).",
    )


class Columns(Part):
    """The first values of the last axis; the others are not looked at."""

    kind: Literal["columns"]
    first: Axis = Field(description="How many.")


class Embedding(Part):
    """`torch.nn.Embedding`: a learned vector in the place of every index.

    Rows hold indices given as numbers: `scaling` is `none`, and only `flatten`, `unflatten` and
    `columns` may stand before it.
    """

    kind: Literal["embedding"]
    num_embeddings: Units = Field(description="Vectors; the indices are 0 to one less.")
    embedding_dim: Units = Field(description="Values of a vector: the row's new last axis.")


class Dropout(Part):
    """`torch.nn.Dropout`: active in training mode alone."""

    kind: Literal["dropout"]
    p: Fraction = Field(0.5, description="Probability that an element becomes 0.")


class Residual(Part):
    """`x + layers(x)`; shapes must agree, or `projection` makes them."""

    kind: Literal["residual"]
    layers: Annotated[tuple["Layer", ...], Strict(False), at_most(64)] = Field(
        min_length=1, max_length=64, description="The branch."
    )
    projection: bool = Field(
        False,
        description="Send x through a linear layer or a 1 x 1 convolution of the branch's shape.",
    )


Layer = Annotated[
    Linear
    | Conv2d
    | NormHere
    | ActivationHere
    | Pool
    | Flatten
    | Unflatten
    | Columns
    | Embedding
    | Dropout
    | Residual,
    Field(discriminator="kind"),
]


class Layers(Part):
    """A network declared layer by layer; the last must give one output per class or target."""

    kind: Literal["layers"]
    layers: Annotated[tuple[Layer, ...], Strict(False), at_most(256)] = Field(
        min_length=1, max_length=256, description="Input side first."
    )


class ResNet(Part):
    """A residual network for images, as He et al. 2015 and torchvision lay it out."""

    kind: Literal["resnet"]
    depth: Literal[18, 20, 32, 44, 56, 110] = Field(
        18,
        description="Layers with weights, projections not counted: 18 has four stages, "
        "the others (6n + 2, for CIFAR) three.",
    )
    stem: Literal["imagenet", "cifar"] | None = Field(
        None,
        description="`imagenet`: a 7 x 7 convolution of stride 2 and a max pool of stride 2; "
        "`cifar`: a 3 x 3 convolution. null: imagenet for depth 18, cifar for the others.",
    )
    width: Annotated[int, Field(ge=1, le=1_024)] | None = Field(
        None,
        description="Channels of the first stage, doubled by every later one; "
        "null: 64 for depth 18, 16 for the others.",
    )
    bias: bool = Field(
        False,
        description="Whether 3 x 3 and 7 x 7 convolutions have a bias; the output layer always "
        "has, a projection never.",
    )


class Vgg(Part):
    """A plain convolutional network for images, as Simonyan and Zisserman 2014 lay it out.

    Its three fully connected layers are left out: an average over all positions and one linear
    layer follow the convolutions.
    """

    kind: Literal["vgg"]
    depth: Literal[11, 13, 16] = Field(
        11, description="Networks A, B and D of the paper: 8, 10 and 13 convolutions."
    )
    width: Annotated[float, Field(gt=0, le=4)] = Field(
        1.0,
        description="Factor on the channels (64, 128, 256, 512, 512), which are rounded and at "
        "least 1.",
    )
    bias: bool = Field(
        False, description="Whether convolutions have a bias; the output layer always has."
    )
    image_shape: Annotated[tuple[Axis, Axis, Axis], Strict(False), at_most(3)] | None = Field(
        None,
        description="How rows of features are laid out as (channels, height, width), for digits "
        "(1, 8, 8); null: the rows are images.",
    )


Network = Annotated[
    Mlp | Layers | ResNet | DeepLinear | ResidualMlp | Vgg, Field(discriminator="kind")
]
