"""Whether the rows of a spec's dataset can be indices, where its network looks such up.

Decided from integers alone; rows themselves are looked at in `model.networks.indices`.
"""

from collections.abc import Iterator

from model.data.dataset import Facts
from model.errors import SpecRefused
from model.sizes import PlannedLayer
from model.spec import Columns, Embedding, Flatten, Unflatten

Layers = tuple[PlannedLayer, ...]


def refuse_places(layers: Layers) -> None:
    """Refuse an embedding behind a layer that computes, for what that gives is no index.

    Raises:
        SpecRefused: at the embedding; also for one inside a residual.
    """
    first = len(list(_rearranging(layers)))
    for layer in (inner for one in layers for inner in one.walk()):
        if isinstance(layer.layer, Embedding) and layer is not layers[first]:
            message = (
                "an embedding takes indices as the dataset has them: only flatten, unflatten and "
                "columns may stand before it"
            )
            raise SpecRefused(layer.path, message, layer=layer.name)


def refuse_rows(layers: Layers, facts: Facts, scaling: str) -> None:
    """Refuse rows that the network's embedding cannot look up; without one, nothing.

    What nobody has looked at (`Facts.indices` is None) is not refused here.

    Raises:
        SpecRefused: a scaling, pixels, values that are no whole numbers from 0, or too few
            embeddings for them.
    """
    before = list(_rearranging(layers))
    embedding = next(iter(layers[len(before) :]), None)
    if embedding is None or not isinstance(embedding.layer, Embedding):
        return
    if scaling != "none":
        message = f"layer {embedding.name} looks up indices, which no scaling may change"
        raise SpecRefused("scaling", message, scaling=scaling, layer=embedding.name)
    if facts.images:
        message = "the rows are pixels, which are divided by 255 first: they are no indices"
        raise SpecRefused(embedding.path, message, layer=embedding.name)
    if facts.indices is not None and not any(isinstance(one.layer, Columns) for one in before):
        _refuse_few(embedding, embedding.layer.num_embeddings, facts.indices)


def _refuse_few(embedding: PlannedLayer, count: int, indices: int) -> None:
    if indices == 0:
        message = "the dataset has a value that is no whole number from 0: it is no index"
        raise SpecRefused(embedding.path, message, layer=embedding.name)
    if count < indices:
        raise SpecRefused(
            f"{embedding.path}.num_embeddings",
            f"the dataset has indices up to {indices - 1}; {count} embeddings end at {count - 1}",
            layer=embedding.name,
            num_embeddings=count,
            indices=indices,
        )


def _rearranging(layers: Layers) -> Iterator[PlannedLayer]:
    """The layers at the beginning that change no value."""
    for layer in layers:
        if not isinstance(layer.layer, Flatten | Unflatten | Columns):
            return
        yield layer
